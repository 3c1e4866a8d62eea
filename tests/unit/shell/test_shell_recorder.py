import asyncio

from mooring_operator.api.conditions import Reason
from mooring_operator.core.decision import EventNote, EventType, Manifest
from mooring_operator.errors import Refused
from mooring_operator.io.token_bucket import TokenBucket
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.recorder import AT_ONCE, BURST, MOST_WAITING, EventRecorder
from tests.unit.shell.manual_clock import ManualClock
from tests.unit.shell.memory_kube import MemoryKube
from tests.unit.shell.objects import thing

ABOUT = thing("Model", "m")


def _note(message: str = "v1 was refused") -> EventNote:
    return EventNote(EventType.WARNING, Reason.VERSION_REFUSED, message)


def _recorder(kube: MemoryKube, clock: ManualClock, burst: int = 10_000) -> EventRecorder:
    share = TokenBucket(rate=2.0, burst=burst, now=clock.monotonic())
    return EventRecorder(kube, clock, OperatorMetrics(), share, instance="pod-0")


def _events(kube: MemoryKube) -> list[tuple[str, int]]:
    events = [item for (kind, _, _), item in kube.objects.items() if kind == "Event"]
    return sorted((item["message"], item["count"]) for item in events)


async def test_equal_notes_are_one_event_with_a_count() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock)
    for _ in range(3):
        recorder.tell(ABOUT, _note())
        await recorder.flush()
    recorder.tell(ABOUT, _note("another"))
    await recorder.flush()
    assert _events(kube) == [("another", 1), ("v1 was refused", 3)]


async def test_notes_that_are_told_again_while_they_wait_take_one_request() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock)
    for _ in range(3):
        recorder.tell(ABOUT, _note())
    await recorder.flush()
    assert _events(kube) == [("v1 was refused", 3)]
    assert [verb for verb, _ in kube.writes()] == ["create"]


async def test_restarted_operator_counts_on() -> None:
    kube, clock = MemoryKube(), ManualClock()
    for _ in range(2):
        recorder = _recorder(kube, clock)
        recorder.tell(ABOUT, _note())
        await recorder.flush()
    assert _events(kube) == [("v1 was refused", 2)]


async def test_event_is_posted_anew_when_kubernetes_dropped_it() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock)
    recorder.tell(ABOUT, _note())
    await recorder.flush()
    kube.objects.clear()
    recorder.tell(ABOUT, _note())
    await recorder.flush()
    assert _events(kube) == [("v1 was refused", 1)]


async def test_flood_about_one_object_is_cut_off_and_others_are_heard() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock)
    for number in range(BURST + 20):
        recorder.tell(ABOUT, _note(str(number)))
    await recorder.flush()
    assert len(_events(kube)) == BURST
    recorder.tell(thing("Model", "other"), _note())
    await recorder.flush()
    assert len(_events(kube)) == BURST + 1
    await clock.advance(301.0)
    recorder.tell(ABOUT, _note("later"))
    await recorder.flush()
    assert len(_events(kube)) == BURST + 2


async def test_events_leave_the_other_requests_their_share() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock, burst=1)
    running = asyncio.create_task(recorder.run())
    for number in range(20):
        recorder.tell(ABOUT, _note(str(number)))
    await clock.advance(5.0)
    assert len(_events(kube)) == 1 + 10
    await clock.advance(5.0)
    assert len(_events(kube)) == 20
    running.cancel()


async def test_slow_answer_holds_up_few_other_events() -> None:
    kube, clock = MemoryKube(), ManualClock()
    answer, create = asyncio.Event(), kube.create
    asked = 0

    async def slow(manifest: Manifest) -> Manifest:
        nonlocal asked
        asked += 1
        await answer.wait()
        return await create(manifest)

    kube.create = slow
    recorder = _recorder(kube, clock)
    for number in range(AT_ONCE + 2):
        recorder.tell(ABOUT, _note(str(number)))
    posting = asyncio.create_task(recorder.flush())
    await clock.advance(1.0)
    assert asked == AT_ONCE
    answer.set()
    await posting
    assert len(_events(kube)) == AT_ONCE + 2


async def test_flood_beyond_what_may_wait_is_cut_off() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock)
    for number in range(MOST_WAITING + 10):
        recorder.tell(thing("Model", f"m{number}"), _note())
    await recorder.flush()
    assert len(_events(kube)) == MOST_WAITING


async def test_event_that_cannot_be_posted_fails_nothing_and_delays_no_other() -> None:
    kube, clock = MemoryKube(), ManualClock()
    refusals = iter((Refused("namespace is terminating"), ZeroDivisionError("a bug")))
    kube.fail = lambda verb, what: next(refusals, None)
    recorder = _recorder(kube, clock)
    for message in ("first", "second", "third"):
        recorder.tell(ABOUT, _note(message))
    await recorder.flush()
    assert _events(kube) == [("third", 1)]


async def test_event_names_its_object_for_kubectl_describe() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock)
    recorder.tell(ABOUT, _note())
    await recorder.flush()
    event = next(item for (kind, _, _), item in kube.objects.items() if kind == "Event")
    assert event["involvedObject"]["uid"] == "uid-Model-m"
    assert event["involvedObject"]["kind"] == "Model"
    assert (event["type"], event["reason"]) == ("Warning", "VersionRefused")
