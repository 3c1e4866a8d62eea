import tracemalloc

from mooring_operator.reconcile.schedule import FIRST_BACKOFF, LONGEST_BACKOFF, Schedule
from tests.unit.shell.manual_clock import no_jitter


def _taken(schedule: Schedule[str], now: float) -> str | None:
    taken = schedule.take(now)
    return None if taken is None else taken[0]


def test_key_waits_once_when_added_twice() -> None:
    schedule = Schedule[str](no_jitter)
    assert schedule.add("a", 0.0)
    assert not schedule.add("a", 1.0)
    assert schedule.take(3.0) == ("a", 3.0)
    assert schedule.take(3.0) is None


def test_key_is_worked_on_again_when_added_during_its_work() -> None:
    schedule = Schedule[str](no_jitter)
    schedule.add("a", 0.0)
    schedule.take(0.0)
    schedule.add("a", 1.0)
    assert schedule.take(1.0) is None, "two workers must never have the same key"
    schedule.succeed("a", 2.0, None)
    assert _taken(schedule, 2.0) == "a"


def test_keys_are_taken_in_order_of_arrival() -> None:
    schedule = Schedule[str](no_jitter)
    for key in "cab":
        schedule.add(key, 0.0)
    assert [_taken(schedule, 0.0) for _ in range(3)] == ["c", "a", "b"]


def test_change_goes_before_keys_that_are_only_reviewed() -> None:
    schedule = Schedule[str](no_jitter)
    for number in range(100):
        schedule.review(f"old {number}", 0.0)
    schedule.add("edited", 5.0)
    assert schedule.take(6.0) == ("edited", 1.0)


def test_reviews_get_one_turn_in_four_while_changes_wait() -> None:
    schedule = Schedule[str](no_jitter)
    for number in range(20):
        schedule.review(f"review {number}", 0.0)
        schedule.add(f"change {number}", 0.0)
    kinds = [(_taken(schedule, 0.0) or "").split()[0] for _ in range(12)]
    assert kinds == ["change", "change", "change", "review"] * 3


def test_key_waits_once_when_it_changes_while_it_waits_for_a_review() -> None:
    schedule = Schedule[str](no_jitter)
    assert schedule.review("a", 0.0)
    assert schedule.review("b", 0.0)
    assert not schedule.add("b", 1.0)
    assert not schedule.review("b", 1.0)
    assert schedule.take(3.0) == ("b", 3.0), "it counts from when it began to wait"
    assert _taken(schedule, 3.0) == "a"
    assert schedule.take(3.0) is None


def test_change_during_work_is_not_put_behind_reviews() -> None:
    schedule = Schedule[str](no_jitter)
    schedule.add("a", 0.0)
    schedule.take(0.0)
    assert schedule.review("a", 0.0)
    assert not schedule.add("a", 0.0)
    schedule.review("b", 0.0)
    schedule.succeed("a", 1.0, None)
    assert [_taken(schedule, 1.0) for _ in range(3)] == ["a", "b", None]


def test_review_during_work_is_done_once_afterwards() -> None:
    schedule = Schedule[str](no_jitter)
    schedule.review("a", 0.0)
    schedule.take(0.0)
    assert schedule.review("a", 0.0)
    assert not schedule.review("a", 0.0)
    schedule.succeed("a", 1.0, None)
    assert [_taken(schedule, 1.0) for _ in range(2)] == ["a", None]


def test_timer_makes_key_ready_when_due() -> None:
    schedule = Schedule[str](no_jitter)
    schedule.add("a", 0.0)
    schedule.take(0.0)
    schedule.succeed("a", 0.0, 5.0)
    assert schedule.next_timer() == 5.0
    assert schedule.take(4.9) is None
    assert _taken(schedule, 5.0) == "a"
    assert schedule.next_timer() is None


def test_newer_timer_replaces_older_one() -> None:
    schedule = Schedule[str](no_jitter)
    for now, pause in ((0.0, 5.0), (1.0, 60.0)):
        schedule.add("a", now)
        schedule.take(now)
        schedule.succeed("a", now, pause)
    assert schedule.take(10.0) is None
    assert schedule.next_timer() == 61.0


def test_replaced_timers_take_no_memory_until_they_would_have_been_due() -> None:
    schedule = Schedule[str](no_jitter)
    schedule.add("other", 0.0)
    schedule.take(0.0)
    schedule.succeed("other", 0.0, 3000.0)
    tracemalloc.start()
    for look in range(5_000):
        schedule.add("a", float(look) / 10)
        schedule.take(float(look) / 10)
        schedule.succeed("a", float(look) / 10, 3600.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50_000, "5,000 timers would take ten times that"
    assert schedule.next_timer() == 3000.0
    assert _taken(schedule, 3000.0) == "other"
    assert schedule.next_timer() == 499.9 + 3600.0


def test_backoff_doubles_and_is_capped_when_a_key_keeps_failing() -> None:
    schedule = Schedule[str](no_jitter)
    pauses: list[float] = []
    now = 0.0
    for _ in range(20):
        schedule.add("a", now)
        schedule.take(now)
        pauses.append(schedule.fail("a", now))
        now += pauses[-1]
    assert pauses[:4] == [FIRST_BACKOFF, 0.2, 0.4, 0.8]
    assert pauses[-1] == LONGEST_BACKOFF
    schedule.take(now)
    schedule.succeed("a", now, None)
    schedule.add("a", now)
    schedule.take(now)
    assert schedule.fail("a", now) == FIRST_BACKOFF


def test_forgotten_key_has_no_timer() -> None:
    schedule = Schedule[str](no_jitter)
    schedule.add("a", 0.0)
    schedule.take(0.0)
    schedule.fail("a", 0.0)
    schedule.forget("a")
    assert schedule.next_timer() is None
    assert schedule.take(1000.0) is None
