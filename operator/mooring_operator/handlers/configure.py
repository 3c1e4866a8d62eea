"""kopf's settings: endless patience with the API server, no writing, no guessing."""

from collections.abc import Callable, Iterator

import kopf

from mooring_operator.api.group import GROUP
from mooring_operator.handlers.forgetful import NoDiffBase, NoProgress
from mooring_operator.io.resources import WATCHED, ResourceType

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


class JitteredForever:
    """Pauses that double up to half a minute and never end. Begins anew for each request.

    With a finite list, kopf ends the process when the API server is away for a minute. Endless
    waiting is watched over by the probes (`reconcile/streams.py`).
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter

    def __iter__(self) -> Iterator[float]:
        pause = _FIRST_PAUSE
        while True:
            yield pause * (0.5 + self._jitter())
            pause = min(_LONGEST_PAUSE, pause * 2)


def kopf_settings(
    jitter: Callable[[], float], kinds: tuple[ResourceType, ...] = WATCHED
) -> kopf.OperatorSettings:
    """Settings of the shell that watches these kinds."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # leadership is our Lease's
    settings.scanning.disabled = True  # no rights on CRDs and namespaces; CRDs come first
    settings.posting.enabled = False  # our recorder aggregates Events
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = 70
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = JitteredForever(jitter)
    settings.queueing.exit_timeout = 1  # handlers only hand over
    settings.queueing.idle_timeout = 1
    settings.process.ultimate_exiting_timeout = None  # it would kill the whole process
    settings.persistence.finalizer = f"{GROUP}/finalizer"  # never set; ours if it ever were
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    for type_ in kinds:
        if type_.selector:
            place = (type_.group, type_.version, type_.plural)
            settings.watching.label_selectors[place] = type_.selector
    return settings
