"""A weight rises only after pods are ready for it, whatever an edit of the steps asks for."""

from mooring_operator.api.conditions import Reason
from mooring_operator.core.conditions import Standing, reconciling
from mooring_operator.core.rollout.steps import pods_for, step_at
from mooring_operator.core.rollout.turn import Situation, named, with_candidate


def raised(situation: Situation) -> Situation:
    """The same look, with as much weight as its step has, where pods are ready for that."""
    candidate, weight = situation.candidate, _weight_of(situation, situation.candidate.step)
    reached = candidate.weight_reached
    if weight <= (reached or 0) or short_of_pods(situation, candidate.step) is not None:
        return situation
    return situation.on(with_candidate(situation, weight_reached=weight))


def short_of_pods(situation: Situation, step: int) -> Standing | None:
    """Why the weight of a step must wait; None: pods are ready for it, or it has been given.

    Nobody is to blame: the candidate goes on with what it has, and its clock runs.
    """
    candidate, weight = situation.candidate, _weight_of(situation, step)
    if weight <= (candidate.weight_reached or 0):
        return None
    pods, needed = situation.pods(candidate), pods_for(situation.spec, weight)
    ready = 0 if pods is None else pods.ready
    if ready >= needed:
        return None
    failure = f" ({pods.failure})" if pods is not None and pods.failure else ""
    message = (
        f"{ready} of the {needed} pods that weight {weight}% needs are ready{failure}:"
        f" {named(candidate)} keeps the share that it has until they are"
    )
    return reconciling(Reason.NOT_ENOUGH_PODS, message)


def _weight_of(situation: Situation, step: int) -> int:
    """Percent of the requests that a step gives."""
    return step_at(situation.spec.rollout.steps, step).weight or 0
