"""What a share of killed mutants says of all of them."""

from math import sqrt

_Z = 1.959964
"""Of a two-sided 95 % interval."""


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    Args:
        hits: 0 to n.
        n: trials; 0 gives the whole range.
    """
    if n == 0:
        return 0.0, 1.0
    share, z = hits / n, _Z
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
