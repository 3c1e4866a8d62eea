"""The statistics kernel: reference profiles, mergeable counts, drift detection, comparison.

Imported by every other package of Mooring and importing none of them; numpy is all it needs.
Everything here is a pure function of its arguments, so a verdict can be computed again anywhere.
"""

from mooring_profile.build import build_profile
from mooring_profile.compare import (
    Comparison,
    MeanStratum,
    ProportionStratum,
    Verdict,
    compare_means,
    compare_proportions,
)
from mooring_profile.document import (
    SCORE_STREAM,
    FeatureKind,
    FeatureProfile,
    QualityBand,
    ReferenceProfile,
    Signal,
)
from mooring_profile.edetector import DriftDetector, StreamEvidence, StreamKind
from mooring_profile.errors import CountsInvalid, DocumentInvalid, ProfileInvalid
from mooring_profile.sketch import FeatureCounts, Sketch, SketchRecorder
from mooring_profile.state import DetectorState

__all__ = [
    "SCORE_STREAM",
    "Comparison",
    "CountsInvalid",
    "DetectorState",
    "DocumentInvalid",
    "DriftDetector",
    "FeatureCounts",
    "FeatureKind",
    "FeatureProfile",
    "MeanStratum",
    "ProfileInvalid",
    "ProportionStratum",
    "QualityBand",
    "ReferenceProfile",
    "Signal",
    "Sketch",
    "SketchRecorder",
    "StreamEvidence",
    "StreamKind",
    "Verdict",
    "build_profile",
    "compare_means",
    "compare_proportions",
]
