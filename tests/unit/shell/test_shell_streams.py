from mooring_operator.reconcile.streams import Streams
from tests.unit.shell.objects import thing

PATIENCE = 120.0


def test_quiet_stream_is_not_blind() -> None:
    streams = Streams()
    streams.heard("Pod", thing("Pod", "p", version=5))
    streams.shown("Pod", 5, 1000.0)
    assert streams.suspects(5000.0, PATIENCE) == ()
    assert streams.blind(PATIENCE) == ()


def test_stream_is_blind_when_a_second_list_confirms_what_it_owes() -> None:
    streams = Streams()
    streams.shown("Pod", 7, 0.0)
    assert streams.suspects(121.0, PATIENCE) == ("Pod",)
    assert streams.blind(PATIENCE) == ()
    streams.shown("Pod", 7, 121.0)
    assert streams.blind(PATIENCE) == ("Pod",)


def test_stream_is_cleared_when_the_owed_event_comes_late() -> None:
    streams = Streams()
    streams.shown("Pod", 7, 0.0)
    streams.shown("Pod", 7, 121.0)
    streams.heard("Pod", thing("Pod", "p", version=7))
    assert streams.blind(PATIENCE) == ()


def test_stream_is_cleared_when_the_owed_object_is_gone_from_the_next_list() -> None:
    streams = Streams()
    streams.shown("Pod", 7, 0.0)
    streams.shown("Pod", 0, 121.0)
    assert streams.blind(PATIENCE) == ()
    assert streams.suspects(500.0, PATIENCE) == ()


def test_stream_owes_nothing_of_before_it_began() -> None:
    streams = Streams()
    streams.shown("Pod", 7, 0.0)
    streams.begun("Pod", 8)
    assert streams.suspects(500.0, PATIENCE) == ()
    streams.begun("Pod", 6)  # in another namespace
    streams.shown("Pod", 8, 500.0)
    assert streams.suspects(1000.0, PATIENCE) == ()
    streams.shown("Pod", 9, 1000.0)
    assert streams.suspects(1200.0, PATIENCE) == ("Pod",)
