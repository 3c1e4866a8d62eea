"""Watch streams by kopf, in a thread with an event loop of its own.

kopf ends when a stream ends in an error that it does not expect, and cancels everything that
started on its loop after it. So it gets its own, and is started again; what does not end although
it closed its connections is left behind.

kopf lists before it watches, and holds a task and the whole object for everything that it listed:
with thousands of deployments more memory than all else. We list ourselves, page by page, so its
lists are answered with nothing but the version from which on it watches.
"""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp
import kopf

from mooring_operator.core.decision import Manifest
from mooring_operator.handlers.apart import Apart
from mooring_operator.handlers.configure import kopf_settings
from mooring_operator.handlers.forgetful import NoMemories
from mooring_operator.io.clock import Clock
from mooring_operator.io.fields import text_at
from mooring_operator.io.keepalive import lively_socket
from mooring_operator.io.kube_login import Connection
from mooring_operator.io.resources import WATCHED, ResourceType
from mooring_operator.io.wire_json import from_bytes
from mooring_operator.metrics import OperatorMetrics

log = logging.getLogger(__name__)

OnEvent = Callable[[str | None, Manifest], None]
"""Takes the event's type (None: listed) and the object."""
OnList = Callable[[str, int], None]
"""Told a kind and the resourceVersion after which the watch tells everything: nothing of before."""
_NOTHING = {"fieldSelector": "metadata.name=NONE"}
"""No object has a name in capitals."""
_LOGIN_LIFETIME = timedelta(minutes=10)
"""How long kopf uses a token before it asks again. Projected tokens rotate about hourly."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_OK = 200
_ENDING_SECONDS = 4.0
"""How long kopf may take to end once it was asked to, or closed its connections."""


@dataclass
class _Round:
    """One run of kopf."""

    stop: threading.Event = field(default_factory=threading.Event)
    sessions: int = 0
    """Open sessions; a token's rotation replaces one."""
    ending_since: float | None = None
    """From when on it should end, monotonic seconds."""


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
        self._round = _Round()
        self._apart = Apart()
        self.on_list: OnList = _nobody_asks
        self.kinds: Callable[[], tuple[ResourceType, ...]] = _always_there
        """What is watched: asked each time that it begins anew."""

    def stop(self) -> None:
        """Ends the streams; `run` returns soon."""
        self._stop.set()
        self.restart()

    def restart(self) -> None:
        """Begins anew with fresh connections: the present ones may be silent for ever."""
        self._round.ending_since = self._clock.monotonic()
        self._round.stop.set()

    async def ended(self) -> None:
        """Returns when kopf has ended, or does not in time."""
        await self._apart.ended(_ENDING_SECONDS)

    async def run(self) -> None:
        """Watches; starts again after each end, with growing pauses."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            began = self._clock.monotonic()
            self._round = present = _Round()
            work, stuck = partial(self._watch, loop, present), partial(self._is_stuck, present)
            ended = await self._apart.run(work, stuck)
            if self._stop.is_set():
                return
            self._metrics.watch_restarts.inc()
            if present.stop.is_set():
                log.info("the watch begins anew")
                continue
            log.warning("the watch ended and is started again: %r", ended)
            if self._clock.monotonic() - began > 2 * _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await self._clock.sleep(pause * (0.5 + self._jitter()))
            pause = min(_LONGEST_PAUSE, 2 * pause)

    def _is_stuck(self, present: _Round) -> bool:
        since = present.ending_since
        return since is not None and self._clock.monotonic() - since > _ENDING_SECONDS

    async def _watch(self, main: asyncio.AbstractEventLoop, present: _Round) -> None:
        """One run of kopf."""
        registry, kinds = kopf.OperatorRegistry(), self.kinds()
        kopf.on.login(registry=registry)(self._login_handler(main, present, kinds))
        for type_ in kinds:
            kopf.on.event(
                group=type_.group, version=type_.version, plural=type_.plural, registry=registry
            )(self._event_handler(type_, main))
        await kopf.operator(
            registry=registry,
            settings=kopf_settings(self._jitter, kinds),
            memories=NoMemories(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=present.stop,
        )

    def _event_handler(self, type_: ResourceType, main: asyncio.AbstractEventLoop):
        # kopf reads a handler's kind from the function, so it must be one, not a method.
        async def hand_over(event: kopf.RawEvent, **_: Any) -> None:
            known: Manifest = {"apiVersion": type_.api_version, "kind": type_.kind}
            manifest = known | dict(event["object"])
            if not self._stop.is_set():
                main.call_soon_threadsafe(self._on_event, event["type"], manifest)

        return hand_over

    def _login_handler(
        self, main: asyncio.AbstractEventLoop, present: _Round, kinds: tuple[ResourceType, ...]
    ):
        async def login(**_: Any) -> kopf.AiohttpSession:
            token = self._connection.bearer()
            return kopf.AiohttpSession(
                aiohttp_session=self._session(token, main, present, kinds),
                server=self._connection.server,
                expiration=self._clock.now() + _LOGIN_LIFETIME if token else None,
            )

        return login

    def _session(
        self,
        token: str | None,
        main: asyncio.AbstractEventLoop,
        present: _Round,
        kinds: tuple[ResourceType, ...],
    ) -> aiohttp.ClientSession:
        """As kopf's own session, but for connections that notice their end, and empty lists."""
        plain = self._connection.server.startswith("http://")
        tls: ssl.SSLContext | bool = True if plain else self._connection.tls()
        present.sessions += 1
        present.ending_since = None

        def closed() -> None:
            present.sessions -= 1
            if not present.sessions and present.ending_since is None:
                present.ending_since = self._clock.monotonic()

        connector = _Connector(limit=0, ssl=tls, socket_factory=lively_socket)
        connector.when_closed = closed
        return aiohttp.ClientSession(
            connector=connector,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            middlewares=(self._empty_lists(main, kinds),),
        )

    def _empty_lists(self, main: asyncio.AbstractEventLoop, kinds: tuple[ResourceType, ...]):
        places = {
            type_.path(namespace): type_.kind
            for type_ in kinds
            for namespace in (self._namespaces if type_.namespaced else ()) or ("",)
        }

        async def send(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            place = next((known for known in places if request.url.path.endswith(known)), None)
            if place is None or request.url.query.get("watch"):
                return await handler(request)
            request.url = request.url.update_query(_NOTHING)
            response = await handler(request)
            if response.status == _OK and not self._stop.is_set():
                version = text_at(from_bytes(await response.read()), "metadata", "resourceVersion")
                begins = int(version) if version.isdigit() else 0
                main.call_soon_threadsafe(self.on_list, places[place], begins)
            return response

        return send


class _Connector(aiohttp.TCPConnector):
    """Tells when it is closed: kopf closes its last session when it ends, and may then hang."""

    when_closed: Callable[[], None] | None = None

    def close(self, **given: Any):
        """Closes the connections."""
        if self.when_closed is not None:
            self.when_closed()
        return super().close(**given)


def _nobody_asks(_: str, __: int) -> None:
    """What happens on a list until somebody wants to know."""


def _always_there() -> tuple[ResourceType, ...]:
    """What is watched until somebody says otherwise."""
    return WATCHED
