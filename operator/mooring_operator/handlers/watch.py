"""Watch streams by kopf, in a thread with an event loop of its own.

kopf ends when a stream ends in an error that it does not expect, and cancels everything that
started on its loop after it. So it gets its own, and is started again.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import kopf

from mooring_operator.core.decision import Manifest
from mooring_operator.handlers.configure import kopf_settings
from mooring_operator.io.clock import Clock
from mooring_operator.io.kube_login import Connection
from mooring_operator.io.resources import WATCHED, ResourceType
from mooring_operator.metrics import OperatorMetrics
from mooring_operator.reconcile.outcomes import settled

log = logging.getLogger(__name__)

OnEvent = Callable[[str | None, Manifest], None]
"""Takes the event's type (None: listed) and the object."""
_LOGIN_LIFETIME = timedelta(minutes=10)
"""How long kopf uses a token before it asks again. Projected tokens rotate about hourly."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Watch:
    """Runs kopf until `stop`, handing each event to the main loop."""

    def __init__(
        self,
        connection: Connection,
        on_event: OnEvent,
        clock: Clock,
        metrics: OperatorMetrics,
        jitter: Callable[[], float],
        *,
        namespaces: tuple[str, ...] = (),
    ) -> None:
        self._connection, self._on_event = connection, on_event
        self._clock, self._metrics = clock, metrics
        self._jitter, self._namespaces = jitter, namespaces
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ends the streams; `run` returns soon."""
        self._stop.set()

    async def run(self) -> None:
        """Watches; starts again after each end, with growing pauses."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            began = self._clock.monotonic()
            ended = await settled(asyncio.to_thread(self._watch, loop))
            if self._stop.is_set():
                return
            log.warning("the watch ended and is started again: %r", ended)
            self._metrics.watch_restarts.inc()
            if self._clock.monotonic() - began > 2 * _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await self._clock.sleep(pause * (0.5 + self._jitter()))
            pause = min(_LONGEST_PAUSE, 2 * pause)

    def _watch(self, main: asyncio.AbstractEventLoop) -> None:
        """One run of kopf, on the calling thread."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login_handler())
        for type_ in WATCHED:
            kopf.on.event(
                group=type_.group, version=type_.version, plural=type_.plural, registry=registry
            )(self._event_handler(type_, main))
        asyncio.run(
            kopf.operator(
                registry=registry,
                settings=kopf_settings(self._jitter),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        )

    def _event_handler(self, type_: ResourceType, main: asyncio.AbstractEventLoop):
        # kopf reads a handler's kind from the function, so it must be one, not a method.
        async def hand_over(event: kopf.RawEvent, **_: Any) -> None:
            known: Manifest = {"apiVersion": type_.api_version, "kind": type_.kind}
            manifest = known | dict(event["object"])
            if not self._stop.is_set():
                main.call_soon_threadsafe(self._on_event, event["type"], manifest)

        return hand_over

    def _login_handler(self):
        async def login(**_: Any) -> kopf.ConnectionInfo:
            token = self._connection.bearer()
            return kopf.ConnectionInfo(
                server=self._connection.server,
                ca_path=self._connection.ca_path,
                insecure=self._connection.insecure,
                scheme="Bearer" if token else None,
                token=token,
                certificate_path=self._connection.certificate_path,
                private_key_path=self._connection.key_path,
                expiration=self._clock.now() + _LOGIN_LIFETIME if token else None,
            )

        return login
