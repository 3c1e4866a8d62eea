"""`decide` for ModelDeployments: the state table of a rollout.

Status is the only memory. The status of a decision is written before its children are applied,
and children and routes are functions of spec and that status alone, so that a crash at any point
converges: the next look decides the same, or further, from what it finds.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from mooring_operator.api.conditions import ConditionType
from mooring_operator.api.deployment_status import CandidateStage, ModelDeploymentStatus
from mooring_operator.core.conditions import Standing, condition_of, trimmed
from mooring_operator.core.decision import Decision, EventNote, EventType, OperatorConfig
from mooring_operator.core.manifests.children import (
    children_of,
    flip_ends,
    obsolete,
    still_forwarded_to,
)
from mooring_operator.core.memory import recall
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.rollout.analysing import analyse
from mooring_operator.core.rollout.approval import await_approval, valid_approval
from mooring_operator.core.rollout.blame import leave_at_once
from mooring_operator.core.rollout.budget import cool_down, freeze, valid_budget
from mooring_operator.core.rollout.candidate import (
    await_candidate,
    await_first_pods,
    initialize,
    replace_first,
    restart_candidate,
    start_candidate,
)
from mooring_operator.core.rollout.gateway import settle_route, settles_in
from mooring_operator.core.rollout.monitoring import monitoring_events
from mooring_operator.core.rollout.pod_update import settle_pods, trial_left
from mooring_operator.core.rollout.probe import await_probe, drop_probe, judge_probe, leave_probe
from mooring_operator.core.rollout.promotion import promote
from mooring_operator.core.rollout.quarantine import still_kept, still_out
from mooring_operator.core.rollout.resolve import resolve
from mooring_operator.core.rollout.revert import revert
from mooring_operator.core.rollout.rollback import (
    LOOK_AGAIN,
    begin_withdrawal,
    roll_back,
    withdraw,
)
from mooring_operator.core.rollout.settled import (
    hold_for_model,
    serve,
    stay_back,
    wait_for_model,
    wait_for_names,
)
from mooring_operator.core.rollout.soak import soak, soak_events, soak_left
from mooring_operator.core.rollout.state import State, state_of
from mooring_operator.core.rollout.steps import routes
from mooring_operator.core.rollout.summary import summarize
from mooring_operator.core.rollout.turn import Resolved, Situation, Turn, changed
from mooring_operator.core.rollout.verbs import heed, ignore_rest

MOST_TURNS = 16
"""More state changes than one look can need: every verb, a withdrawal, a start, every step."""


def _leave_outdated(situation: Situation) -> Turn:
    if situation.candidate.stage is CandidateStage.INITIALIZING:
        return replace_first(situation)
    return begin_withdrawal(situation)


TABLE: Mapping[State, Callable[[Situation], Turn]] = {
    State.WITHDRAWING: withdraw,
    State.ROLLING_BACK: roll_back,
    State.REVERTING: revert,
    State.PROBE_ENDING: leave_probe,
    State.PROBE_UNWANTED: drop_probe,
    State.STABLE_GONE: leave_at_once,
    State.PROBE_STARTING: await_probe,
    State.PROBING: judge_probe,
    State.BEREFT: restart_candidate,
    State.CONFLICTING: wait_for_names,
    State.HELD_UNRESOLVED: hold_for_model,
    State.OUTDATED: _leave_outdated,
    State.UNRESOLVED: wait_for_model,
    State.ABSENT: initialize,
    State.INITIALIZING: await_first_pods,
    State.STARTING: await_candidate,
    State.ANALYSING: analyse,
    State.PROMOTING: promote,
    State.STABLE: serve,
    State.BUDGET_EXHAUSTED: freeze,
    State.COOLING_DOWN: cool_down,
    State.AWAITING_APPROVAL: await_approval,
    State.QUARANTINED: stay_back,
    State.NEW: start_candidate,
}


def decide(
    observation: DeploymentObservation,
    config: OperatorConfig,
    now: datetime,
    *,
    most_turns: int = MOST_TURNS,
) -> Decision[ModelDeploymentStatus]:
    """Everything that must be true of one ModelDeployment now.

    Args:
        observation: what was gathered of it.
        config: the operator's settings.
        now: aware UTC time of the decision.
        most_turns: state changes after which a decision counts as one that never ends.

    Raises:
        RuntimeError: it does not end; a defect of the table.
    """
    if observation.resource.metadata.deletion_timestamp is not None:
        # Children go by their owner references.
        return Decision(status=observation.resource.status)
    situation = look(observation, config, now)
    events: list[EventNote] = []
    for _ in range(most_turns):
        situation, noticed = settle_pods(settle_route(situation))
        events.extend(noticed)
        turn = heed(situation) or TABLE[state_of(situation)](situation)
        events.extend(turn.events)
        # A revision whose soak has no length is known as good in the look that lets it serve.
        situation = soak(situation.on(turn.status))
        if turn.standing is not None:
            return _decision(situation, turn.standing, tuple(events), turn.requeue_after)
    raise RuntimeError(
        f"ModelDeployment {observation.resource.metadata.name}: no state settles; last was"
        f" {state_of(situation)}"
    )


def look(observation: DeploymentObservation, config: OperatorConfig, now: datetime) -> Situation:
    """Where a decision begins: what is remembered, what is asked for, what time has ended."""
    before = recall(observation)
    resolution = resolve(observation, before, config)
    retired = before.retired
    if retired is not None and now >= retired.keep_until:
        retired = None
    rollback = observation.resource.spec.rollback
    status = changed(
        before,
        desired=resolution.ref if isinstance(resolution, Resolved) else None,
        retired=retired,
        quarantine=still_out(before, rollback, now),
        kept=still_kept(before, now),
        approval=valid_approval(before, resolution),
        budget=valid_budget(before, resolution),
    )
    return soak(Situation(observation, config, now, resolution, before=before, status=status))


def _decision(
    situation: Situation,
    standing: Standing,
    events: tuple[EventNote, ...],
    requeue_after: timedelta | None,
) -> Decision[ModelDeploymentStatus]:
    ignored = ignore_rest(situation)
    kept = changed(ignored.status, kept=still_kept(ignored.status, situation.now))
    status = summarize(situation.on(kept), standing)
    observation, spec = situation.observation, situation.spec
    return Decision(
        status=status,
        children=children_of(observation, status, situation.config, situation.now),
        prune=obsolete(observation, status, situation.config, situation.now),
        routes=routes(status, spec, situation.now),
        events=(
            *(events or _standing_event(situation, standing)),
            *ignored.events,
            *soak_events(situation.before, situation.on(status)),
            *monitoring_events(situation.before.conditions, status.conditions),
        ),
        requeue_after=_soonest(requeue_after, situation.on(status)),
    )


def _standing_event(situation: Situation, standing: Standing) -> tuple[EventNote, ...]:
    """An Event where the standing changed without a change of state having said so."""
    known = condition_of(situation.before.conditions, ConditionType.READY)
    if known is not None and known.reason == standing.reason:
        return ()
    bad = standing.type is ConditionType.STALLED
    kind = EventType.WARNING if bad else EventType.NORMAL
    return (EventNote(kind, standing.reason, trimmed(standing.message)),)


def _soonest(requeue_after: timedelta | None, situation: Situation) -> timedelta | None:
    """The handler's wish, or the end of what is kept or warm, of a flip, or of the soak."""
    status, now = situation.status, situation.now
    warm = None if status.retired is None else max(status.retired.keep_until - now, timedelta())
    flipped = flip_ends(status)
    flip = flipped - now if flipped is not None and flipped > now else None
    kept = None if status.kept is None else max(status.kept.keep_until - now, timedelta())
    settles = settles_in(situation) or None
    led = still_forwarded_to(situation.observation, status, situation.config, now)
    left = LOOK_AGAIN if led else None
    ends = (trial_left(situation), soak_left(situation))
    waits = (requeue_after, warm, kept, flip, settles, left, *ends)
    return min((wait for wait in waits if wait is not None), default=None)
