"""The weight schedule: phases, shares of traffic, pods, and the route of each revision's pods."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil

from mooring_operator.api.base import parse_duration
from mooring_operator.api.deployment import ModelDeploymentSpec, RolloutStep, TrafficMode
from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    ModelDeploymentStatus,
)
from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.ids import Revision

SERVER_DEADLINE = timedelta(seconds=10)
"""A request's deadline where `spec.runtime` has none: the server's own default."""
LONGEST_DEADLINE = timedelta(minutes=10)
GATEWAY_SETTLES = timedelta(seconds=5)
"""How long after its controller accepted a route a Gateway may still divide as before: controllers
gather changes for a second or two before their proxies take them."""
_FULL = (CandidateStage.INITIALIZING, CandidateStage.PROMOTING, CandidateStage.REVERTING)
"""Stages that the stable role comes after."""
_WITH_SHARE = (CandidateStage.ANALYSING, CandidateStage.PROMOTING, CandidateStage.PROBING)


def step_at(steps: Sequence[RolloutStep], index: int) -> RolloutStep:
    """The step of this index; the last one where an edit left fewer."""
    return steps[min(index, len(steps) - 1)]


def current_step(steps: Sequence[RolloutStep], candidate: CandidateStatus) -> RolloutStep:
    """The candidate's step."""
    return step_at(steps, candidate.step)


def is_last_step(steps: Sequence[RolloutStep], candidate: CandidateStatus) -> bool:
    """Whether promotion follows the candidate's step."""
    return candidate.step >= len(steps) - 1


def share_step(steps: Sequence[RolloutStep], candidate: CandidateStatus) -> int | None:
    """Index of the step whose share the candidate has now; None: it has none.

    Its own, or while its weight is withheld the last shadow before it: there no client sees its
    answers.
    """
    last = min(candidate.step, len(steps) - 1)
    if not candidate.withheld:
        return last
    return next((i for i in range(last, -1, -1) if steps[i].shadow is not None), None)


def phase_key(
    steps: Sequence[RolloutStep], candidate: CandidateStatus, step: int | None = None
) -> str:
    """The name that pods count a step's requests by.

    It holds the rollout's number, so that a revision that is tried again starts from nothing
    while the pods still hold the counts of its first try. It holds the share as well, so that a
    step that was edited is counted anew: arms whose shares changed are not comparable. Pods take
    nothing but digits after the slash: 11010 is step 1 with weight 10, 00005 step 0 with shadow 5.
    """
    index = candidate.step if step is None else step
    rollout = f"{candidate.revision}.{candidate.seq}"
    if candidate.probe is not None:
        return f"{rollout}/{index}"
    chosen = step_at(steps, index)
    if chosen.shadow is not None:
        return f"{rollout}/{index}0{chosen.shadow:03}"
    return f"{rollout}/{index}1{given_weight(chosen, candidate):03}"


def given_weight(step: RolloutStep, candidate: CandidateStatus) -> int:
    """Percent of the requests that a step gives: no more than pods were ready for."""
    weight, reached = step.weight or 0, candidate.weight_reached
    return weight if reached is None else min(weight, reached)


def describe(step: RolloutStep) -> str:
    """A step for people."""
    return f"shadow {step.shadow}%" if step.shadow is not None else f"weight {step.weight}%"


def takes_traffic(candidate: CandidateStatus) -> bool:
    """Whether the candidate gets the share of its step.

    A return to the former stable revision was never analysed and gets none before the swap.
    """
    return candidate.stage in _WITH_SHARE and candidate.analysis_started_at is not None


def shares(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> tuple[int, int]:
    """Weight and shadow percent that the stable pods must give to the candidate now."""
    candidate = status.candidate
    if candidate is None or not takes_traffic(candidate):
        return 0, 0
    if candidate.probe is not None:
        return candidate.probe.weight, candidate.probe.shadow
    index = share_step(spec.rollout.steps, candidate)
    if index is None:
        return 0, 0
    step = spec.rollout.steps[index]
    return given_weight(step, candidate), step.shadow or 0


def gateway_weight(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> int:
    """Percent of the requests that a Gateway must give to the candidate's Service.

    A probe is no rollout: stable pods mirror to it.
    """
    candidate = status.candidate
    if spec.traffic.mode is not TrafficMode.GATEWAY or candidate is None:
        return 0
    return 0 if candidate.probe is not None else shares(status, spec)[0]


def gateway_settles_at(candidate: CandidateStatus, weight: int) -> datetime | None:
    """From when on the Gateway gives the candidate this weight; None: that is not known."""
    routed = candidate.routed
    return None if routed is None or routed.weight != weight else routed.at + GATEWAY_SETTLES


def candidate_replicas(spec: ModelDeploymentSpec, candidate: CandidateStatus) -> int:
    """Pods that the candidate needs in its stage.

    Full when it takes or is about to take the stable role, and in mode BlueGreen from the start;
    before that enough for the largest weight of all steps, so that no step waits for pods, and for
    the largest that it was given, so that an edit takes no pods from under traffic.
    """
    if spec.traffic.mode is TrafficMode.BLUE_GREEN or candidate.stage in _FULL:
        return spec.replicas
    if candidate.warm_until is not None:
        # A probe must not cost the way back that needs no pod start.
        return spec.replicas
    heaviest = max((step.weight or 0 for step in spec.rollout.steps), default=0)
    heaviest = max(heaviest, candidate.weight_reached or 0)
    if candidate.probe is not None:
        heaviest = max(heaviest, candidate.probe.weight)
    return pods_for(spec, heaviest)


def pods_for(spec: ModelDeploymentSpec, weight: int) -> int:
    """Pods that are enough for this percent of the requests; one at least."""
    return max(1, ceil(spec.replicas * weight / 100))


def routes(
    status: ModelDeploymentStatus, spec: ModelDeploymentSpec, now: datetime
) -> dict[Revision, Route]:
    """What the pods of every live revision are told.

    Where a Gateway divides, both sides count what they answer from the moment that it is known to.
    """
    out: dict[Revision, Route] = {}
    candidate, stable = status.candidate, status.stable
    if status.kept is not None:
        out[Revision(status.kept.revision)] = _retired(status, spec)
    if status.retired is not None:
        out[Revision(status.retired.revision)] = _retired(status, spec)
    divided = _divided_phase(status, spec, now)
    if candidate is not None:
        out[Revision(candidate.revision)] = _of_candidate(candidate, status, spec, divided)
    if stable is not None and gateway_weight(status, spec):
        out[Revision(stable.revision)] = Route(RouteRole.STABLE, phase=divided)
    elif stable is not None:
        weight, shadow = shares(status, spec)
        analysed = candidate if weight or shadow else None
        header = spec.traffic.sticky_header
        out[Revision(stable.revision)] = Route(
            RouteRole.STABLE,
            phase=None if analysed is None else _phase(analysed, spec),
            candidate_revision=None if analysed is None else Revision(analysed.revision),
            weight_percent=weight,
            shadow_percent=shadow,
            deadline_ms=candidate_deadline_ms(spec),
            sticky_header=header.lower() if header is not None and weight else None,
        )
    return out


def _divided_phase(
    status: ModelDeploymentStatus, spec: ModelDeploymentSpec, now: datetime
) -> str | None:
    """Where requests count that a Gateway divides; None: it does not, or not yet as it should."""
    candidate, weight = status.candidate, gateway_weight(status, spec)
    if candidate is None or not weight:
        return None
    since = gateway_settles_at(candidate, weight)
    return phase_key(spec.rollout.steps, candidate) if since is not None and now >= since else None


def _phase(candidate: CandidateStatus, spec: ModelDeploymentSpec) -> str:
    """Where the requests of now count: a withheld candidate's count for its shadow's step."""
    steps = spec.rollout.steps
    step = share_step(steps, candidate) if candidate.withheld else None
    return phase_key(steps, candidate, step)


def _of_candidate(
    candidate: CandidateStatus,
    status: ModelDeploymentStatus,
    spec: ModelDeploymentSpec,
    divided: str | None,
) -> Route:
    match candidate.stage:
        case CandidateStage.INITIALIZING:
            return Route(RouteRole.STABLE)
        case CandidateStage.ROLLING_BACK:
            # It answers nothing from the verdict on, also where a stable pod does not know yet.
            return _retired(status, spec)
        case _:
            return Route(RouteRole.CANDIDATE, phase=divided)


def _retired(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> Route:
    stable = status.stable
    return Route(
        RouteRole.RETIRED,
        deadline_ms=retired_deadline_ms(spec),
        stable_revision=None if stable is None else Revision(stable.revision),
    )


def candidate_deadline_ms(spec: ModelDeploymentSpec) -> int:
    """How long stable pods wait for the candidate before they answer themselves.

    A tenth of the request's deadline, 1 s at least, and never more than half of it.
    """
    deadline = _deadline(spec)
    return max(1, min(deadline // 2, max(1000, deadline // 10)))


def retired_deadline_ms(spec: ModelDeploymentSpec) -> int:
    """How long retired pods wait for stable: half of the request's deadline.

    They should answer nothing themselves, and a slow model must have its time.
    """
    return max(1, _deadline(spec) // 2)


def _deadline(spec: ModelDeploymentSpec) -> int:
    asked = spec.runtime.deadline
    length = SERVER_DEADLINE if asked is None else parse_duration(asked)
    return int(min(length, LONGEST_DEADLINE) / timedelta(milliseconds=1))
