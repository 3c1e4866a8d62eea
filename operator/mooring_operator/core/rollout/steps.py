"""The weight schedule: phases, shares of traffic, pods, and the route of each revision's pods."""

from collections.abc import Sequence
from math import ceil

from mooring_operator.api.deployment import ModelDeploymentSpec, RolloutStep
from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    ModelDeploymentStatus,
)
from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.ids import Revision


def current_step(steps: Sequence[RolloutStep], candidate: CandidateStatus) -> RolloutStep:
    """The candidate's step; the last one where an edit left fewer steps than it had passed."""
    return steps[min(candidate.step, len(steps) - 1)]


def is_last_step(steps: Sequence[RolloutStep], candidate: CandidateStatus) -> bool:
    """Whether promotion follows the candidate's step."""
    return candidate.step >= len(steps) - 1


def phase_key(candidate: CandidateStatus, step: int | None = None) -> str:
    """The name that pods count a step's requests by.

    It holds the rollout's number, so that a revision that is tried again starts from nothing
    while the pods still hold the counts of its first try.
    """
    index = candidate.step if step is None else step
    return f"{candidate.revision}.{candidate.seq}/{index}"


def describe(step: RolloutStep) -> str:
    """A step for people."""
    return f"shadow {step.shadow}%" if step.shadow is not None else f"weight {step.weight}%"


def takes_traffic(candidate: CandidateStatus) -> bool:
    """Whether the candidate gets the share of its step.

    A return to the former stable revision was never analysed and gets none before the swap.
    """
    return (
        candidate.stage in (CandidateStage.ANALYSING, CandidateStage.PROMOTING)
        and candidate.analysis_started_at is not None
    )


def shares(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> tuple[int, int]:
    """Weight and shadow percent that the stable pods must give to the candidate now."""
    candidate = status.candidate
    if candidate is None or not takes_traffic(candidate):
        return 0, 0
    step = current_step(spec.rollout.steps, candidate)
    return step.weight or 0, step.shadow or 0


def candidate_replicas(spec: ModelDeploymentSpec, candidate: CandidateStatus) -> int:
    """Pods that the candidate needs in its stage.

    Full when it takes or is about to take the stable role; before that enough for the largest
    weight of all steps, so that no step waits for pods.
    """
    if candidate.stage in (CandidateStage.INITIALIZING, CandidateStage.PROMOTING):
        return spec.replicas
    heaviest = max((step.weight or 0 for step in spec.rollout.steps), default=0)
    return max(1, ceil(spec.replicas * heaviest / 100))


def routes(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> dict[Revision, Route]:
    """What the pods of every live revision are told."""
    out: dict[Revision, Route] = {}
    candidate = status.candidate
    if status.retired is not None:
        out[Revision(status.retired.revision)] = Route(RouteRole.RETIRED)
    if candidate is not None:
        initial = candidate.stage is CandidateStage.INITIALIZING
        role = RouteRole.STABLE if initial else RouteRole.CANDIDATE
        out[Revision(candidate.revision)] = Route(role)
    if status.stable is not None:
        weight, shadow = shares(status, spec)
        analysed = candidate if weight or shadow else None
        out[Revision(status.stable.revision)] = Route(
            RouteRole.STABLE,
            phase=None if analysed is None else phase_key(analysed),
            candidate_revision=None if analysed is None else Revision(analysed.revision),
            weight_percent=weight,
            shadow_percent=shadow,
        )
    return out
