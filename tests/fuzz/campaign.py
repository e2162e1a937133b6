"""A campaign: one worker at a time runs a target's cases, and is replaced when it dies.

Workers are forked, so what one learned - lines reached, kinds of answers, inputs worth keeping - is
handed back to the parent, and whatever an input does to a process costs that process only.  The
case at hand lies in memory that parent and worker share: of a worker that was killed it is known
which input killed it.
"""

from __future__ import annotations

import gc
import hashlib
import mmap
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.fuzz.mutators import MOST
from tests.fuzz.oracles import MEMORY, SECONDS, Fault
from tests.fuzz.runs import scratch

if TYPE_CHECKING:
    from tests.fuzz.lines import Guide, Line
    from tests.fuzz.seeds import Seed
    from tests.fuzz.targets import Target

KILLED_AFTER: Final = 20.0
"""Seconds of CPU after which a case is ended."""
GROWTH: Final = 48 << 20
"""By how much a worker's memory may grow over its cases, caches filled."""
SLICE_SECONDS: Final = 2.0
_MOST_ENTRIES: Final = 3000
_SHARED: Final = 2 * MOST + 64
_PER_KIND: Final = 3
_COLLECT: Final = 16


class Entry(NamedTuple):
    """An input worth mutating, and the seed that it was made of."""

    data: bytes
    seed: int


class Failure(NamedTuple):
    """A broken promise: what, and by which input."""

    target: str
    what: str
    detail: str
    entry: Entry


class Slice(NamedTuple):
    """What a worker did."""

    executions: int
    seconds: float
    lines: list[Line]
    kinds: set[str]
    entries: list[Entry]
    failures: list[Failure]


class State:
    """What is known of one target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.seeds = target.seeds()
        self.entries = [Entry(seed.data, number) for number, seed in enumerate(self.seeds)]
        self.kinds: set[str] = set()
        self.executions = 0
        self.seconds = 0.0
        self.slices = 0
        self.failures = 0

    def pick(self, rng: random.Random) -> Entry:
        """An entry to mutate: as often one of the newest as any other."""
        if rng.random() < 0.4:
            return self.entries[-1 - min(int(rng.expovariate(1 / 20)), len(self.entries) - 1)]
        return rng.choice(self.entries)


def run_case(target: Target, entry: Entry, seeds: list[Seed]) -> tuple[str, Failure | None]:
    """Run one input: the kind of its answer, and the failure if a promise was broken."""
    before = time.process_time()
    try:
        kind = target.run(entry.data, seeds[entry.seed])
    except Fault as fault:
        return "fault", _failure(target, entry, *str(fault).partition("\n")[::2])
    except Exception as error:  # noqa: BLE001 - any other exception is what is looked for
        trace = traceback.extract_tb(error.__traceback__)
        place = next((row for row in reversed(trace) if "/vmcoretool/" in row.filename), trace[-1])
        what = f"{type(error).__name__} in {place.filename.rpartition('/')[2]}:{place.name}"
        return "error", _failure(target, entry, what, traceback.format_exc())
    spent = time.process_time() - before
    if spent > SECONDS:
        return kind, _failure(target, entry, f"more than {SECONDS} s of CPU", f"{spent:.1f} s")
    return kind, None


def _failure(target: Target, entry: Entry, what: str, detail: str) -> Failure:
    return Failure(target.name, what, detail, entry)


class Campaign:
    """Some targets, worked on in turn until time or executions are used up."""

    def __init__(self, targets: tuple[Target, ...], guide: Guide, seed: int, folder: Path) -> None:
        self.states = [State(target) for target in targets]
        self.guide = guide
        self.seed = seed
        self.folder = folder
        self.failures: list[Failure] = []
        self._saved: dict[tuple[str, str], int] = {}
        self._shared = mmap.mmap(-1, _SHARED)

    @property
    def executions(self) -> int:
        return sum(state.executions for state in self.states)

    def run(self, seconds: float, executions: int, *, until_fault: bool = False) -> None:
        """Go round the targets until either is used up, or something is found."""
        ends = time.monotonic() + seconds

        def go_on() -> bool:
            found = until_fault and bool(self.failures)
            return time.monotonic() < ends and self.executions < executions and not found

        while go_on():
            for state in self.states:
                if go_on():
                    self._slice(state, executions - self.executions)
            print(f"{self.executions} executions, {len(self.failures)} faults", file=sys.stderr)

    def run_each(self, executions: int) -> None:
        """So many of each target, however long they take."""
        for state in self.states:
            while state.executions < executions:
                self._slice(state, executions - state.executions)

    def _slice(self, state: State, most: int) -> None:
        cost = state.seconds / state.executions if state.executions else 0.02
        count = min(max(int(SLICE_SECONDS / cost), 50), 8000, most)
        reading, writing = os.pipe()
        self._shared[:8] = bytes(8)
        child = os.fork()
        if not child:
            os.close(reading)
            self._be_worker(state, count, writing)
        os.close(writing)
        state.slices += 1
        with os.fdopen(reading, "rb") as pipe:
            raw = pipe.read()
        _, status = os.waitpid(child, 0)
        if raw and not status:
            self._merge(state, pickle.loads(raw))
        else:
            self._bury(state, status)

    def _merge(self, state: State, done: Slice) -> None:
        state.executions += done.executions
        state.seconds += done.seconds
        self.guide.reached.update(done.lines)
        state.kinds |= done.kinds
        state.entries += done.entries[: _MOST_ENTRIES - len(state.entries)]
        for failure in done.failures:
            self._keep(state, failure)

    def _bury(self, state: State, status: int) -> None:
        # the case at hand is the one that ended the worker
        size, number, count = struct.unpack_from("<QII", self._shared)
        state.executions += count
        end = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        what = f"killed by {signal.Signals(end).name}" if end else f"ended with status {status}"
        if end == signal.SIGPROF:
            what = f"more than {KILLED_AFTER:g} s of CPU"
        entry = Entry(bytes(self._shared[16 : 16 + size]), number)
        self._keep(state, Failure(state.target.name, what, "", entry))

    def _keep(self, state: State, failure: Failure) -> None:
        state.failures += 1
        key = failure.target, failure.what
        self._saved[key] = self._saved.get(key, 0) + 1
        if self._saved[key] <= _PER_KIND:
            self.failures.append(failure)
            save(self.folder, failure, state.seeds[failure.entry.seed].name, self.executions)

    # --- in the worker ---

    def _be_worker(self, state: State, count: int, writing: int) -> None:
        code = 1
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and reports
        try:
            rng = random.Random(f"{self.seed} {state.target.name} {state.slices}")
            done = self._work(state, count, rng)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(pickle.dumps(done))
            code = 0
        except BaseException:  # noqa: BLE001 - the harness's own fault is told and ends the worker
            traceback.print_exc()
        finally:
            shutil.rmtree(scratch(), ignore_errors=True)
            os._exit(code)

    def _work(self, state: State, count: int, rng: random.Random) -> Slice:
        _limit_memory()
        known = len(state.entries)
        kinds: set[str] = set()
        lines: list[Line] = []
        failures: list[Failure] = []
        started, size = time.process_time(), 0
        gc.collect()
        gc.freeze()  # from here on, a collection looks at what the cases left alone
        for number in range(count):
            first = number < len(state.seeds) and not state.slices
            entry = state.entries[number] if first else self._mutated(state, rng)
            self._show(entry, number)
            signal.setitimer(signal.ITIMER_PROF, KILLED_AFTER)
            kind, failure = run_case(state.target, entry, state.seeds)
            signal.setitimer(signal.ITIMER_PROF, 0)
            new = self.guide.take()
            lines += new
            if failure:
                failures.append(failure)
            elif (new or kind not in state.kinds | kinds) and not first:
                state.entries.append(entry)
            kinds.add(kind)
            if number % _COLLECT == 0:
                gc.collect()
            if number == count // 3:
                size = _resident() - _held(state.entries[known:])
        spent = time.process_time() - started
        gc.collect()
        grown = _resident() - _held(state.entries[known:]) - size
        if grown > GROWTH:
            what = f"memory grows over {count} cases"
            failures.append(_failure(state.target, entry, what, f"{grown >> 20} MiB"))
        return Slice(count, spent, lines, kinds, state.entries[known:], failures)

    def _mutated(self, state: State, rng: random.Random) -> Entry:
        entry, other = state.pick(rng), state.pick(rng)
        return entry._replace(data=state.target.mutate(rng, entry.data, other.data)[: 2 * MOST])

    def _show(self, entry: Entry, number: int) -> None:
        struct.pack_into("<QII", self._shared, 0, len(entry.data), entry.seed, number)
        self._shared[16 : 16 + len(entry.data)] = entry.data


def _limit_memory() -> None:
    """What the process has now, and what an answer may cost, and no more."""
    now = _statm()[0]
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _held(entries: list[Entry]) -> int:
    return sum(len(entry.data) for entry in entries)


def _resident() -> int:
    return _statm()[1]


def _statm() -> list[int]:
    words = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return [int(word) * resource.getpagesize() for word in words]


def save(folder: Path, failure: Failure, seed: str, after: int) -> Path:
    """Keep an input, what was wrong, and the command that repeats it."""
    name = f"{failure.target}-{hashlib.sha256(failure.entry.data).hexdigest()[:12]}"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "input").write_bytes(failure.entry.data)
    words = f"python -m tests.fuzz --target {failure.target} --of '{seed}' --input {place}/input"
    said = f"{words}\n\n{failure.what}, after {after} executions\n{failure.detail}\n"
    (place / "fault.txt").write_text(said, errors="backslashreplace")
    return place
