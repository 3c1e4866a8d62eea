"""Blocks of the reference's time: from them come design effects and seasonal tolerances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mooring_profile.blocks import MIN_BLOCKS
from mooring_profile.fields import IntArray
from mooring_replay.settings import ReplaySettings, RowOrder
from mooring_replay.tables import Frame, joined, times_of

_SPANS = (("D", "days"), ("h", "hours"), ("min", "minutes"))


@dataclass(frozen=True)
class BlockRule:
    """Which block each row of the reference belongs to.

    Attributes:
        rows_a_block: consecutive rows of a block; None: not by rows.
        ids: int64 [rows], by time; None: not by time. Neither: no order is known.
        span: of time, for people.
    """

    rows_a_block: int | None = None
    ids: IntArray | None = None
    span: str = ""

    def of_rows(self, first: int, rows: int) -> IntArray | None:
        """The block ids of consecutive rows from `first` (from 0) on, int64 [rows]."""
        if self.ids is not None:
            return self.ids[first : first + rows]
        if self.rows_a_block is None:
            return None
        return np.arange(first, first + rows, dtype=np.int64) // self.rows_a_block

    def told(self, rows: int) -> str:
        """What that means for a reference of so many rows."""
        if self.ids is not None:
            count = int(self.ids.max()) + 1
            return f"Design effects and seasons were learnt from {count:,} {self.span}."
        if self.rows_a_block is None:
            return "The order of the reference's rows was taken to mean nothing: independent rows."
        count = -(-rows // self.rows_a_block)
        what = f"{count:,} blocks of {self.rows_a_block:,} consecutive rows of the reference"
        if count < MIN_BLOCKS:
            return f"Nothing is known of seasons: there are only {what}."
        return f"Design effects and seasons were learnt from {what}."


def block_rule(times: Sequence[Frame], settings: ReplaySettings, where: str) -> BlockRule:
    """Chooses blocks: of time where it is known, else of as many rows as a window has.

    Args:
        times: the reference's time column in pieces, or none.
        settings: of the replay.
        where: the reference, for messages.

    Raises:
        ReplayRefused: the time column holds no times.
    """
    if times:
        found = _by_time(times_of(joined(times), where))
        if found is not None:
            return found
    elif settings.order is RowOrder.NONE:
        return BlockRule()
    return BlockRule(rows_a_block=settings.window)


def _by_time(times: Any) -> BlockRule | None:
    """Days, or hours or minutes where there are too few."""
    for span, name in _SPANS:
        ids = np.asarray(times.dt.floor(span).factorize(sort=True)[0], np.int64)
        if int(ids.max()) + 1 >= MIN_BLOCKS:
            return BlockRule(ids=ids, span=name)
    return None
