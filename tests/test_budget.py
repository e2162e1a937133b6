from __future__ import annotations

from vmcoretool.budget import Budget


def test_work_ends_with_its_steps_and_is_named() -> None:
    budget = Budget()
    work = budget.work("a list", steps=3)
    assert [work.go_on() for _ in range(5)] == [True, True, True, False, False]
    assert budget.cut_off == ("a list",)
    assert not budget.stopped


def test_work_ends_with_its_bytes() -> None:
    budget = Budget()
    work = budget.work("a search", size=100)
    assert work.go_on(size=100)
    assert not budget.cut_off
    assert not work.go_on(size=1)
    assert budget.cut_off == ("a search",)


def test_one_piece_of_work_takes_nothing_from_another() -> None:
    budget = Budget()
    greedy = budget.work("greedy", steps=1)
    while greedy.go_on():
        pass
    assert budget.work("modest", steps=1).go_on()
    assert budget.cut_off == ("greedy",)


def test_time_ends_all_work() -> None:
    budget = Budget(seconds=0)
    assert not budget.work("any").go_on()
    assert budget.cut_off == ("any",)


def test_callers_wish_ends_all_work_and_is_no_limit() -> None:
    told: list[tuple[str, int, int]] = []

    def watch(name: str, done: int, total: int) -> bool:
        told.append((name, done, total))
        return done < 2

    budget = Budget(watch=watch)
    work = budget.work("scan")
    assert [work.progress(done, 9) for done in range(4)] == [True, True, False, False]
    assert told == [("scan", 0, 9), ("scan", 1, 9), ("scan", 2, 9)]
    assert budget.stopped
    assert not work.go_on()
    assert not budget.cut_off
