"""Slow answers of two arms, where "slow" is what stable itself says.

Pods count latency in shared bins. The threshold of a window is the bound below which the wanted
share of stable's answers lay in the windows before it: it follows a service that becomes slower for
both arms, and it is fixed before the window is seen, so that the comparison of the two shares above
it (`windows`) keeps its guarantee.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mooring_profile.errors import CountsInvalid
from mooring_profile.windows import ProportionWindow

LEAST_ROWS = 100
"""Answers of stable before a threshold is taken from them; windows until then judge nothing."""
NOTHING = ProportionWindow(0, 0, 0, 0)


@dataclass(frozen=True)
class LatencyWindow:
    """Answers by bin of both arms in one window; the last bin is everything above the others."""

    stable: tuple[int, ...]
    candidate: tuple[int, ...]


def slow_answers(
    windows: Sequence[LatencyWindow], *, quantile: float
) -> tuple[tuple[ProportionWindow, int | None], ...]:
    """Returns each window's answers and slow ones, and the first bin that counts as slow.

    Args:
        windows: in their order, all with the same bins, at least 2.
        quantile: share of stable's answers below the threshold, 0 to 1 exclusive; rounded up to the
            next bound, and down to the last one.

    Raises:
        CountsInvalid: bins of different number, a negative count, or a quantile out of its range.
    """
    if not 0 < quantile < 1:
        raise CountsInvalid(f"quantile is {quantile}; it must lie between 0 and 1")
    bins = {len(arm) for item in windows for arm in (item.stable, item.candidate)}
    if len(bins) > 1 or any(count < 2 for count in bins):
        raise CountsInvalid(f"arms have {sorted(bins)} bins; all must have the same, at least 2")
    found: list[tuple[ProportionWindow, int | None]] = []
    past = np.zeros(max(bins, default=2), dtype=np.int64)
    for index, item in enumerate(windows):
        stable, candidate = np.array(item.stable), np.array(item.candidate)
        if min(stable.min(), candidate.min()) < 0:
            raise CountsInvalid(f"windows[{index}] has a count below 0; counts are at least 0")
        if past.sum() < LEAST_ROWS:
            found.append((NOTHING, None))
        else:
            below = np.cumsum(past)[:-1] >= quantile * past.sum()
            slow = int(below.argmax()) + 1 if below.any() else past.size - 1
            counts = (
                int(stable.sum()),
                int(stable[slow:].sum()),
                int(candidate.sum()),
                int(candidate[slow:].sum()),
            )
            found.append((ProportionWindow(*counts), slow))
        past += stable
    return tuple(found)
