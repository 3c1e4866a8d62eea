import pytest

from mooring_operator.core.decision import Manifest
from mooring_operator.errors import Transient
from mooring_operator.ids import ObjectKey
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.cache import Cache
from mooring_operator.reconcile.ingest import Ingest
from mooring_operator.reconcile.streams import Streams
from tests.unit.shell.manual_clock import ManualClock
from tests.unit.shell.objects import deployment_resource, thing

D = ObjectKey("ModelDeployment", "a", "d")
CHILD = ObjectKey("Deployment", "a", "d-1")


def _ingest() -> tuple[Ingest, list[ObjectKey]]:
    woken: list[ObjectKey] = []
    ingest = Ingest(Cache(), Streams(), ManualClock(), OperatorMetrics())
    ingest.watched("ADDED", deployment_resource())
    ingest.watched("ADDED", _child(2))
    ingest.subscribe(woken.append)
    return ingest, woken


def _child(version: int) -> Manifest:
    labels = {"mooring.dev/deployment": "d"}
    return thing("Deployment", "d-1", version=version, labels=labels)


def test_write_that_the_watch_tells_before_its_answer_wakes_nobody() -> None:
    ingest, woken = _ingest()
    with ingest.writing(CHILD, by=D):
        ingest.watched("MODIFIED", _child(3))
        ingest.written(_child(3), by=D)
    ingest.watched("MODIFIED", _child(3))
    assert not woken


@pytest.mark.parametrize("ours", [3, 4], ids=["after ours", "before ours"])
def test_what_somebody_else_wrote_meanwhile_wakes_the_writer_once_it_has_its_answer(
    ours: int,
) -> None:
    ingest, woken = _ingest()
    with ingest.writing(CHILD, by=D):
        ingest.watched("MODIFIED", _child(3))
        ingest.watched("MODIFIED", _child(4))
        ingest.written(_child(ours), by=D)
        assert not woken
    assert woken == [D]


def test_change_of_an_object_whose_write_failed_wakes_the_writer() -> None:
    ingest, woken = _ingest()

    def fail() -> None:
        with ingest.writing(CHILD, by=D):
            ingest.watched("MODIFIED", _child(3))
            raise Transient("cut off before the answer")

    with pytest.raises(Transient):
        fail()
    assert woken == [D]


def test_end_of_an_object_that_is_being_written_is_news_at_once() -> None:
    ingest, woken = _ingest()
    with ingest.writing(CHILD, by=D):
        ingest.watched("DELETED", _child(3))
        assert woken == [D]


def test_others_hear_at_once_of_a_status_that_is_being_written() -> None:
    ingest, woken = _ingest()
    policy = thing("RetrainPolicy", "p", spec={"deployment": {"name": "d"}})
    ingest.watched("ADDED", policy)
    woken.clear()
    with ingest.writing(D, by=D):
        ingest.watched("MODIFIED", deployment_resource(version=5, replicas=3))
        assert woken == [ObjectKey("RetrainPolicy", "a", "p")]
        ingest.written(deployment_resource(version=5, replicas=3), by=D)
    assert D not in woken
