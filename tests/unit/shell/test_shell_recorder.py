from mooring_operator.api.conditions import Reason
from mooring_operator.core.decision import EventNote, EventType
from mooring_operator.errors import Refused
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.recorder import BURST, EventRecorder
from tests.unit.shell.manual_clock import ManualClock
from tests.unit.shell.memory_kube import MemoryKube
from tests.unit.shell.objects import thing

ABOUT = thing("Model", "m")


def _note(message: str = "v1 was refused") -> EventNote:
    return EventNote(EventType.WARNING, Reason.VERSION_REFUSED, message)


def _recorder(kube: MemoryKube, clock: ManualClock) -> EventRecorder:
    return EventRecorder(kube, clock, OperatorMetrics(), instance="pod-0")


def _events(kube: MemoryKube) -> list[tuple[str, int]]:
    events = [item for (kind, _, _), item in kube.objects.items() if kind == "Event"]
    return sorted((item["message"], item["count"]) for item in events)


async def test_equal_notes_are_one_event_with_a_count() -> None:
    kube, recorder = MemoryKube(), None
    recorder = _recorder(kube, ManualClock())
    for _ in range(3):
        await recorder.record(ABOUT, _note())
    await recorder.record(ABOUT, _note("another"))
    assert _events(kube) == [("another", 1), ("v1 was refused", 3)]


async def test_restarted_operator_counts_on() -> None:
    kube = MemoryKube()
    await _recorder(kube, ManualClock()).record(ABOUT, _note())
    await _recorder(kube, ManualClock()).record(ABOUT, _note())
    assert _events(kube) == [("v1 was refused", 2)]


async def test_event_is_posted_anew_when_kubernetes_dropped_it() -> None:
    kube = MemoryKube()
    recorder = _recorder(kube, ManualClock())
    await recorder.record(ABOUT, _note())
    kube.objects.clear()
    await recorder.record(ABOUT, _note())
    assert _events(kube) == [("v1 was refused", 1)]


async def test_flood_about_one_object_is_cut_off_and_others_are_heard() -> None:
    kube, clock = MemoryKube(), ManualClock()
    recorder = _recorder(kube, clock)
    for number in range(BURST + 20):
        await recorder.record(ABOUT, _note(str(number)))
    assert len(_events(kube)) == BURST
    await recorder.record(thing("Model", "other"), _note())
    assert len(_events(kube)) == BURST + 1
    await clock.advance(301.0)
    await recorder.record(ABOUT, _note("later"))
    assert len(_events(kube)) == BURST + 2


async def test_event_that_cannot_be_posted_fails_nothing() -> None:
    kube = MemoryKube()
    kube.fail = lambda verb, what: Refused("namespace is terminating")
    await _recorder(kube, ManualClock()).record(ABOUT, _note())


async def test_event_names_its_object_for_kubectl_describe() -> None:
    kube = MemoryKube()
    await _recorder(kube, ManualClock()).record(ABOUT, _note())
    event = next(item for (kind, _, _), item in kube.objects.items() if kind == "Event")
    assert event["involvedObject"]["uid"] == "uid-Model-m"
    assert event["involvedObject"]["kind"] == "Model"
    assert (event["type"], event["reason"]) == ("Warning", "VersionRefused")
