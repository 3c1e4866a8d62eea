"""How a revision is let in, up to its first traffic: the first one, and every candidate."""

from datetime import timedelta

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    Outcome,
    StableStatus,
)
from mooring_operator.api.rollback import AutomaticTrigger
from mooring_operator.core.conditions import reconciling, stalled
from mooring_operator.core.observation import RevisionObservation
from mooring_operator.core.revision import next_seq, reference_fields, with_history
from mooring_operator.core.rollout.approval import approval_of
from mooring_operator.core.rollout.budget import begun
from mooring_operator.core.rollout.rollback import begin_rollback
from mooring_operator.core.rollout.steps import candidate_replicas, current_step, describe
from mooring_operator.core.rollout.turn import (
    Situation,
    Turn,
    changed,
    named,
    normal,
    with_candidate,
)


def initialize(situation: Situation) -> Turn:
    """Absent: the first revision starts at full size, without analysis."""
    if situation.spec.paused:
        message = "spec.paused is true and nothing serves yet: set it to false to start"
        return Turn(situation.status, reconciling(Reason.USER_PAUSED, message))
    candidate = _new(situation, CandidateStage.INITIALIZING)
    message = f"Starting {named(candidate)}, the first revision of this deployment"
    return Turn(
        changed(situation.status, candidate=candidate, approval=None),
        events=(normal(Reason.INITIALIZING, message),),
    )


def await_first_pods(situation: Situation) -> Turn:
    """Initializing: stable as soon as all its pods are ready; stalled past the deadline."""
    candidate = situation.candidate
    pods = situation.pods(candidate)
    needed = situation.spec.replicas
    if pods is not None and all_ready(pods, needed):
        stable = StableStatus.model_validate(
            reference_fields(candidate)
            | {"since": situation.now, "seq": candidate.seq, "reason": Reason.INITIALIZED}
        )
        cause = "the first revision"
        history = with_history(situation.status, candidate, Outcome.PROMOTED, cause, situation.now)
        message = f"{named(stable)} serves: the first revision, {needed} pods"
        return Turn(
            changed(situation.status, stable=stable, candidate=None, history=history),
            events=(normal(Reason.INITIALIZED, message),),
        )
    progress = starting_message(situation)
    if deadline_passed(situation, pods):
        deadline = situation.spec.rollout.progress_deadline
        message = f"{progress}, longer than progressDeadline {deadline}: correct the cause, or ask"
        return Turn(
            situation.status,
            stalled(Reason.PROGRESS_DEADLINE_EXCEEDED, f"{message} for another version"),
        )
    return Turn(
        situation.status,
        reconciling(Reason.INITIALIZING, progress),
        requeue_after=time_left(situation, pods),
    )


def replace_first(situation: Situation) -> Turn:
    """Outdated while initializing: nothing relied on the first revision yet."""
    candidate = situation.candidate
    cause = "another revision was asked for before it was ready"
    history = with_history(situation.status, candidate, Outcome.SUPERSEDED, cause, situation.now)
    message = f"Dropping {named(candidate)}: {cause}"
    return Turn(
        changed(situation.status, candidate=None, history=history),
        events=(normal(Reason.WITHDRAWING, message),),
    )


def start_candidate(situation: Situation) -> Turn:
    """New: the desired revision becomes the candidate, with weight 0.

    The former stable revision, while its pods are warm, goes straight to promotion: it served
    here before and was not rolled back.
    """
    desired = situation.desired
    if situation.spec.paused:
        message = f"spec.paused is true: {named(desired)} is held back; set it to false to start"
        return Turn(situation.status, reconciling(Reason.USER_PAUSED, message))
    retired = situation.status.retired
    returning = retired is not None and retired.revision == desired.revision
    if retired is not None and returning and not retired.rolled_back:
        candidate = _new(situation, CandidateStage.PROMOTING)
        message = f"Returning to {named(candidate)}: it served before and its pods are warm"
        return Turn(
            changed(situation.status, candidate=candidate, retired=None, analysis=None),
            events=(normal(Reason.PROMOTING, message),),
        )
    candidate = _new(situation, CandidateStage.STARTING)
    message = f"{named(candidate)} is the candidate beside {named(situation.stable)}"
    return Turn(
        changed(
            situation.status,
            candidate=candidate,
            retired=None if returning else retired,
            approval=None,
            budget=begun(situation.status),
            analysis=None,
        ),
        events=(normal(Reason.CANDIDATE_STARTING, message),),
    )


def await_candidate(situation: Situation) -> Turn:
    """Starting: traffic only once all its pods are ready; rolled back past the deadline."""
    candidate = situation.candidate
    pods = situation.pods(candidate)
    progress = starting_message(situation)
    is_ready = pods is not None and all_ready(pods, candidate_replicas(situation.spec, candidate))
    if not is_ready and deadline_passed(situation, pods):
        deadline = situation.spec.rollout.progress_deadline
        evidence = f"{progress}, longer than progressDeadline {deadline}"
        if AutomaticTrigger.STARTUP not in situation.spec.rollback.triggers:
            message = (
                f"{evidence}; rollback.triggers does not name Startup: ask for another version"
            )
            return Turn(situation.status, stalled(Reason.PROGRESS_DEADLINE_EXCEEDED, message))
        return begin_rollback(situation, Reason.STARTUP_FAILED, evidence)
    if situation.spec.paused:
        message = f"spec.paused is true: {progress}, without traffic"
        return Turn(situation.status, reconciling(Reason.USER_PAUSED, message))
    if not is_ready:
        return Turn(
            situation.status,
            reconciling(Reason.CANDIDATE_STARTING, progress),
            requeue_after=time_left(situation, pods),
        )
    began = candidate.analysis_started_at
    step = current_step(situation.spec.rollout.steps, candidate)
    message = f"{named(candidate)} is ready: {step_name(situation)}, {describe(step)}"
    return Turn(
        with_candidate(
            situation,
            stage=CandidateStage.ANALYSING,
            step_started_at=situation.now,
            weight_reached=max(candidate.weight_reached or 0, step.weight or 0),
            analysis_started_at=began or situation.now,
            held_since=None if began is None else candidate.held_since,
        ),
        events=(normal(Reason.ANALYSING, message),),
    )


def restart_candidate(situation: Situation) -> Turn:
    """Bereft: weight 0 until the candidate's pods are back, then the same step again."""
    message = f"{named(situation.candidate)} has no ready pod: its traffic stays with stable"
    return Turn(
        with_candidate(situation, stage=CandidateStage.STARTING, step_started_at=situation.now),
        events=(normal(Reason.CANDIDATE_STARTING, message),),
    )


def step_name(situation: Situation) -> str:
    """Which step of how many the candidate is in, counted from 1."""
    total = len(situation.spec.rollout.steps)
    return f"step {min(situation.candidate.step + 1, total)} of {total}"


def all_ready(pods: RevisionObservation, needed: int) -> bool:
    """Whether a revision has all the pods that it needs, of its present template, ready."""
    return pods.available and pods.updated >= needed and pods.ready >= needed


def starting_message(situation: Situation) -> str:
    """How far the candidate's pods have come, and what is in their way."""
    candidate = situation.candidate
    pods = situation.pods(candidate)
    needed = candidate_replicas(situation.spec, candidate)
    count = 0 if pods is None else pods.ready
    failure = f": {pods.failure}" if pods is not None and pods.failure else ""
    return f"{count} of {needed} pods of {named(candidate)} are ready{failure}"


def time_left(situation: Situation, pods: RevisionObservation | None) -> timedelta:
    """Time until the progress deadline, from when the pods were asked for.

    A Deployment that was created after the stage began (the operator was away) counts from then.
    """
    began = situation.candidate.step_started_at
    if pods is not None:
        began = max(began, pods.created_at)
    deadline = parse_duration(situation.spec.rollout.progress_deadline)
    return max(began + deadline - situation.now, timedelta())


def deadline_passed(situation: Situation, pods: RevisionObservation | None) -> bool:
    """Whether the pods exist and had their time."""
    return pods is not None and time_left(situation, pods) == timedelta()


def _new(situation: Situation, stage: CandidateStage) -> CandidateStatus:
    return CandidateStatus.model_validate(
        reference_fields(situation.desired)
        | {
            "seq": next_seq(situation.status),
            "stage": stage,
            "started_at": situation.now,
            "step_started_at": situation.now,
            "approval": approval_of(situation.status, situation.desired.revision),
        }
    )
