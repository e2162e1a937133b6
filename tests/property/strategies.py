"""What the property files draw from."""

from __future__ import annotations

from hypothesis import strategies as st

from vmcoretool.evidence.api import Evidence, Silence

SMALL = st.integers(0, 300)
RANGES = st.lists(st.tuples(SMALL, SMALL), max_size=12)
OWNERS = st.sampled_from([b"CORE", b"Xen", b"VMCOREINFO", b"VMCOREINFO_XEN", b"QEMU", b"ACME"])
TYPES = st.sampled_from([0, 1, 4, 0x1000001, 0x1000002, 0x2000000, 0x10000001, 0xFFFFFFFF])
PLAIN_NOTES = st.lists(st.tuples(OWNERS, TYPES, st.binary(min_size=1, max_size=80)), max_size=8)

LOADS = st.lists(
    st.tuples(st.integers(0, 3 * 4096), st.binary(min_size=0, max_size=5000), st.integers(0, 5000)),
    min_size=1,
    max_size=6,
)

VADDRS = st.integers(0, (1 << 47) - 1)
LEVELS = st.sampled_from([(1, 1 << 12), (2, 1 << 21), (3, 1 << 30)])

VALUES = st.one_of(st.none(), st.sampled_from([0x200000, 0x27800000, 0x27A00000]))
SOURCES = st.sampled_from(["a", "b", "c", "d"])
EVIDENCE = st.builds(
    Evidence,
    source=SOURCES,
    xen_phys_start=VALUES,
    strength=st.sampled_from(["derived", "suggested"]),
    basis=st.just("x"),
) | st.builds(
    Evidence,
    source=SOURCES,
    xen_phys_start=st.sampled_from([0x200000, 0x27800000]),
    strength=st.just("recorded"),
    basis=st.just("x"),
)
STATEMENTS = st.lists(
    EVIDENCE | st.builds(Silence, source=SOURCES, reason=st.just("y")), max_size=10
)

FILE_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
KEYS = st.from_regex(r"(SYMBOL|SIZE|OFFSET)\([a-z_.]{1,12}\)", fullmatch=True)
