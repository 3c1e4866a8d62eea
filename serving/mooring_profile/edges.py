"""Bin edges of equal mass, with a bin of its own for each atom of the distribution."""

import numpy as np
import numpy.typing as npt

ATOM_SHARE = 0.02
"""A value that holds more than this share of the rows gets its own bin."""


def equal_mass_edges(values: npt.NDArray[np.float64], bins: int) -> tuple[float, ...]:
    """Chooses edges so that bins hold about `1 / bins` of the mass each.

    Args:
        values: finite values [rows]; they are taken in single precision.
        bins: wanted number of bins, >= 1. Atoms can add some, ties can save some.

    Returns:
        Strictly ascending edges, each exactly a float32. The last lies just above the largest
        value. Empty without values.
    """
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    unique, counts = np.unique(single[np.isfinite(single)], return_counts=True)
    if unique.size == 0:
        return ()
    atom = counts > ATOM_SHARE * counts.sum()
    spread = np.where(atom, 0, counts)
    rest = int(spread.sum())
    wanted = max(1, round(bins * rest / counts.sum()))
    # The group of a value is where its mass starts among the mass outside atoms.
    group = ((spread.cumsum() - spread) * wanted) // max(1, rest)
    starts = np.ones(unique.size, dtype=np.bool_)
    starts[1:] = atom[1:] | atom[:-1] | (group[1:] != group[:-1])
    edges = unique.copy()
    # A bin that follows an atom starts right above it, so that the atom stays alone.
    after_atom = np.zeros(unique.size, dtype=np.bool_)
    after_atom[1:] = atom[:-1] & ~atom[1:]
    edges[after_atom] = np.nextafter(
        unique[np.flatnonzero(after_atom) - 1], np.float32(np.inf), dtype=np.float32
    )
    with np.errstate(over="ignore"):
        top = np.nextafter(unique[-1], np.float32(np.inf), dtype=np.float32)
    if not np.isfinite(top):  # the largest float32 itself then counts as above the range
        top = unique[-1]
    chosen = np.unique(np.append(edges[starts], top))
    return tuple(float(edge) for edge in chosen)
