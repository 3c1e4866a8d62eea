"""Builds a reference profile from a table in memory.

Called where a model is packaged (a notebook, the command line, a training Job), never in a pod or
in the operator. Pure: the same table gives the same profile. `streaming` does the same for a table
that does not fit into memory.
"""

from collections.abc import Mapping

from mooring_profile.binning import Column
from mooring_profile.document import FeatureKind, ReferenceProfile
from mooring_profile.plan import Batch, ProfilePlan
from mooring_profile.streaming import build_profile_of_batches

__all__ = ["ProfilePlan", "build_profile"]


def build_profile(
    columns: Mapping[str, Column],
    kinds: Mapping[str, FeatureKind],
    *,
    score: Column | None,
    blocks: Column | None,
    tolerance_floor: float = 0.02,
    plan: ProfilePlan | None = None,
) -> ReferenceProfile:
    """Profiles a table, usually the rows that a model was trained on.

    Args:
        columns: a column [rows] or [rows, 1] per feature, rows in their order of time.
        kinds: the kind of each feature, in the order that the profile lists them. With `@class`
            (categorical) the class that the model chose is a stream too, and may be among the
            plan's segments: then the score is counted by class.
        score: the model's output for each row (held-out where possible), numeric; None when
            there is none.
        blocks: integer id of the block of time (the day, say) of each row; from it come the
            design effect and the seasonal tolerance. None when no time is known: then rows are
            taken as independent and the world as constant. Choose blocks about as long as the
            windows that will be judged, or longer.
        tolerance_floor: smallest difference of a share that anybody cares about, 0 to 1.
        plan: what else to profile (segments, the reconstruction error, ...); None for nothing.

    Raises:
        ProfileInvalid: no rows, columns of different lengths, a feature without a column, block
            ids that are not integers, a tolerance outside [0, 1], or segments by what is no
            feature.
    """
    table = Batch.of(columns, kinds, score, blocks)
    return build_profile_of_batches(
        lambda: (table,), kinds, tolerance_floor=tolerance_floor, plan=plan
    )
