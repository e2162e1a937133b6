"""Files that go wrong while they are read: bad disks, network file systems, people who write."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from random import Random
from typing import Final

PAGE: Final = 4096
Pread = Callable[[int, int], bytes]
"""Bytes of a file: size and offset."""


def _refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def bad_sectors(pread: Pread, rng: Random) -> Pread:
    """EIO in some pages, for ever."""
    share = rng.choice((0.01, 0.1, 0.5))
    salt = rng.random()

    def read(size: int, offset: int) -> bytes:
        for page in range(offset // PAGE, (offset + max(size, 1) - 1) // PAGE + 1):
            if Random(f"{salt} {page}").random() < share:
                raise _refused(errno.EIO)
        return pread(size, offset)

    return read


def gone(pread: Pread, rng: Random) -> Pread:
    """ESTALE from some read on: the server has another file now."""
    left = rng.choice((0, 1, 3, 10, 40))
    why = rng.choice((errno.ESTALE, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV))

    def read(size: int, offset: int) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            raise _refused(why)
        return pread(size, offset)

    return read


def short(pread: Pread, rng: Random) -> Pread:
    """Never more than a few bytes at a time."""
    most = rng.choice((1000, 4095, 100_000))
    return lambda size, offset: pread(min(size, most), offset)


def shrinking(pread: Pread, rng: Random) -> Pread:
    """From some read on, the file ends before where it did."""
    left = rng.choice((0, 1, 3, 10, 40))
    end = rng.randrange(1 << 18)

    def read(size: int, offset: int) -> bytes:
        nonlocal left
        left -= 1
        return pread(size, offset) if left >= 0 else pread(max(min(size, end - offset), 0), offset)

    return read


def changing(pread: Pread, rng: Random) -> Pread:
    """Other bytes now and then: somebody writes to it."""

    def read(size: int, offset: int) -> bytes:
        data = bytearray(pread(size, offset))
        if data and rng.random() < 0.3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    return read


def slow(pread: Pread, rng: Random) -> Pread:
    """Each read takes its time."""

    def read(size: int, offset: int) -> bytes:
        time.sleep(0.0002)
        return pread(size, offset)

    return read


FAULTS: Final[dict[str, Callable[[Pread, Random], Pread]]] = {
    "bad-sectors": bad_sectors,
    "gone": gone,
    "short": short,
    "shrinking": shrinking,
    "changing": changing,
    "slow": slow,
}
"""Each makes a way to read worse, by the randomness that it is given."""
ERRORS: Final = frozenset((errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV))


class FaultyObject:
    """A dump in memory that is read through one of these, for ``open_vmcore``."""

    def __init__(self, data: bytes, fault: str, rng: Random) -> None:
        self.size = len(data)
        self.path = f"a dump with {fault}"
        self._read = FAULTS[fault](lambda size, offset: data[offset : offset + size], rng)

    def pread(self, size: int, offset: int) -> bytes:
        return self._read(size, offset)

    def close(self) -> None:
        pass
