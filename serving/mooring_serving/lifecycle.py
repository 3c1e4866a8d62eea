"""The life of a server, as a table: Loading → Warm → Ready → Draining → Stopped."""

import threading
from collections.abc import Callable
from enum import StrEnum


class State(StrEnum):
    """Where the server is in its life."""

    LOADING = "Loading"
    """The process is up, the model is not."""
    WARM = "Warm"
    """The model is loaded and has predicted; the ports are not open yet."""
    READY = "Ready"
    """Answering."""
    DRAINING = "Draining"
    """Told to stop: still answering, no longer ready, connections end with their next answer."""
    STOPPED = "Stopped"
    """Nothing is accepted any more."""


class Event(StrEnum):
    """What moves it."""

    WARMED = "Warmed"
    """The model is loaded and its warm-up predictions succeeded."""
    OPENED = "Opened"
    """The ports are open."""
    TERMINATED = "Terminated"
    """SIGTERM or SIGINT came."""
    CLOSED = "Closed"
    """The listeners are closed and work in hand is done."""
    FAILED = "Failed"
    """Loading failed."""
    WORKER_LOST = "WorkerLost"
    """A worker process ended without having been told to; another one still answers, or none had
    begun to. It is started again."""
    LAST_WORKER_LOST = "LastWorkerLost"
    """It was the last one that answered: nobody may be sent here until one is warm again."""


_TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.LOADING, Event.WARMED): State.WARM,
    (State.LOADING, Event.TERMINATED): State.STOPPED,
    (State.LOADING, Event.FAILED): State.STOPPED,
    (State.WARM, Event.OPENED): State.READY,
    (State.WARM, Event.TERMINATED): State.STOPPED,
    (State.READY, Event.TERMINATED): State.DRAINING,
    (State.DRAINING, Event.TERMINATED): State.DRAINING,
    (State.DRAINING, Event.CLOSED): State.STOPPED,
    (State.LOADING, Event.WORKER_LOST): State.LOADING,
    (State.WARM, Event.WORKER_LOST): State.WARM,
    (State.READY, Event.WORKER_LOST): State.READY,
    (State.READY, Event.LAST_WORKER_LOST): State.LOADING,
    (State.DRAINING, Event.WORKER_LOST): State.DRAINING,
    (State.DRAINING, Event.LAST_WORKER_LOST): State.DRAINING,
}


class ImpossibleTransition(ValueError):
    """An event that cannot happen in this state: a defect of the caller."""


def advance(state: State, event: Event) -> State:
    """The state after the event.

    Raises:
        ImpossibleTransition: The event cannot happen in this state.
    """
    try:
        return _TRANSITIONS[state, event]
    except KeyError as error:
        raise ImpossibleTransition(f"{event} cannot happen while {state}") from error


class Lifecycle:
    """The state, moved by the main thread and read by all."""

    def __init__(self) -> None:
        self._state = State.LOADING
        self._lock = threading.Lock()
        self._find_fault: Callable[[], str | None] = lambda: None

    def watch(self, find_fault: Callable[[], str | None]) -> None:
        """Be ready only while this finds nothing: a model with a process of its own."""
        self._find_fault = find_fault

    @property
    def fault(self) -> str | None:
        """Why the model cannot answer although it is loaded; None when it can."""
        return self._find_fault()

    @property
    def state(self) -> State:
        """The present state."""
        return self._state

    def move(self, event: Event) -> State:
        """Apply an event; returns the new state."""
        with self._lock:
            self._state = advance(self._state, event)
            return self._state

    @property
    def ready(self) -> bool:
        """Whether clients may be sent here."""
        return self._state is State.READY and self._find_fault() is None
