"""Builds a reference profile from batches of rows that are read twice, in bounded memory.

The first reading finds what to count (edges, categories, segments, components) from a summary:
a sample of 100,000 rows, exact extremes, the most frequent categories. The second counts every row.
A table of no more rows than the sample holds gives the same profile however it is cut. The memory
does not depend on the rows but on streams times runs of rows (`blocks`): 4 bytes a cell.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from mooring_profile.blocks import MIN_BLOCKS
from mooring_profile.counting import count_batches
from mooring_profile.design import design_of
from mooring_profile.document import FeatureKind, ReferenceProfile
from mooring_profile.errors import ProfileInvalid
from mooring_profile.partition import must_be_features
from mooring_profile.plan import Batch, ProfilePlan
from mooring_profile.sample import CAPACITY
from mooring_profile.selftest import run_self_test
from mooring_profile.summary import Summary


def build_profile_of_batches(
    read: Callable[[], Iterable[Batch]],
    kinds: Mapping[str, FeatureKind],
    *,
    tolerance_floor: float = 0.02,
    plan: ProfilePlan | None = None,
    capacity: int = CAPACITY,
) -> ReferenceProfile:
    """Profiles a table that need not fit into memory.

    Args:
        read: begins a reading of the table: batches of consecutive rows, in their order of time
            and each time the same.
        kinds: the kind of each feature, in the order that the profile lists them.
        tolerance_floor: smallest difference of a share that anybody cares about, 0 to 1.
        plan: what else to profile; None for nothing else.
        capacity: rows of the sample.

    Raises:
        ProfileInvalid: no rows, a tolerance outside [0, 1], segments by what is no feature,
            batches that do not fit each other, or two readings that differ.
    """
    if not 0 <= tolerance_floor <= 1:
        raise ProfileInvalid(f"tolerance_floor is {tolerance_floor}; it must be within [0, 1]")
    wanted = ProfilePlan() if plan is None else plan
    must_be_features(wanted.segments, kinds)
    summary = Summary.of(read(), kinds, wanted.segments, capacity)
    design = design_of(summary, kinds, wanted)
    rows = summary.rows
    del summary  # the sample is not needed while counting
    tallies = count_batches(read(), design, rows)
    profile = tallies.profile(tolerance_floor)
    if not wanted.self_test:
        return profile
    if not design.blocks.enough:
        note = f"No self-test: fewer than {MIN_BLOCKS} blocks of time"
        return replace(profile, notes=(*profile.notes, note))
    return replace(profile, self_test=run_self_test(tallies, profile, tolerance_floor))
