"""What the pod says of itself on the management port: identity, profile, snapshot, metrics.

Reads the slots of one process or of all worker processes, and the gate's last order; decides
nothing.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson

from mooring_profile.document import ReferenceProfile
from mooring_profile.sketch import sketch_of
from mooring_serving.answer_bins import answer_edges
from mooring_serving.arms import Role
from mooring_serving.clock import Clock, format_time
from mooring_serving.lifecycle import Lifecycle
from mooring_serving.log.logs import log_sample
from mooring_serving.management import ManagementSources, NotReady
from mooring_serving.metrics import MetricLabels, Scrape, ServerMetrics
from mooring_serving.settings import ServerSettings
from mooring_serving.sync import Identity, SyncGate, encode_snapshot
from mooring_serving.totals import read_totals
from mooring_serving.workers.memory import IntArray, SketchMemory, SlotMemory

_LOADING = "the model is still loading"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What there is once the model is loaded.

    Attributes:
        model: The protocol's model name.
        profile: The reference profile.
        sketches: The sketches of all processes.
        gate: Takes the operator's messages.
    """

    model: str
    profile: ReferenceProfile
    sketches: Sequence[SketchMemory]
    gate: SyncGate


@dataclass(frozen=True, slots=True)
class Sources:
    """What is asked at the moment of a report.

    Attributes:
        is_live: Whether the event loops turn.
        lag_seconds: How late the latest of them is.
        role: The pod's role.
        publish: Brings gauges up to date that are kept elsewhere than in the slots.
        flush: Counts everything that was answered into the sketches; may take 100 ms.
        label_sample: Some of the receipts whose labels this pod took.
    """

    is_live: Callable[[], bool]
    lag_seconds: Callable[[], float]
    role: Callable[[], Role]
    publish: Callable[[], None]
    flush: Callable[[], None]
    label_sample: Callable[[], list[str]]


class PodReport:
    """Answers the management port.

    Args:
        settings: The environment's settings.
        clock: Time, read once for `startedAt`.
        boot_nonce: Random hex, another one in each process.
        lifecycle: The pod's state.
        slots: The slots of all processes.
        sources: The rest.
    """

    def __init__(
        self,
        settings: ServerSettings,
        clock: Clock,
        *,
        boot_nonce: str,
        lifecycle: Lifecycle,
        slots: Sequence[SlotMemory],
        sources: Sources,
    ) -> None:
        self._settings = settings
        self._boot_nonce = boot_nonce
        self._started_at = format_time(clock.now())
        self._lifecycle = lifecycle
        self._slots = slots
        self._sources = sources
        self._loaded: Loaded | None = None
        self._syncs = 0
        self._synced = threading.Condition()

    def adopt(self, loaded: Loaded) -> None:
        """The model is loaded: sync, profile and snapshots are possible from now on."""
        self._loaded = loaded

    def identity(self, model: str | None = None) -> Identity:
        """Who this process is; `model` when it is known before `adopt`."""
        settings, loaded = self._settings, self._loaded
        return Identity(
            pod_uid=settings.pod_uid,
            boot_nonce=self._boot_nonce,
            deployment_uid=settings.deployment_uid,
            model=model or (settings.model or "" if loaded is None else loaded.model),
            version=settings.version,
            revision=settings.revision,
            namespace=settings.namespace,
            started_at=self._started_at,
        )

    def management_sources(self) -> ManagementSources:
        """What the management port reads and does."""
        return ManagementSources(
            is_live=self._sources.is_live,
            is_ready=lambda: self._lifecycle.ready,
            fault=lambda: self._lifecycle.fault,
            metrics=ServerMetrics(self._scrape).render,
            identity=lambda: orjson.dumps(self.identity().to_json()),
            profile=lambda: orjson.dumps(self._must_be_loaded().profile.to_json()),
            sync=self._sync,
        )

    def snapshot(self) -> dict[str, object]:
        """The cumulative counters (docs/contracts.md §4).

        Requests are read before the sketches, so that `sketchedRows + droppedRows` never lags
        behind `rows`: coverage is not understated by a reader's timing. Phases are read after the
        recorder binned the answers in them.
        """
        settings, loaded = self._settings, self._loaded
        totals = read_totals(self._slots)
        document: dict[str, object] = {
            "cohortSeconds": settings.cohort_seconds,
            "labelSample": self._sources.label_sample(),
        }
        if loaded is not None:
            self._sources.flush()
            rows, cells = read_sketches(loaded.sketches)
            after = read_totals(self._slots)
            totals = replace(totals, phases=after.phases)
            document |= {
                "counts": sketch_of(loaded.profile, cells).to_json(),
                "answerEdges": list(answer_edges(loaded.profile)),
                "sketchedRows": rows,
                "droppedRows": after.dropped_rows,
            }
        return (
            totals.to_json()
            | document
            | {
                "podUid": settings.pod_uid,
                "bootNonce": self._boot_nonce,
                "revision": settings.revision,
                "version": settings.version,
                "acknowledged": loaded.gate.acknowledged if loaded is not None else None,
            }
        )

    def _must_be_loaded(self) -> Loaded:
        if self._loaded is None:
            raise NotReady(_LOADING)
        return self._loaded

    def _sync(self, body: bytes) -> bytes:
        self._must_be_loaded().gate.accept(body)
        snapshot = encode_snapshot(self.snapshot())
        with self._synced:
            self._syncs += 1
            self._synced.notify_all()
        return snapshot

    async def linger(self) -> bool:
        """Wait for one more message of the operator, whose answer holds everything counted here.

        What was counted since the message before would be lost with the pod. Nobody is waited for
        where no operator ever sent one.

        Returns:
            Whether one came.
        """
        return await asyncio.to_thread(self._await_sync, self._settings.linger_seconds)

    def _await_sync(self, seconds: float) -> bool:
        with self._synced:
            before = self._syncs
            return before > 0 and self._synced.wait_for(lambda: self._syncs > before, seconds)

    def _scrape(self) -> Scrape:
        sources, settings, loaded = self._sources, self._settings, self._loaded
        sources.publish()
        labels = MetricLabels(
            model=self.identity().model,
            version=settings.version,
            revision=settings.revision,
            environment=settings.environment,
            role=sources.role(),
        )
        return Scrape(
            labels=labels,
            totals=read_totals(self._slots),
            sketched_rows=sum(sketch.rows for sketch in loaded.sketches) if loaded else 0,
            state=self._lifecycle.state,
            loop_lag_seconds=sources.lag_seconds(),
            log_sample=log_sample(settings),
        )


def read_sketches(sketches: Sequence[SketchMemory]) -> tuple[int, IntArray]:
    """Rows counted and the cells, both summed over the processes."""
    read = [sketch.read() for sketch in sketches]
    return sum(rows for rows, _ in read), np.sum([cells for _, cells in read], axis=0)
