"""Compressed files that say where their blocks are: read by position, a block at a time.

A block is decompressed when first needed, into an unnamed temporary file, and never twice.  Where a
file has one block only, or does not say where they are, it is decompressed to the end.
"""

from __future__ import annotations

from bisect import bisect_right
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from vmcoretool.addresses import FileOffset
from vmcoretool.errors import FormatError, TruncatedError
from vmcoretool.sources.file import refuse_pickling
from vmcoretool.sources.spool import Spool
from vmcoretool.sources.streams import DamagedStreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vmcoretool.budget import Budget, Work
    from vmcoretool.sources.file import ByteSource
    from vmcoretool.sources.indexes import Block

    Decode = Callable[[ByteSource, Budget], Iterable[bytes]]


class Allowance(NamedTuple):
    """What decompressing may cost: how much may come out, and whom to ask whether to go on."""

    budget: Budget
    work: Work


class _Begun:
    # A block of which a part is decompressed.
    __slots__ = ("got", "number", "pieces")

    def __init__(self, number: int, pieces: Iterator[bytes]) -> None:
        self.number = number
        self.pieces = pieces
        self.got = 0


class BlockSource:
    """The bytes inside a file of blocks; blocks are decompressed as they are read.

    Several threads may read it.
    """

    def __init__(
        self, source: ByteSource, blocks: list[Block], decode: Decode, allowance: Allowance
    ) -> None:
        """Decompress nothing yet.

        Args:
            source: the compressed file.
            blocks: in order and without gaps.
            decode: makes a file that holds one block alone into pieces of its data, and raises
                DamagedStreamError.
            allowance: for all blocks together.
        """
        self.path = source.path
        self.size = blocks[-1].start + blocks[-1].size
        self.complete = source.complete
        self.unreadable = ""
        self._source = source
        self._blocks = blocks
        self._starts = [block.start for block in blocks]
        self._ready = bytearray(len(blocks))
        self._damages: dict[int, str] = {}
        self._decode = decode
        self._budget, self._work = allowance
        self._ended = False
        self._begun: _Begun | None = None
        self._done = 0
        self._spool = Spool(source.path)
        self._lock = Lock()

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only where the file ends.

        Raises:
            FormatError: the block is damaged, or there is no space for it.
            TruncatedError: the decompression was ended before it.
            OSError: the file cannot be read or the temporary one not written.
            ValueError: it is closed.
        """
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        first = bisect_right(self._starts, offset) - 1
        last = bisect_right(self._starts, offset + size - 1)
        for number in range(first, last):
            if not self._ready[number]:
                with self._lock:
                    self._decompress(number)
        return self._spool.pread(size, offset)

    def peek(self, size: int) -> bytes:
        """The first bytes, for which a piece of the first block is enough, or a few more blocks.

        Raises:
            as :meth:`pread`.
        """
        if self._blocks[0].size < size:
            return self.pread(size, 0)
        with self._lock:
            begun = self._begin(0)
            while begun.got < size and self._advance(begun):
                pass
        return self._spool.pread(size, 0)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """All of it: holes are known only once a block is decompressed."""
        if start < min(end, self.size):
            yield start, min(end, self.size)

    def close(self) -> None:
        """Close the file and give the temporary one back."""
        self._source.close()
        self.discard()

    def discard(self) -> None:
        """Give the temporary file back; the compressed one stays open."""
        self._begun = None
        self._spool.close()

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self.path)

    def _decompress(self, number: int) -> None:
        if self._ready[number]:  # another thread did it
            return
        begun = self._begin(number)
        while self._advance(begun):
            pass

    def _begin(self, number: int) -> _Begun:
        if number in self._damages:
            raise self._damaged(number)
        if self._begun is None or self._begun.number != number:
            window = _Window(self._source, self._blocks[number])
            pieces = iter(self._decode(window, self._budget))
            self._begun = _Begun(number, pieces)
        return self._begun

    def _advance(self, begun: _Begun) -> bool:
        # One piece more; False where the block is done.
        block = self._blocks[begun.number]
        if self._ended and begun.got < block.size:
            self._end(block)
        try:
            piece = next(begun.pieces, None)
        except DamagedStreamError as error:
            raise self._damaged(begun.number, error.what) from error
        except BaseException:
            self._begun = None  # what was refused now may be read another time, from the start
            raise
        if piece is None and begun.got < block.size:
            raise self._damaged(begun.number, "it ends early")
        if piece is None:
            self._begun = None
            self._ready[begun.number] = 1
            return False
        if begun.got + len(piece) > block.size:
            raise self._damaged(begun.number, "it holds more than its size says")
        self._spool.write(piece, block.start + begun.got)
        begun.got += len(piece)
        self._done += len(piece)
        go_on = self._work.progress(self._done, self.size)
        self._ended = not (self._work.go_on(size=len(piece)) and go_on)
        return True

    def _end(self, block: Block) -> NoReturn:
        self._ended = True
        self.complete = False
        self._budget.leave(self._work.name, self._done, self.size)
        raise TruncatedError(
            "the decompression was ended before this part",
            path=self.path,
            where=FileOffset(block.offset),
            cure="run it again and let it finish, or decompress the file first",
        )

    def _damaged(self, number: int, reason: str = "") -> FormatError:
        # what is known to be damaged is not decompressed again for each page in it
        reason = self._damages.setdefault(number, reason)
        self._begun = None
        name = self._work.name.rpartition(" ")[2]
        return FormatError(
            f"a block of the {name} stream is damaged: {reason}",
            path=self.path,
            where=FileOffset(self._blocks[number].offset),
            cure="get the file again",
        )


class _Window:
    # a ByteSource of what one block's decoder is fed
    def __init__(self, source: ByteSource, block: Block) -> None:
        self.path = source.path
        self.size = len(block.head) + block.stored
        self.complete = True
        self._source = source
        self._block = block

    def pread(self, size: int, offset: int) -> bytes:
        head = self._block.head[offset : offset + size]
        at = max(offset - len(self._block.head), 0)
        rest = min(size - len(head), self._block.stored - at)
        return head + (self._source.pread(rest, self._block.offset + at) if rest > 0 else b"")

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        yield start, min(end, self.size)

    def close(self) -> None:
        pass
