"""What a replay found: values, and the JSON document of `mooring drift replay` (docs/replay.md)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mooring_profile import ReferenceProfile, Signal, StreamEvidence, StreamKind
from mooring_profile.arming import StreamTest
from mooring_profile.fields import FloatArray
from mooring_replay.columns import Plan
from mooring_replay.history import History
from mooring_replay.settings import ReplaySettings

FORMAT_VERSION = 1
_KINDS = {StreamKind.DRIFT: "drift", StreamKind.DATA_QUALITY: "dataQuality"}


@dataclass(frozen=True)
class Alarm:
    """A feature alarms for the first time as one kind.

    Attributes:
        row: rows of the stream read when it rose: the last row of the window, from 1.
        window: that window, from 1.
        feature: the column.
        segment: the segment it was found in, as `column=value`; None for all rows.
        kind: drift or data quality.
        signal: what moved.
        change_row: first row of the window in which the change is estimated to have begun, from 1.
        text: the change in units of the feature.
    """

    row: int
    window: int
    feature: str
    segment: str | None
    kind: StreamKind
    signal: Signal
    change_row: int
    text: str

    def to_json(self) -> dict[str, object]:
        """The entry of `alarms`."""
        return {
            "row": self.row,
            "window": self.window,
            "feature": self.feature,
            "segment": self.segment,
            "kind": _KINDS[self.kind],
            "signal": self.signal.value,
            "changeRow": self.change_row,
            "text": self.text,
        }


@dataclass(frozen=True)
class StreamResult:
    """One stream of the detector at the end.

    Attributes:
        feature: the column.
        segment: as `column=value`; None for all rows.
        kind: drift or data quality.
        signal: what it watches.
        threshold: natural logarithm of the evidence at which it alarms.
        alarm_window: first window in which it did, from 1; None: never.
        last: what it says after the last window.
    """

    feature: str
    segment: str | None
    kind: StreamKind
    signal: Signal
    threshold: float
    alarm_window: int | None
    last: StreamEvidence

    def to_json(self) -> dict[str, object]:
        """The entry of `streams`."""
        last = self.last
        return {
            "feature": self.feature,
            "segment": self.segment,
            "kind": _KINDS[self.kind],
            "signal": self.signal.value,
            "threshold": round(self.threshold, 4),
            "alarmWindow": self.alarm_window,
            "last": {
                "logEvidence": _rounded(last.log_evidence),
                "at": last.at,
                "referenceShare": last.reference_share,
                "observedShare": last.observed_share,
                "text": last.effect_text,
                "psi": _rounded(last.psi),
                "js": _rounded(last.js),
                "jsNull95": _rounded(last.js_null95),
                "ks": _rounded(last.ks),
                "ksNull95": _rounded(last.ks_null95),
                "wassersteinSd": _rounded(last.wasserstein),
                "wassersteinSdNull95": _rounded(last.wasserstein_null95),
            },
        }


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        reference: the reference's file name.
        stream: the stream's.
        settings: what was asked for.
        plan: which columns were watched.
        profile: of the reference.
        rows: of the stream.
        alarms: in order of time.
        streams: of the detector, in its order.
        evidence: float64 [windows, streams], natural logarithms; NaN while nothing was judged.
        history: the counts over time.
        unarmed: streams that alarmed on the reference itself and therefore may not, with reasons.
        notes: what a reader should know about how the reference was read.
    """

    reference: str
    stream: str
    settings: ReplaySettings
    plan: Plan
    profile: ReferenceProfile
    rows: int
    alarms: tuple[Alarm, ...]
    streams: tuple[StreamResult, ...]
    evidence: FloatArray
    history: History
    unarmed: tuple[StreamTest, ...]
    notes: tuple[str, ...]

    @property
    def windows(self) -> int:
        """Windows judged; the last may be shorter than the others."""
        return len(self.evidence)

    def last_row(self, window: int) -> int:
        """The last row of a window, both from 1."""
        return min(window * self.settings.window, self.rows)

    def to_json(self) -> dict[str, object]:
        """The document."""
        return {
            "formatVersion": FORMAT_VERSION,
            "reference": {"file": self.reference, "rows": self.profile.rows},
            "stream": {"file": self.stream, "rows": self.rows, "windows": self.windows},
            "window": self.settings.window,
            "falseAlarmEveryWindows": self.settings.false_alarm_every,
            "tolerance": self.settings.tolerance,
            "alarms": [alarm.to_json() for alarm in self.alarms],
            "columns": [*self._watched(), *self._unwatched()],
            "notArmed": [
                {"stream": item.stream, "signal": item.signal.value, "reason": item.reason}
                for item in self.unarmed
            ],
            "notes": list(self.notes),
            "streams": [stream.to_json() for stream in self.streams],
            "windows": list(self._windows()),
        }

    def _watched(self) -> Iterator[dict[str, object]]:
        names = [*self.plan.kinds, *([] if self.plan.score is None else [self.plan.score])]
        for name, feature in zip(names, self.profile.streams, strict=False):
            yield {
                "column": name,
                "watched": True,
                "kind": feature.kind.value,
                "tolerance": round(feature.tolerance, 6),
                "designEffect": round(feature.design_effect, 4),
            }

    def _unwatched(self) -> Iterator[dict[str, object]]:
        for item in self.plan.unwatched:
            yield {
                "column": item.column,
                "watched": False,
                "reason": item.reason,
                "remedy": item.remedy,
            }

    def _windows(self) -> Iterator[dict[str, object]]:
        for index, row in enumerate(self.evidence):
            yield {
                "window": index + 1,
                "firstRow": index * self.settings.window + 1,
                "row": self.last_row(index + 1),
                "logEvidence": [None if np.isnan(x) else round(float(x), 4) for x in row],
            }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
