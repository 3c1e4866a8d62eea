"""The statistics kernel: reference profiles, mergeable counts, drift detection, comparison.

Imported by every other package of Mooring and importing none of them; numpy is all it needs.
Everything here is a pure function of its arguments, so a verdict can be computed again anywhere.
"""

from mooring_profile.budget import ErrorBudget
from mooring_profile.build import build_profile
from mooring_profile.compare import (
    Comparison,
    MeanStratum,
    ProportionStratum,
    Verdict,
    compare_means,
    compare_proportions,
)
from mooring_profile.disagreement import Agreement, Disagreement, judge_disagreement
from mooring_profile.distribution import (
    DistributionComparison,
    HistogramStratum,
    compare_distributions,
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
from mooring_profile.latency import LatencyWindow, slow_answers
from mooring_profile.ratio import ArmTotals, RatioVerdict, SampleRatio, check_sample_ratio
from mooring_profile.sketch import FeatureCounts, Sketch, SketchRecorder
from mooring_profile.state import DetectorState
from mooring_profile.windows import ProportionWindow, WindowTest

__all__ = [
    "SCORE_STREAM",
    "Agreement",
    "ArmTotals",
    "Comparison",
    "CountsInvalid",
    "DetectorState",
    "Disagreement",
    "DistributionComparison",
    "DocumentInvalid",
    "DriftDetector",
    "ErrorBudget",
    "FeatureCounts",
    "FeatureKind",
    "FeatureProfile",
    "HistogramStratum",
    "LatencyWindow",
    "MeanStratum",
    "ProfileInvalid",
    "ProportionStratum",
    "ProportionWindow",
    "QualityBand",
    "RatioVerdict",
    "ReferenceProfile",
    "SampleRatio",
    "Signal",
    "Sketch",
    "SketchRecorder",
    "StreamEvidence",
    "StreamKind",
    "Verdict",
    "WindowTest",
    "build_profile",
    "check_sample_ratio",
    "compare_distributions",
    "compare_means",
    "compare_proportions",
    "judge_disagreement",
    "slow_answers",
]
