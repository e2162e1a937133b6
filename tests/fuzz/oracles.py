"""What must hold of every answer, whatever the input: each broken promise is a Fault.

A result or a typed error; a proof of the true address or none; text of printable lines; JSON that
any reader takes; a documented exit code.  Time and memory are watched by whoever runs a case.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tests.support import is_safe
from vmcoretool.inspection.as_json import inspection_json
from vmcoretool.render.text import inspection_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmcoretool import Inspection, VmcoreError

SECONDS: Final = 5
MEMORY: Final = 256 << 20
CODES: Final = frozenset((0, 1, 2, 3, 4, 5, 6))
"""The exit codes of docs/exit-codes.md but 70, a fault, and 130: nobody interrupts."""
_SEEN_ONCE: Final = re.compile(r"0x[0-9a-f]+|\d+")
_COLOUR: Final = re.compile("\x1b\\[(?:0|1|(?:1;)?3[1-6])m")
"""What --color writes; everything else of this kind comes from the input."""


class Fault(Exception):
    """A broken promise: its first line says which one, without anything of the input."""


def outcome(error: VmcoreError) -> str:
    """A typed error, checked, as a kind of answer."""
    if not is_one_line(str(error)):
        raise Fault(f"unprintable error {type(error).__name__}: {str(error)!r}")
    return f"{type(error).__name__} {_SEEN_ONCE.sub('N', error.what)[:80]}"


def is_one_line(text: str) -> bool:
    return text.isprintable()


def check_text(text: str, what: str = "text") -> None:
    """Nothing but lines of printable text.

    Raises:
        Fault: a terminal could be steered.
    """
    if not is_safe(text):
        odd = next(line for line in text.split("\n") if not line.isprintable())
        raise Fault(f"control character in {what}\n{odd!r}")


def check_json(text: str) -> Any:
    """The value of strict JSON in ASCII.

    Raises:
        Fault: some reader refuses it.
    """
    if not text.isascii() or not is_safe(text):
        raise Fault("JSON that is not printable ASCII")
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise Fault(f"invalid JSON\n{error}") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def check_verdict(status: str, start: int | None, base: int | None) -> None:
    """A proof is of the true address.

    Raises:
        Fault: it is of another one.
    """
    if status == "verified" and start != base:
        raise Fault(f"verified with another value\n{start or 0:#x}, but it is {base or 0:#x}")


def check_object(value: dict[str, Any], base: int | None) -> None:
    """The same of an object of ``inspect --json``, and its required keys."""
    if "error" in value:
        if not {"class", "message", "cure", "exit"} <= value["error"].keys():
            raise Fault("an error object without its keys")
        return
    relocation = value["relocation"]
    if value["kind"] not in ("xen-host", "xen-domain", "linux", "unknown"):
        raise Fault(f"kind {value['kind']}")
    if relocation is None:
        return
    start = relocation["xen_phys_start"]
    check_verdict(relocation["status"], None if start is None else int(start, 16), base)
    status = relocation["status"]
    if (start is None) != (status in ("unknown", "not-relocatable")) and status != "disputed":
        raise Fault(f"status {status} and xen_phys_start {start}")


def check_inspection(inspection: Inspection, base: int | None) -> str:
    """A result as object, JSON and text, as a kind of answer."""
    verdict = inspection.verdict
    check_verdict(verdict.status, verdict.xen_phys_start, base)
    check_object(check_json(inspection_json(inspection)), base)
    check_text(inspection_text(inspection))
    check_text(inspection_text(inspection, verbose=True), "verbose text")
    codes = sorted({found.code for found in inspection.findings})
    sources = sorted({one.source for one in verdict.supporting})
    people = min(len(inspection.domains), 3), min(len(inspection.cpus), 3)
    return f"{inspection.kind} {verdict.status} {codes} {sources} {people}"


def check_command(
    code: int, out: bytes, err: bytes, *, as_json: bool, codes: Iterable[int] = CODES
) -> list[Any]:
    """What a command line wrote, and the JSON values among it.

    Raises:
        Fault: an exit code that is none, a traceback, a control character, invalid JSON.
    """
    said, complaint = _decoded(out), _decoded(err)
    if code not in codes:
        raise Fault(f"exit code {code}\n{complaint[-600:]}")
    if "Traceback" in complaint:
        raise Fault(f"traceback\n{complaint[-2000:]}")
    check_text(_COLOUR.sub("", said).replace("\t", " "), "stdout")
    check_text(complaint.replace("\t", " "), "stderr")
    if not as_json or code == 2:
        return []
    values = [check_json(line) for line in said.splitlines()]
    if not values:
        raise Fault(f"no JSON object, exit code {code}")
    return values


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Fault("output that is not UTF-8") from error
