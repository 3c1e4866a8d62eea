"""What exists before the model does: identity, state, counters, route, and the management port."""

import threading
from dataclasses import dataclass

import orjson

from mooring_profile.document import ReferenceProfile
from mooring_serving.clock import Clock, format_time
from mooring_serving.counters import Counters
from mooring_serving.inference import InferencePool
from mooring_serving.lifecycle import Event, State, advance
from mooring_serving.limits import WorkLimits
from mooring_serving.log.logs import PredictionLogs
from mooring_serving.management import ManagementSources, NotReady
from mooring_serving.metrics import Gauges, ServerMetrics
from mooring_serving.recorder import Recorder
from mooring_serving.routing import RouteTable
from mooring_serving.settings import ServerSettings
from mooring_serving.sync import Identity, SyncGate, encode_snapshot

_BEAT_SECONDS = 0.5
_DEAD_AFTER_SECONDS = 60.0
"""A loop that did not turn for so long will not turn again; far above any single prediction."""


class Lifecycle:
    """The state, moved by the main thread and read by all."""

    def __init__(self) -> None:
        self._state = State.LOADING
        self._lock = threading.Lock()

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
        return self._state is State.READY


class Heartbeat:
    """How late the event loop is, as the management thread sees it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beat_at = clock.monotonic()

    interval_seconds = _BEAT_SECONDS

    def beat(self) -> None:
        """The loop turned."""
        self._beat_at = self._clock.monotonic()

    @property
    def lag_seconds(self) -> float:
        """Seconds by which the next beat is late, 0 when it is not."""
        return max(0.0, self._clock.monotonic() - self._beat_at - _BEAT_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether the loop still turns."""
        return self.lag_seconds < _DEAD_AFTER_SECONDS


@dataclass(frozen=True, slots=True)
class Duties:
    """What comes with the model and is reported on the management port."""

    recorder: Recorder
    logs: PredictionLogs
    pool: InferencePool
    profile: ReferenceProfile


class Pod:
    """The pod's own memory: everything that is counted or decided here, whatever the model.

    Args:
        settings: The environment's settings.
        clock: Time.
        boot_nonce: Random hex, another one in each process.
        limits: Limits on work in hand.
    """

    def __init__(
        self, settings: ServerSettings, clock: Clock, *, boot_nonce: str, limits: WorkLimits
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.lifecycle = Lifecycle()
        self.heartbeat = Heartbeat(clock)
        self.counters = Counters(limits.phases)
        self.routes = RouteTable()
        self.gate: SyncGate | None = None
        self.duties: Duties | None = None
        self._boot_nonce = boot_nonce
        self._started_at = format_time(clock.now())
        self._model = settings.model or ""

    def adopt(self, gate: SyncGate, duties: Duties, model: str) -> None:
        """The model is loaded: sync, profile and snapshots are possible from now on."""
        self._model = model
        self.duties = duties
        self.gate = gate

    @property
    def identity(self) -> Identity:
        """Who this process is."""
        settings = self.settings
        return Identity(
            pod_uid=settings.pod_uid,
            boot_nonce=self._boot_nonce,
            deployment_uid=settings.deployment_uid,
            model=self._model,
            version=settings.version,
            revision=settings.revision,
            namespace=settings.namespace,
            started_at=self._started_at,
        )

    def management_sources(self) -> ManagementSources:
        """What the management port reads and does."""
        settings = self.settings
        metrics = ServerMetrics(
            self.counters,
            self._gauges,
            identity=lambda: (
                self._model,
                settings.version,
                settings.revision,
                settings.environment,
            ),
        )
        return ManagementSources(
            is_live=lambda: self.heartbeat.alive,
            is_ready=lambda: self.lifecycle.ready,
            metrics=metrics.render,
            identity=lambda: orjson.dumps(self.identity.to_json()),
            profile=self._profile,
            sync=self._sync,
        )

    def _profile(self) -> bytes:
        if self.duties is None:
            raise NotReady("the model is still loading")
        return orjson.dumps(self.duties.profile.to_json())

    def _sync(self, body: bytes) -> bytes:
        if self.gate is None:
            raise NotReady("the model is still loading")
        self.gate.accept(body)
        return encode_snapshot(self.snapshot())

    def snapshot(self) -> dict[str, object]:
        """The cumulative counters (docs/contracts.md §4).

        Requests are read before the sketches, so that `sketchedRows + droppedRows` never lags
        behind `rows`: coverage is not understated by a reader's timing.
        """
        document = self.counters.to_json()
        if self.duties is not None:
            recording = self.duties.recorder.read()
            document |= {
                "counts": recording.counts,
                "sketchedRows": recording.sketched_rows,
                "droppedRows": recording.dropped_rows,
            }
        return document | {
            "podUid": self.settings.pod_uid,
            "bootNonce": self._boot_nonce,
            "revision": self.settings.revision,
            "version": self.settings.version,
            "acknowledged": self.gate.acknowledged if self.gate is not None else None,
        }

    def _gauges(self) -> Gauges:
        duties = self.duties
        return Gauges(
            state=self.lifecycle.state,
            recorder_rows=duties.recorder.rows if duties is not None else (0, 0),
            log_rows=duties.logs.rows() if duties is not None else {},
            in_flight=duties.pool.in_flight if duties is not None else 0,
            loop_lag_seconds=self.heartbeat.lag_seconds,
        )
