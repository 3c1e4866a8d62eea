"""Where evidence ends: the limit of a confidence interval, by bisection."""

from collections.abc import Callable


def largest_excluded(
    excluded: Callable[[float], bool], low: float, high: float, *, steps: int
) -> float:
    """Returns the largest value that is excluded from below; `low` if none is.

    Args:
        excluded: whether the evidence excludes a value; once it does not, it does for none above.
        low: the least value looked at.
        high: the largest.
        steps: halvings of [low, high]; the answer is too low by less than what is left.
    """
    for _ in range(steps):
        middle = (low + high) / 2
        if excluded(middle):
            low = middle
        else:
            high = middle
    return low
