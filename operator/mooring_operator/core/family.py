"""The family of streams that a deployment's watch judges, and what it announces. Pure.

A spec may widen tolerances: a narrower one than the profile's would break the announced interval,
since the profile's holds the reference's own error and its seasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mooring_operator.api.deployment import Drift
from mooring_operator.api.monitoring_status import DriftStatus, UnarmedStream
from mooring_operator.core.conditions import trimmed
from mooring_operator.core.drift import untold
from mooring_operator.ids import Revision
from mooring_profile import SCORE_STREAM
from mooring_profile.document import (
    CLASS_STREAM,
    RECONSTRUCTION_STREAM,
    FeatureProfile,
    ReferenceProfile,
)
from mooring_profile.edetector import DriftDetector
from mooring_profile.errors import ProfileInvalid

MOST_UNARMED = 20


@dataclass(frozen=True)
class Wanted:
    """What a spec wants otherwise than the profile.

    Attributes:
        tolerance: least tolerance of every distribution; 0: the profile's.
        tolerances: the same by feature.
        importance: how much features matter, by name; None: all alike.
        columns: whose segments are watched; None: all that the profile has.
    """

    tolerance: float = 0.0
    tolerances: Mapping[str, float] = field(default_factory=dict[str, float])
    importance: Mapping[str, float] | None = None
    columns: frozenset[str] | None = None

    @classmethod
    def of(cls, drift: Drift, columns: list[str] | None) -> "Wanted":
        """What a deployment's spec says."""
        return cls(
            tolerance=drift.tolerance or 0.0,
            tolerances={
                item.name: item.tolerance for item in drift.features if item.tolerance is not None
            },
            importance={
                item.name: item.importance for item in drift.features if item.importance is not None
            }
            or None,
            columns=None if columns is None else frozenset(columns),
        )

    @property
    def names(self) -> frozenset[str]:
        """The features that it is about."""
        return frozenset(self.tolerances) | frozenset(self.importance or ())

    def least(self, feature: FeatureProfile) -> float:
        """The least tolerance of a feature."""
        return self.tolerances.get(feature.feature, self.tolerance)


def judged_profile(profile: ReferenceProfile, wanted: Wanted) -> ReferenceProfile:
    """The profile with the wanted segments, and with tolerances where they are wider than its own.

    Raises:
        ProfileInvalid: a wanted column has no segments in the profile, or a feature of the spec is
            none of the profile's.
    """
    unknown = sorted(wanted.names - {stream.feature for stream in profile.streams})
    if unknown:
        raise ProfileInvalid(
            f"spec.monitoring.drift.features names {', '.join(unknown)}, which the package does"
            " not have: name features of its schema, or @score"
        )
    present = {part.segment.column for part in profile.segments}
    absent = sorted((wanted.columns or frozenset()) - present)
    if absent:
        raise ProfileInvalid(
            f"spec.monitoring.segments names {', '.join(absent)}; the package has segments of"
            f" {', '.join(sorted(present)) or 'no column'}: package it with them, or leave them out"
        )
    return replace(
        profile,
        segments=tuple(
            replace(part, streams=tuple(_widened(stream, wanted) for stream in part.streams))
            for part in profile.segments
            if wanted.columns is None or part.segment.column in wanted.columns
        ),
        features=tuple(_widened(feature, wanted) for feature in profile.features),
        score=None if profile.score is None else _widened(profile.score, wanted),
        predicted=None if profile.predicted is None else _widened(profile.predicted, wanted),
    )


def announced(
    revision: Revision, profile: ReferenceProfile, detector: DriftDetector, interval: str
) -> DriftStatus:
    """The status of a watch before its first window, with what it announces.

    Args:
        revision: that is watched.
        profile: what the detector judges by.
        detector: made of it.
        interval: announced between false alarms, as the spec has it.
    """
    return untold(revision).model_copy(
        update={
            "false_alarm_interval": interval,
            "watched": _watched(profile, detector),
            "unarmed": _unarmed(detector),
        }
    )


def _unarmed(detector: DriftDetector) -> list[UnarmedStream]:
    refused = [
        UnarmedStream(
            name=f"{test.stream} ({test.signal})"[:256], reason=trimmed(test.reason or "")
        )
        for test in detector.refused
    ]
    return refused[:MOST_UNARMED]


def _watched(profile: ReferenceProfile, detector: DriftDetector) -> str:
    """Such as `20 features, the score and 42 streams of segments`."""
    names = {name for name, _ in detector.streams}
    parts = names & {item.name for item in profile.streams if item.segment is not None}
    whole = names - parts - {SCORE_STREAM, CLASS_STREAM, RECONSTRUCTION_STREAM}
    told = [
        f"{len(whole)} feature{'' if len(whole) == 1 else 's'}",
        *(["the score"] if SCORE_STREAM in names else []),
        *(["the chosen class"] if CLASS_STREAM in names else []),
        *(["how features hang together"] if RECONSTRUCTION_STREAM in names else []),
        *([f"{len(parts)} streams of segments"] if parts else []),
    ]
    return " and ".join([", ".join(told[:-1]), told[-1]] if told[1:] else told)


def _widened(feature: FeatureProfile, wanted: Wanted) -> FeatureProfile:
    least = wanted.least(feature)
    return replace(feature, tolerance=least) if least > feature.tolerance else feature
