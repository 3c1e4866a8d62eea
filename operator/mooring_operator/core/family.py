"""The family of streams that a deployment's watch judges, and what it announces. Pure.

A spec may widen tolerances: a narrower one than the profile's would break the announced interval,
since the profile's holds the reference's own error and its seasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mooring_operator.api.deployment import Drift
from mooring_operator.api.deployment_status import DriftStatus
from mooring_operator.core.drift import untold
from mooring_operator.ids import Revision
from mooring_profile import SCORE_STREAM
from mooring_profile.document import FeatureProfile, ReferenceProfile
from mooring_profile.edetector import DriftDetector


@dataclass(frozen=True)
class Wanted:
    """What a spec wants otherwise than the profile.

    Attributes:
        tolerance: least tolerance of every distribution; 0: the profile's.
        tolerances: the same by feature.
    """

    tolerance: float = 0.0
    tolerances: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def of(cls, drift: Drift) -> "Wanted":
        """What a deployment's spec says."""
        return cls(
            tolerance=drift.tolerance or 0.0,
            tolerances={item.name: item.tolerance for item in drift.features},
        )

    def least(self, feature: FeatureProfile) -> float:
        """The least tolerance of a feature."""
        return self.tolerances.get(feature.feature, self.tolerance)


def judged_profile(profile: ReferenceProfile, wanted: Wanted) -> ReferenceProfile:
    """The profile with the wanted tolerances, where they are wider than its own."""
    return replace(
        profile,
        features=tuple(_widened(feature, wanted) for feature in profile.features),
        score=None if profile.score is None else _widened(profile.score, wanted),
    )


def announced(revision: Revision, detector: DriftDetector, interval: str) -> DriftStatus:
    """The status of a watch before its first window, with what it announces."""
    return untold(revision).model_copy(
        update={"false_alarm_interval": interval, "watched": _watched(detector)}
    )


def _watched(detector: DriftDetector) -> str:
    """Such as `20 features and the score`."""
    names = {name for name, _ in detector.streams}
    features = len(names - {SCORE_STREAM})
    told = f"{features} feature{'' if features == 1 else 's'}"
    return f"{told} and the score" if SCORE_STREAM in names else told


def _widened(feature: FeatureProfile, wanted: Wanted) -> FeatureProfile:
    least = wanted.least(feature)
    return replace(feature, tolerance=least) if least > feature.tolerance else feature
