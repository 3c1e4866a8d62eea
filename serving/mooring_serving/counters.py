"""What the pod counts, and the snapshot of it that the operator takes.

All counts are cumulative since the pod's boot. One lock guards them: the event loop counts, the
management thread and Prometheus read. Worker processes would each own one of these and add them.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mooring_serving.arms import Arm, Outcome, ShadowOutcome
from mooring_serving.refusals import Refusal, reason_of

LATENCY_BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
"""Upper bounds in milliseconds; the eleventh bucket has no bound."""

_Value = TypeVar("_Value")


@dataclass(slots=True)
class LatencyHistogram:
    """Latencies in fixed buckets, in milliseconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_MS) + 1))
    sum_ms: float = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one latency."""
        self.counts[bisect_left(LATENCY_BOUNDS_MS, milliseconds)] += 1
        self.sum_ms += milliseconds

    def to_json(self) -> dict[str, object]:
        """Bounds and counts."""
        return {"bounds": list(LATENCY_BOUNDS_MS), "counts": list(self.counts)}


@dataclass(slots=True)
class ArmCounters:
    """Counts of one arm in one phase; which of them mean something depends on the arm."""

    requests: int = 0
    rows: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    fell_back: int = 0
    late: int = 0
    dropped: int = 0
    disagreements: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    def to_json(self, arm: Arm) -> dict[str, object]:
        """The arm's part of a snapshot."""
        document: dict[str, object] = {
            "requests": self.requests,
            "rows": self.rows,
            "errors": self.errors,
            "invalidOutputs": self.invalid_outputs,
            "latencyMs": self.latency.to_json(),
        }
        if arm is Arm.CANDIDATE:
            document |= {"fellBack": self.fell_back, "late": self.late}
        if arm is Arm.SHADOW:
            document |= {"dropped": self.dropped, "disagreements": self.disagreements}
        return document


@dataclass(slots=True)
class LossSums:
    """Sums of losses in [0, 1] over labelled rows."""

    n: int = 0
    loss: float = 0.0
    squared: float = 0.0

    def add(self, losses: "list[float]") -> None:
        """Add the losses of one receipt's rows."""
        self.n += len(losses)
        self.loss += sum(losses)
        self.squared += sum(loss * loss for loss in losses)

    def to_json(self) -> dict[str, object]:
        """The sums under their wire names."""
        return {"n": self.n, "lossSum": self.loss, "lossSquaredSum": self.squared}


@dataclass(slots=True)
class Totals:
    """Counts of the whole pod, as a snapshot and the metrics read them."""

    requests: int = 0
    rows: int = 0
    errors: int = 0
    labels_rejected: int = 0
    labels_duplicate: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    refusals: Counter[int] = field(default_factory=Counter[int])
    refused: Counter[Refusal] = field(default_factory=Counter[Refusal])
    faults: Counter[str] = field(default_factory=Counter[str])
    forwards: Counter[Outcome] = field(default_factory=Counter[Outcome])
    shadows: Counter[ShadowOutcome] = field(default_factory=Counter[ShadowOutcome])
    labelled: LossSums = field(default_factory=LossSums)


def _new_arms() -> dict[Arm, ArmCounters]:
    return {arm: ArmCounters() for arm in Arm}


def _new_losses() -> dict[Arm, LossSums]:
    return {Arm.STABLE: LossSums(), Arm.CANDIDATE: LossSums()}


class Counters:
    """The pod's counters. Every method may be called from any thread.

    Args:
        phase_limit: Phases kept; the oldest is dropped.
    """

    def __init__(self, phase_limit: int) -> None:
        self._limit = phase_limit
        self._lock = threading.Lock()
        self._totals = Totals()
        self._phases: dict[str, dict[Arm, ArmCounters]] = {}
        self._labels: dict[str, dict[Arm, LossSums]] = {}

    def count_answer(self, *, rows: int, milliseconds: float, phase: str | None) -> None:
        """A live request answered by our own model.

        Args:
            rows: Its rows.
            milliseconds: Time inside this server.
            phase: The phase when this pod owns the outcome for the stable arm, else None.
        """
        with self._lock:
            totals = self._totals
            totals.requests += 1
            totals.rows += rows
            totals.latency.add(milliseconds)
            if phase is not None:
                arm = self._arm(phase, Arm.STABLE)
                arm.requests += 1
                arm.rows += rows
                arm.latency.add(milliseconds)

    def count_fault(self, *, kind: str, invalid: bool, phase: str | None) -> None:
        """A live request on which our own model failed."""
        with self._lock:
            self._totals.errors += 1
            self._totals.faults[kind] += 1
            if phase is not None:
                arm = self._arm(phase, Arm.STABLE)
                arm.requests += 1
                arm.errors += 1
                arm.invalid_outputs += invalid

    def count_refusal(self, status: int, reason: Refusal | None = None) -> None:
        """A request that was answered with a 4xx or 503, and why (None: the status' usual one)."""
        with self._lock:
            self._totals.refusals[status] += 1
            self._totals.refused[reason or reason_of(status)] += 1

    def count_forward(
        self, outcome: Outcome, *, rows: int, milliseconds: float | None, phase: str | None
    ) -> None:
        """A forward and how it ended; one that was not tried is counted in the metrics only.

        Args:
            outcome: How it ended.
            rows: Rows of the request.
            milliseconds: Time inside the server that answered, None without a usable answer.
            phase: The phase, None when nothing is analysed (a retired pod).
        """
        with self._lock:
            self._totals.forwards[outcome] += 1
            untried = outcome in (Outcome.SHORT_CIRCUITED, Outcome.MISROUTED)
            if phase is None or untried:
                return
            arm = self._arm(phase, Arm.CANDIDATE)
            arm.requests += 1
            arm.rows += rows
            if milliseconds is not None:
                arm.latency.add(milliseconds)
            if outcome is not Outcome.ANSWERED:
                arm.errors += 1
                arm.fell_back += 1
                arm.late += outcome is Outcome.LATE
                arm.invalid_outputs += outcome is Outcome.INVALID

    def count_shadow(
        self,
        outcome: Outcome,
        *,
        rows: int,
        milliseconds: float | None,
        disagreements: int,
        phase: str,
    ) -> None:
        """A mirrored request, how it ended, and in how many rows the answers differ."""
        with self._lock:
            answered = outcome is Outcome.ANSWERED
            agreed = ShadowOutcome.DISAGREED if disagreements else ShadowOutcome.AGREED
            self._totals.shadows[agreed if answered else ShadowOutcome.FAILED] += 1
            if outcome in (Outcome.SHORT_CIRCUITED, Outcome.MISROUTED):
                return
            arm = self._arm(phase, Arm.SHADOW)
            arm.requests += 1
            arm.rows += rows
            arm.errors += not answered
            arm.invalid_outputs += outcome is Outcome.INVALID
            arm.disagreements += disagreements
            if milliseconds is not None:
                arm.latency.add(milliseconds)

    def count_shadow_drop(self, phase: str) -> None:
        """A request that was not mirrored since the queue was full."""
        with self._lock:
            self._totals.shadows[ShadowOutcome.DROPPED] += 1
            self._arm(phase, Arm.SHADOW).dropped += 1

    def count_label(self, losses: list[float], *, phase: str | None, arm: Arm) -> None:
        """The losses of one receipt's rows; empty when the receipt carries no predictions."""
        with self._lock:
            self._totals.labelled.add(losses)
            if phase is None or arm is Arm.SHADOW:
                return
            if phase not in self._labels:
                _make_room(self._labels, self._limit)
                self._labels[phase] = _new_losses()
            self._labels[phase][arm].add(losses)

    def count_label_rejected(self) -> None:
        """A label that could not be used."""
        with self._lock:
            self._totals.labels_rejected += 1

    def count_label_duplicate(self) -> None:
        """A second label of a receipt."""
        with self._lock:
            self._totals.labels_duplicate += 1

    def read(self, view: Callable[[Totals], _Value]) -> _Value:
        """What `view` makes of the totals, consistently; `view` must be quick and keep nothing."""
        with self._lock:
            return view(self._totals)

    def to_json(self) -> dict[str, object]:
        """The counters' part of a snapshot."""
        with self._lock:
            totals = self._totals
            return {
                "requests": totals.requests,
                "rows": totals.rows,
                "errors": totals.errors,
                "phases": {
                    phase: {arm.value: counts.to_json(arm) for arm, counts in arms.items()}
                    for phase, arms in self._phases.items()
                },
                "labels": {
                    phase: {arm.value: sums.to_json() for arm, sums in arms.items()}
                    for phase, arms in self._labels.items()
                },
                "labelled": totals.labelled.to_json(),
                "labelsRejected": totals.labels_rejected,
                "labelsDuplicate": totals.labels_duplicate,
            }

    def _arm(self, phase: str, arm: Arm) -> ArmCounters:
        arms = self._phases.get(phase)
        if arms is None:
            _make_room(self._phases, self._limit)
            arms = self._phases[phase] = _new_arms()
        return arms[arm]


def _make_room(entries: dict[str, _Value], limit: int) -> None:
    """Drop the oldest entries until one more fits."""
    while len(entries) >= limit:
        del entries[next(iter(entries))]


def cumulate(counts: list[int]) -> list[int]:
    """Running sums of bucket counts, as Prometheus histograms have them."""
    total = 0
    sums: list[int] = []
    for count in counts:
        total += count
        sums.append(total)
    return sums
