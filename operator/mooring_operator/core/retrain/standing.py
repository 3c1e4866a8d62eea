"""Where a RetrainPolicy stands: its conditions, its phase, and why a due run does not start."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import ConditionStatus, ConditionType, Reason
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import Annotation
from mooring_operator.api.retrain import RetrainPolicy, RunResult, Verdict
from mooring_operator.core.conditions import Fact, Standing, condition_of, ready, stalled
from mooring_operator.core.observation import RetrainObservation
from mooring_operator.core.registry.records import rfc3339
from mooring_operator.core.retrain.answers import describe
from mooring_operator.core.retrain.settings import spec_problem
from mooring_operator.core.retrain.triggers import Watch, drift_token
from mooring_profile.document import Signal

FAILURES = {Verdict.REFUSED: Reason.RUN_REFUSED, Verdict.FAILED: Reason.RUN_FAILED}
"""Ends that a person should look at, with their reasons."""


BROKEN = frozenset({Signal.MISSING.value, Signal.INVALID.value})
"""Data-quality signals of input that teaches a model nothing."""


@dataclass(frozen=True)
class Quiet:
    """What a policy without a run stands on."""

    seen: Watch
    result: RunResult | None
    """Of the last run."""
    cooldown_until: datetime | None
    """None: over, or never begun."""
    held: str = ""
    """Why what is due does not start; empty: nothing is due, or nothing holds it."""


def blocker(observation: RetrainObservation) -> Standing | None:
    """What must be mended before any run can start, with the remedy; None: nothing."""
    policy, deployment = observation.resource, observation.deployment
    problem = spec_problem(policy.spec)
    if problem is not None:
        return stalled(Reason.INVALID_SPEC, problem)
    name, namespace = policy.spec.deployment.name, policy.metadata.namespace
    if deployment is None:
        return stalled(
            Reason.DEPLOYMENT_NOT_FOUND,
            f"ModelDeployment {name} does not exist in namespace {namespace}: apply it there, or"
            " correct spec.deployment.name",
        )
    if deployment.spec.prediction_log is None:
        return stalled(
            Reason.NO_PREDICTION_LOG,
            f"ModelDeployment {name} writes no prediction log to train from: set its"
            " spec.predictionLog.uri",
        )
    return None


def unsettled(deployment: ModelDeployment) -> str:
    """Why no champion stands to be beaten; empty: one does."""
    name, status = deployment.metadata.name, deployment.status
    if status.stable is None:
        return f"ModelDeployment {name} has no stable revision yet"
    if status.candidate is not None:
        return f"a rollout of ModelDeployment {name} is in progress ({status.candidate.version})"
    return ""


def broken_input(deployment: ModelDeployment) -> str:
    """Why nothing can be learned from what comes in now; empty: something can.

    Missing and invalid values speak of a broken source. Values out of the reference's range and
    categories that it does not know fail DataQuality too, but a new season brings them: a model
    that learned them is the answer, so they hold nothing up.
    """
    status = deployment.status
    quality = condition_of(status.conditions, ConditionType.DATA_QUALITY)
    if quality is None or quality.status is not ConditionStatus.FALSE:
        return ""
    signals = status.drift.data_quality if status.drift is not None else []
    if signals and not any(signal.kind in BROKEN for signal in signals):
        return ""
    return (
        f"DataQuality of ModelDeployment {deployment.metadata.name} is False ({quality.message}):"
        f" mend its input, or train all the same by a manual trigger ({Annotation.RETRAIN})"
    )


def cooldown_end(policy: RetrainPolicy, result: RunResult | None, now: datetime) -> datetime | None:
    """When the next run may start, if that is still to come."""
    if result is None:
        return None
    end = result.ended_at + parse_duration(policy.spec.cooldown)
    return end if end > now else None


def quiet_standing(observation: RetrainObservation, quiet: Quiet) -> Standing:
    """Where a policy without a run stands."""
    policy = observation.resource
    block = blocker(observation)
    if block is not None:
        return block
    notes = _notes(observation, quiet)
    if policy.spec.suspend:
        return ready(Reason.SUSPENDED, "; ".join(["suspended: no run starts", *notes]))
    result = quiet.result
    if (
        result is not None
        and result.verdict in FAILURES
        and result.generation == policy.metadata.generation
    ):
        again = "; ".join([*notes, "the next trigger starts another run"])
        return stalled(FAILURES[result.verdict], f"{describe(result)}; {again}")
    if quiet.cooldown_until is not None:
        until = f"no run starts before {rfc3339(quiet.cooldown_until)}"
        return ready(Reason.COOLING_DOWN, "; ".join([until, *notes, *_last(result)]))
    waiting = f"waiting for {' or '.join(trigger.name for trigger in policy.spec.triggers)}"
    return ready(Reason.WATCHING, "; ".join([*(notes or [waiting]), *_last(result)]))


def running_fact(standing: Standing) -> Fact:
    """The Running condition."""
    if standing.reason is Reason.TRAINING:
        return Fact(ConditionType.RUNNING, ConditionStatus.TRUE, Reason.TRAINING, standing.message)
    return Fact(ConditionType.RUNNING, ConditionStatus.FALSE, Reason.IDLE, "no run is under way")


def phase_of(standing: Standing) -> str:
    """One word for the printer column."""
    if standing.type is ConditionType.STALLED:
        return ConditionType.STALLED.value
    return standing.reason.value


def named(triggers: Sequence[str]) -> str:
    """Triggers in a sentence."""
    noun = "trigger" if len(triggers) == 1 else "triggers"
    return f"{noun} {' and '.join(triggers)}"


def _notes(observation: RetrainObservation, quiet: Quiet) -> list[str]:
    due = [one.trigger for one in quiet.seen.due]
    if due:
        verb = "is" if len(due) == 1 else "are"
        held = f", but {quiet.held}" if quiet.held else ""
        return [f"{named(due)} {verb} due{held}"]
    return _answered_alarm(observation, quiet)


def _answered_alarm(observation: RetrainObservation, quiet: Quiet) -> list[str]:
    """Says that a lasting drift alarm had its run, where people may wait for another."""
    deployment = observation.deployment
    token = None if deployment is None else drift_token(deployment)
    watching = {one.name for one in observation.resource.spec.triggers if one.drift is not None}
    if token is None or not any(
        one.token == token for one in quiet.seen.handled if one.name in watching
    ):
        return []
    return ["the present drift alarm was answered by a run already"]


def _last(result: RunResult | None) -> list[str]:
    return [] if result is None else [f"last: {describe(result)}"]
