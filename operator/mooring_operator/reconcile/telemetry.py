"""Counters of many pods as one observation. Pure sums: no order, no replica count shows in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mooring_operator.core.observation import ArmCounts, LossCounts, PhaseCounts
from mooring_operator.reconcile.snapshots import Arm, Losses, PhaseArms, Snapshot

_NOTHING = PhaseCounts()
_MOST_PHASES = 64


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
        stable=_arm(arms.stable),
        candidate=_arm(arms.candidate),
        shadow=_arm(arms.shadow),
        stable_loss=LossCounts() if labels is None else _losses(labels.stable),
        candidate_loss=LossCounts() if labels is None else _losses(labels.candidate),
    )


def _arm(arm: Arm) -> ArmCounts:
    fits = len(arm.latency_ms.counts) == len(arm.latency_ms.bounds) + 1
    return ArmCounts(
        requests=arm.requests,
        rows=arm.rows,
        errors=arm.errors,
        invalid_outputs=arm.invalid_outputs,
        latency_bounds=tuple(arm.latency_ms.bounds) if fits else (),
        latency_counts=tuple(arm.latency_ms.counts) if fits else (),
        disagreements=arm.disagreements,
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
    sums = ArmCounts(
        requests=one.requests + other.requests,
        rows=one.rows + other.rows,
        errors=one.errors + other.errors,
        invalid_outputs=one.invalid_outputs + other.invalid_outputs,
        disagreements=one.disagreements + other.disagreements,
    )
    if not one.latency_counts or not other.latency_counts:
        known = one if one.latency_counts else other
        return replace(
            sums, latency_bounds=known.latency_bounds, latency_counts=known.latency_counts
        )
    if one.latency_bounds != other.latency_bounds:
        # Pods of another release bin differently: theirs cannot be added, so ours stand alone.
        return replace(sums, latency_bounds=one.latency_bounds, latency_counts=one.latency_counts)
    pairs = zip(one.latency_counts, other.latency_counts, strict=True)
    return replace(
        sums, latency_bounds=one.latency_bounds, latency_counts=tuple(a + b for a, b in pairs)
    )


def _add_losses(one: LossCounts, other: LossCounts) -> LossCounts:
    return LossCounts(
        one.n + other.n,
        one.loss_sum + other.loss_sum,
        one.loss_squared_sum + other.loss_squared_sum,
    )
