"""How a family of streams shares its false alarms: weights that sum to 1.

Used by `streams` only.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

from mooring_profile.document import FeatureProfile, Signal
from mooring_profile.errors import ProfileInvalid

FEATURE_PART = 0.6
"""For the distributions of the features and of the score over all rows."""
SEGMENT_PART = 0.3
"""For all streams of the segments."""
QUALITY_PART = 0.1
"""For data quality over all rows, whose changes are seldom subtle. What the features or the
segments do not claim goes to the other of the two; quality has it all only when it is alone."""
IMPORTANCE_FLOOR = 0.25
"""Part of the weight that features get alike, whatever their importance: 1 / (4K) for each."""
_SIGNAL_PARTS = {Signal.DISTRIBUTION: 0.8, Signal.RARE: 0.2}
_OTHER_SIGNAL_PART = 0.04


class _Part(StrEnum):
    FEATURES = "features"
    SEGMENTS = "segments"
    QUALITY = "quality"


def family_weights(
    streams: Sequence[tuple[FeatureProfile, Signal]], importance: Mapping[str, float] | None
) -> list[float]:
    """Returns the weight of each stream, > 0, summing to 1.

    Args:
        streams: feature and signal of each.
        importance: how much each feature matters, >= 0, by name; one that is absent (the score,
            say) matters as much as the mean of the others. None when all matter alike.

    Raises:
        ProfileInvalid: an importance is negative or not finite, or all are 0.
    """
    parts = [_part_of(feature, signal) for feature, signal in streams]
    budgets = _budgets(set(parts))
    features: dict[_Part, dict[str, FeatureProfile]] = defaultdict(dict)
    signals: dict[tuple[_Part, str], float] = defaultdict(float)
    for part, (feature, signal) in zip(parts, streams, strict=True):
        features[part][feature.name] = feature
        signals[part, feature.name] += _SIGNAL_PARTS.get(signal, _OTHER_SIGNAL_PART)
    shares = {
        part: _feature_shares(list(found.values()), importance) for part, found in features.items()
    }
    return [
        budgets[part]
        * shares[part][feature.name]
        * _SIGNAL_PARTS.get(signal, _OTHER_SIGNAL_PART)
        / signals[part, feature.name]
        for part, (feature, signal) in zip(parts, streams, strict=True)
    ]


def _part_of(feature: FeatureProfile, signal: Signal) -> _Part:
    if feature.segment is not None:
        return _Part.SEGMENTS
    return _Part.FEATURES if signal in _SIGNAL_PARTS else _Part.QUALITY


def _budgets(present: set[_Part]) -> dict[_Part, float]:
    subtle = {_Part.FEATURES: FEATURE_PART, _Part.SEGMENTS: SEGMENT_PART}
    found = {part: share for part, share in subtle.items() if part in present}
    if not found:
        return {_Part.QUALITY: 1.0}
    rest = 1 - QUALITY_PART if _Part.QUALITY in present else 1.0
    scale = rest / sum(found.values())
    return {part: share * scale for part, share in found.items()} | {_Part.QUALITY: QUALITY_PART}


def _feature_shares(
    features: list[FeatureProfile], importance: Mapping[str, float] | None
) -> dict[str, float]:
    alike = 1 / len(features)
    if importance is None:
        return {feature.name: alike for feature in features}
    for name, value in importance.items():
        if not (math.isfinite(value) and value >= 0):
            raise ProfileInvalid(f"The importance of {name!r} is {value}; it must be 0 or more")
    mean = sum(importance.values()) / len(importance) if importance else 0.0
    if mean <= 0:
        raise ProfileInvalid("No feature has an importance above 0; leave the importances out")
    matter = {feature.name: importance.get(feature.feature, mean) for feature in features}
    total = sum(matter.values())
    return {
        name: IMPORTANCE_FLOOR * alike
        + (1 - IMPORTANCE_FLOOR) * (value / total if total else alike)
        for name, value in matter.items()
    }
