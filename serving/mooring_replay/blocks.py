"""Blocks of the reference's time: from them come design effects and seasonal tolerances."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mooring_profile.dispersion import MIN_BLOCKS
from mooring_profile.fields import IntArray
from mooring_replay.settings import ReplaySettings, RowOrder
from mooring_replay.tables import Frame, joined, times_of

_SPANS = (("D", "days"), ("h", "hours"), ("min", "minutes"))


@dataclass(frozen=True)
class TimeBlocksFound:
    """The block of each row, [rows] (None: no order is known), and what that means, for people."""

    blocks: IntArray | None
    text: str


def blocks_of(
    rows: int, times: list[Frame], settings: ReplaySettings, where: str
) -> TimeBlocksFound:
    """Chooses blocks: of time where it is known, else of as many rows as a window has.

    Args:
        rows: of the reference.
        times: its time column in pieces, or none.
        settings: of the replay.
        where: the reference, for messages.

    Raises:
        ReplayRefused: the time column holds no times.
    """
    if times:
        return _by_time(times_of(joined(times), where), settings.window)
    if settings.order is RowOrder.NONE:
        return TimeBlocksFound(
            None, "The order of the reference's rows was taken to mean nothing: independent rows."
        )
    return _by_rows(rows, settings.window)


def _by_time(times: Any, window: int) -> TimeBlocksFound:
    for span, name in _SPANS:
        blocks = np.asarray(times.dt.floor(span).factorize(sort=True)[0], np.int64)
        count = int(blocks.max()) + 1
        if count >= MIN_BLOCKS:
            return TimeBlocksFound(
                blocks, f"Design effects and seasons were learnt from {count:,} {name}."
            )
    return _by_rows(len(times), window)


def _by_rows(rows: int, window: int) -> TimeBlocksFound:
    blocks = np.arange(rows, dtype=np.int64) // window
    count = int(blocks[-1]) + 1
    if count < MIN_BLOCKS:
        return TimeBlocksFound(
            blocks,
            f"The reference has only {count} blocks of {window:,} rows: nothing is known of "
            "seasons.",
        )
    return TimeBlocksFound(
        blocks,
        f"Design effects and seasons were learnt from {count:,} blocks of {window:,} consecutive "
        "rows of the reference.",
    )
