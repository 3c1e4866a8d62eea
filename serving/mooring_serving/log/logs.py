"""Both logs of a process, opened together or not at all."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mooring_serving.clock import Clock
from mooring_serving.limits import WorkLimits
from mooring_serving.log.counts import RowTotals
from mooring_serving.log.event_sender import EventCounts, EventSender
from mooring_serving.log.events import EventOrigin, EventSink
from mooring_serving.log.fields import FieldHash, LoggedFields, choose_fields
from mooring_serving.log.retention import Retention
from mooring_serving.log.segments import QueueLimits, SegmentedLog
from mooring_serving.log.settings import EventSettings, LogSettings, RotateSettings
from mooring_serving.log.shipping import Neighbours, Shipper
from mooring_serving.log.spool import Spool
from mooring_serving.log.store import SegmentStore, open_store
from mooring_serving.log.tables import (
    LabelEntry,
    LabelTables,
    PredictionEntry,
    PredictionTables,
    text_bytes,
)
from mooring_serving.protocol.signature import Signature
from mooring_serving.settings import ServerSettings

PREDICTIONS = "predictions"
_EVENT_SECONDS = 2.0
"""How long a draining server goes on sending payload events."""
LABELS = "labels"


class PredictionLogs:
    """The prediction log and the label log; both None when there is no place to write to.

    Attributes:
        predictions: The prediction log.
        labels: The label log.
        events: Takes payload events; None where none are asked for.
    """

    def __init__(
        self,
        predictions: SegmentedLog[PredictionEntry] | None = None,
        labels: SegmentedLog[LabelEntry] | None = None,
        shipper: Shipper | None = None,
        *,
        events: EventSender | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.predictions = predictions
        self.events: EventSink | None = events
        self._sender = events
        self.labels = labels
        self._shipper = shipper
        self._scratch = scratch

    @property
    def remembers(self) -> bool:
        """Whether the counts outlive the process, in journals of the pod."""
        return self._shipper is not None and self._scratch is None

    def start(self) -> None:
        """Start the threads."""
        if self._sender is not None:
            self._sender.start()
        if self.predictions is None or self.labels is None or self._shipper is None:
            return
        self.predictions.start()
        self.labels.start()
        self._shipper.start()

    def stop(self, seconds: float) -> None:
        """Write what waits; `seconds` is the longest wait for all of it.

        What the store did not take stays on the pod's disk for the container that follows, or is
        dropped where the disk is a scratch folder of this process.
        """
        if self._sender is not None:
            self._sender.stop(_EVENT_SECONDS)
        if self.predictions is None or self.labels is None or self._shipper is None:
            return
        end = time.monotonic() + seconds
        for part in (self.predictions, self.labels, self._shipper):
            part.stop(max(0.0, end - time.monotonic()))
        if self._scratch is not None:
            for spool in self._shipper.spools:
                spool.drop_waiting()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def event_counts(self) -> EventCounts:
        """Payload events by what became of them."""
        return EventCounts() if self._sender is None else self._sender.counts

    def totals(self) -> Mapping[str, RowTotals]:
        """Rows by what became of them, for each log; of this process' spools."""
        totals: dict[str, RowTotals] = {}
        if self._shipper is not None:
            for spool in tuple(self._shipper.spools):
                stream = spool.name.rpartition("-")[0]
                totals[stream] = totals.get(stream, RowTotals()) + spool.totals
        return totals


@dataclass(frozen=True, slots=True)
class _Site:
    """What both logs of a process share."""

    settings: ServerSettings
    log: LogSettings
    store: SegmentStore
    root: Path
    now: Callable[[], datetime]
    limits: QueueLimits
    worker: int
    workers: int

    @property
    def rotate(self) -> RotateSettings:
        """When segments are closed: in time, since the open one counts against the disk's limit."""
        rotate = self.log.rotate
        most = self.limits.disk_bytes // 4
        return rotate.model_copy(update={"bytes": min(rotate.bytes, most)})

    @property
    def place(self) -> str:
        """Below the store's root."""
        return f"{self.settings.namespace}/{self.settings.deployment or 'local'}"

    def spool(self, stream: str) -> Spool:
        """The stream's folder on the pod's disk, waited for if a dying process still has it."""
        return Spool(self.root / f"{stream}-{self.worker}", wait=True)

    def facts(self, stream: str) -> dict[str, str]:
        """Metadata of the stream's files."""
        settings = self.settings
        return {
            "mooring.stream": stream,
            "mooring.deployment": self.place,
            "mooring.version": settings.version,
            "mooring.revision": settings.revision,
            "mooring.pod": settings.pod_uid,
            "mooring.worker": str(self.worker),
            "mooring.sample": json.dumps(self.log.sample),
        }


def log_sample(settings: ServerSettings) -> float | None:
    """Share of requests that are logged; None without a log."""
    if settings.prediction_log_uri is None:
        return None
    return (settings.prediction_log or LogSettings()).sample


def open_logs(
    settings: ServerSettings,
    signature: Signature,
    clock: Clock,
    limits: WorkLimits,
    *,
    worker: int = 0,
    workers: int = 1,
) -> PredictionLogs:
    """The logs that the settings name.

    Args:
        settings: The environment's settings.
        signature: The model's features.
        clock: Time.
        limits: Limits on what waits.
        worker: Index of this process among those of the pod; each has its own journals.
        workers: How many there are: they share the disk.

    Raises:
        LogUriInvalid: The URI cannot be written.
        LogFieldsInvalid: A field is unknown, or hashed without a salt.
        EventsUrlInvalid: Payload events cannot go where they are to go.
        OSError: The journals' folder cannot be written.
    """
    log = settings.prediction_log or LogSettings()
    events = None if log.events is None else open_events(settings, log.events, clock)
    if settings.prediction_log_uri is None:
        return PredictionLogs(events=events)
    salt = settings.prediction_log_salt
    fields = choose_fields([feature.name for feature in signature.features], log, salt)
    digest = FieldHash(salt) if fields.hashed and salt is not None else None
    store = open_store(settings.prediction_log_uri)
    scratch = None
    root = settings.prediction_log_journal
    if root is None:
        root = scratch = Path(tempfile.mkdtemp(prefix="mooring-log-"))
    site = _Site(
        settings=settings,
        log=log,
        store=store,
        root=root,
        now=clock.now,
        limits=QueueLimits(
            rows=limits.log_rows,
            text_bytes=limits.log_text_bytes,
            disk_bytes=limits.log_disk_bytes // (2 * workers),
        ),
        worker=worker,
        workers=workers,
    )
    return _open(site, signature, fields, digest, events=events, scratch=scratch)


def open_events(settings: ServerSettings, events: EventSettings, clock: Clock) -> EventSender:
    """The sender of payload events.

    Raises:
        EventsUrlInvalid: Their URL cannot be used.
    """
    facts = {"mooring-model-version": settings.version, "mooring-revision": settings.revision}
    origin = EventOrigin(settings.deployment or "local", settings.namespace, facts)
    return EventSender(events, origin, monotonic=clock.monotonic)


def _open(
    site: _Site,
    signature: Signature,
    fields: LoggedFields,
    digest: FieldHash | None,
    *,
    events: EventSender | None,
    scratch: Path | None,
) -> PredictionLogs:
    log, settings = site.log, site.settings
    spools = {stream: site.spool(stream) for stream in (PREDICTIONS, LABELS)}
    keep = None if log.retention_seconds is None else timedelta(seconds=log.retention_seconds)
    shipper = Shipper(
        site.store,
        place=site.place,
        pod=settings.pod_uid,
        spools=tuple(spools.values()),
        neighbours=Neighbours(site.root, site.workers)
        if site.worker == 0 and scratch is None
        else None,
        retentions=()
        if keep is None or site.worker != 0
        else tuple(
            Retention(site.store, f"{site.place}/{stream}", settings.pod_uid, keep)
            for stream in spools
        ),
        now=site.now,
    )
    tables = PredictionTables(
        signature,
        fields,
        digest,
        revision=settings.revision,
        version=settings.version,
        facts=site.facts(PREDICTIONS),
    )
    return PredictionLogs(
        predictions=SegmentedLog(
            spools[PREDICTIONS],
            tables,
            shipper.take,
            now=site.now,
            rotate=site.rotate,
            limits=site.limits,
            sample=log.sample,
            measure=text_bytes(signature, fields),
        ),
        labels=SegmentedLog(
            spools[LABELS],
            LabelTables(site.facts(LABELS)),
            shipper.take,
            now=site.now,
            rotate=site.rotate,
            limits=site.limits,
        ),
        shipper=shipper,
        events=events,
        scratch=scratch,
    )
