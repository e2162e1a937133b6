"""The lab: real Xen under QEMU emulation, really crashed, its dump saved as kdump saves it.

    python3 -m tests.lab --list
    python3 -m tests.lab dom0-panic            # makes the dump, checks it, prints what it found
    python3 -m tests.lab                       # every scenario

Packages are fetched by apt into a cache folder (``LAB_CACHE``, by default
``~/.cache/vmcoretool-lab``) and unpacked with ``dpkg -x``; nothing of them is installed.
docs/lab.md says what the host needs and shows the last run.  What is true of a dump comes from
outside vmcoretool: Xen's boot log, ``nm`` of the package's xen-syms, ``xl list`` in dom0.
"""
