"""Counters of many pods as one observation. Pure sums: no order, no replica count shows in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mooring_operator.core.observation import ArmCounts, LossCounts, PhaseCounts
from mooring_operator.reconcile.snapshots import Arm, Losses, PhaseArms, Snapshot

_NOTHING = PhaseCounts()
_MOST_PHASES = 64

Histogram = tuple[tuple[float, ...], tuple[int, ...]]
"""Bounds between bins, and one count more; no counts: nothing was binned."""


@dataclass(frozen=True)
class Totals:
    """Counters summed over sources (pods since their boot).

    Attributes:
        phases: by phase key.
        labelled: labelled predictions, by the revision of the pod that was told the label.
        rows: answered rows by revision.
        sketched: rows in sketches by revision.
        dropped: rows that were answered and will never be in a sketch, by revision.
        retired: requests that retired pods answered themselves, by revision.
    """

    phases: Mapping[str, PhaseCounts] = field(default_factory=dict[str, PhaseCounts])
    labelled: Mapping[str, LossCounts] = field(default_factory=dict[str, LossCounts])
    rows: Mapping[str, int] = field(default_factory=dict[str, int])
    sketched: Mapping[str, int] = field(default_factory=dict[str, int])
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    retired: Mapping[str, int] = field(default_factory=dict[str, int])

    def plus(self, snapshots: Iterable[Snapshot]) -> "Totals":
        """These totals and the snapshots' counters."""
        phases, labelled = dict(self.phases), dict(self.labelled)
        rows, sketched = dict(self.rows), dict(self.sketched)
        dropped, retired = dict(self.dropped), dict(self.retired)
        for snapshot in snapshots:
            for name in sorted(snapshot.phases.keys() | snapshot.labels.keys()):
                phases[name] = _add(phases.get(name, _NOTHING), _phase(snapshot, name))
            revision = snapshot.revision
            before = labelled.get(revision, LossCounts())
            labelled[revision] = _add_losses(before, _losses(snapshot.labelled))
            rows[revision] = rows.get(revision, 0) + snapshot.rows
            sketched[revision] = sketched.get(revision, 0) + snapshot.sketched_rows
            dropped[revision] = dropped.get(revision, 0) + snapshot.dropped_rows
            retired[revision] = retired.get(revision, 0) + snapshot.retired_answers
        # Phases are added in the order in which they began; the newest are the ones still judged.
        kept = dict(list(phases.items())[-_MOST_PHASES:])
        return Totals(kept, labelled, rows, sketched, dropped, retired)

    def coverage(self, revision: str) -> float | None:
        """Rows in sketches / answered rows of a revision; None before the first row."""
        rows = self.rows.get(revision, 0)
        return None if rows == 0 else min(1.0, self.sketched.get(revision, 0) / rows)


def _phase(snapshot: Snapshot, name: str) -> PhaseCounts:
    arms = snapshot.phases.get(name, PhaseArms())
    labels = snapshot.labels.get(name)
    return PhaseCounts(
        stable=_arm(arms.stable, snapshot.answer_edges),
        candidate=_arm(arms.candidate, snapshot.answer_edges),
        shadow=_arm(arms.shadow, snapshot.answer_edges),
        stable_loss=LossCounts() if labels is None else _losses(labels.stable),
        candidate_loss=LossCounts() if labels is None else _losses(labels.candidate),
    )


def _arm(arm: Arm, edges: tuple[float, ...]) -> ArmCounts:
    fits = len(arm.latency_ms.counts) == len(arm.latency_ms.bounds) + 1
    binned = bool(edges) and len(arm.answers) > len(edges)
    return ArmCounts(
        requests=arm.requests,
        rows=arm.rows,
        errors=arm.errors,
        invalid_outputs=arm.invalid_outputs,
        latency_bounds=tuple(arm.latency_ms.bounds) if fits else (),
        latency_counts=tuple(arm.latency_ms.counts) if fits else (),
        disagreements=arm.disagreements,
        answer_edges=edges if binned else (),
        answer_counts=arm.answers[: len(edges) + 1] if binned else (),
    )


def _losses(losses: Losses) -> LossCounts:
    return LossCounts(losses.n, losses.loss_sum, losses.loss_squared_sum)


def _add(one: PhaseCounts, other: PhaseCounts) -> PhaseCounts:
    return PhaseCounts(
        stable=_add_arms(one.stable, other.stable),
        candidate=_add_arms(one.candidate, other.candidate),
        shadow=_add_arms(one.shadow, other.shadow),
        stable_loss=_add_losses(one.stable_loss, other.stable_loss),
        candidate_loss=_add_losses(one.candidate_loss, other.candidate_loss),
    )


def _add_arms(one: ArmCounts, other: ArmCounts) -> ArmCounts:
    bounds, latency = _add_bins(
        (one.latency_bounds, one.latency_counts), (other.latency_bounds, other.latency_counts)
    )
    edges, answers = _add_bins(
        (one.answer_edges, one.answer_counts), (other.answer_edges, other.answer_counts)
    )
    return ArmCounts(
        requests=one.requests + other.requests,
        rows=one.rows + other.rows,
        errors=one.errors + other.errors,
        invalid_outputs=one.invalid_outputs + other.invalid_outputs,
        latency_bounds=bounds,
        latency_counts=latency,
        disagreements=one.disagreements + other.disagreements,
        answer_edges=edges,
        answer_counts=answers,
    )


def _add_bins(one: Histogram, other: Histogram) -> Histogram:
    """Both together. Pods of another release bin otherwise: theirs cannot be added."""
    (bounds, counts), (other_bounds, other_counts) = one, other
    if not counts or not other_counts:
        return one if counts else other
    if bounds != other_bounds:
        return one
    return bounds, tuple(a + b for a, b in zip(counts, other_counts, strict=True))


def _add_losses(one: LossCounts, other: LossCounts) -> LossCounts:
    return LossCounts(
        one.n + other.n,
        one.loss_sum + other.loss_sum,
        one.loss_squared_sum + other.loss_squared_sum,
    )
