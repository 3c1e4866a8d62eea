"""Counts of a binary decision against the truth, exact or expected, and what follows from them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Confusion:
    """Rows by decision and truth; whole numbers when labelled, fractions when expected.

    Attributes:
        tp: predicted positive, labelled positive.
        fp: predicted positive, labelled negative.
        fn: predicted negative, labelled positive.
        tn: predicted negative, labelled negative.
    """

    tp: float
    fp: float
    fn: float
    tn: float

    @property
    def rows(self) -> float:
        """All of them."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> float | None:
        """Share of right decisions; None without rows, as are all ratios without their base."""
        return _ratio(self.tp + self.tn, self.rows)

    @property
    def selection_rate(self) -> float | None:
        """Share of rows predicted positive."""
        return _ratio(self.tp + self.fp, self.rows)

    @property
    def precision(self) -> float | None:
        """Share of positive labels among rows predicted positive."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of positive labels that were predicted (true positive rate)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def false_positive_rate(self) -> float | None:
        """Share of negative labels that were predicted positive."""
        return _ratio(self.fp, self.fp + self.tn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def merge(self, other: "Confusion") -> "Confusion":
        """Adds the counts of other rows."""
        return Confusion(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
