"""Both logs of a pod, opened together or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass

from mooring_serving.clock import Clock
from mooring_serving.limits import WorkLimits
from mooring_serving.log.segments import SegmentedLog
from mooring_serving.log.store import open_store
from mooring_serving.log.tables import (
    LabelEntry,
    PredictionEntry,
    PredictionTables,
    build_label_table,
)
from mooring_serving.protocol.signature import Signature
from mooring_serving.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class PredictionLogs:
    """The prediction log and the label log; both None when there is no place to write to."""

    predictions: SegmentedLog[PredictionEntry] | None = None
    labels: SegmentedLog[LabelEntry] | None = None

    def start(self) -> None:
        """Start the writing threads."""
        if self.predictions is not None:
            self.predictions.start()
        if self.labels is not None:
            self.labels.start()

    def stop(self, seconds: float) -> None:
        """Write what waits; `seconds` is the longest wait for each log."""
        if self.predictions is not None:
            self.predictions.stop(seconds)
        if self.labels is not None:
            self.labels.stop(seconds)

    def rows(self) -> Mapping[str, tuple[int, int, int]]:
        """For each log its rows written, waiting and dropped."""
        rows: dict[str, tuple[int, int, int]] = {}
        for name, log in (("predictions", self.predictions), ("labels", self.labels)):
            if log is not None:
                counts = log.counts
                rows[name] = (counts.written, counts.waiting, counts.dropped)
        return rows


def open_logs(
    settings: ServerSettings, signature: Signature, clock: Clock, limits: WorkLimits
) -> PredictionLogs:
    """The logs that the settings name.

    Raises:
        LogUriInvalid: The URI cannot be written.
    """
    if settings.prediction_log_uri is None:
        return PredictionLogs()
    store = open_store(settings.prediction_log_uri)
    place = f"{settings.namespace}/{settings.deployment or 'local'}"
    tables = PredictionTables(signature, revision=settings.revision, version=settings.version)
    return PredictionLogs(
        predictions=SegmentedLog(
            store,
            prefix=f"{place}/predictions",
            first_name=settings.pod_uid,
            build=tables.build,
            now=clock.now,
            row_limit=limits.log_rows,
        ),
        labels=SegmentedLog(
            store,
            prefix=f"{place}/labels",
            first_name=settings.pod_uid,
            build=build_label_table,
            now=clock.now,
            row_limit=limits.log_rows,
        ),
    )
