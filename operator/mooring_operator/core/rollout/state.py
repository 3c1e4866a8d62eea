"""Which row of the state table a situation is in. Reads status, spec and what is observed."""

from enum import StrEnum

from mooring_operator.api.conditions import ConditionType
from mooring_operator.api.deployment_status import CandidateStage, CandidateStatus
from mooring_operator.core.revision import quarantine_entry
from mooring_operator.core.rollout.approval import awaits_approval
from mooring_operator.core.rollout.blame import pods_failed
from mooring_operator.core.rollout.budget import is_cooling, is_frozen
from mooring_operator.core.rollout.steps import takes_traffic
from mooring_operator.core.rollout.turn import Situation, Unresolved


class State(StrEnum):
    """The rows of the state table, in the order in which they are recognised."""

    WITHDRAWING = "Withdrawing"
    """The candidate is not wanted any more and its traffic is being taken away."""
    ROLLING_BACK = "RollingBack"
    """The candidate failed and its traffic is being taken away."""
    REVERTING = "Reverting"
    """The stable revision is left for an older one."""
    PROBE_ENDING = "ProbeEnding"
    """An older revision was compared with stable and its traffic is being taken away."""
    PROBE_UNWANTED = "ProbeUnwanted"
    """An older revision is compared with stable, and the spec asks for something else."""
    STABLE_GONE = "StableGone"
    """It is, and the pods of stable cannot run any more."""
    PROBE_STARTING = "ProbeStarting"
    """An older revision starts to be compared with stable."""
    PROBING = "Probing"
    """An older revision is compared with stable."""
    BEREFT = "Bereft"
    """The candidate gets traffic and has no ready pod."""
    CONFLICTING = "Conflicting"
    """Someone else's object has the name of a child."""
    HELD_UNRESOLVED = "HeldUnresolved"
    """The spec still names the candidate, but its version is being verified again."""
    OUTDATED = "Outdated"
    """There is a candidate and the spec asks for another revision."""
    UNRESOLVED = "Unresolved"
    """The spec names no revision that may serve."""
    ABSENT = "Absent"
    """Nothing is stable and nothing is being let in."""
    INITIALIZING = "Initializing"
    """The first revision starts."""
    STARTING = "Starting"
    """The candidate's pods start."""
    ANALYSING = "Analysing"
    """The candidate is compared with stable."""
    PROMOTING = "Promoting"
    """The candidate passed and is scaled to full."""
    STABLE = "Stable"
    """The desired revision serves."""
    BUDGET_EXHAUSTED = "BudgetExhausted"
    """The spec asks for a new revision, and too many were rolled back lately."""
    COOLING_DOWN = "CoolingDown"
    """The spec asks for a new revision too soon after a rollback."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """The spec asks for a revision that a person must let in."""
    QUARANTINED = "Quarantined"
    """The spec asks for a revision that was rolled back here."""
    NEW = "New"
    """The spec asks for a revision that was never tried here, or that may be tried again."""


_BY_STAGE = {
    CandidateStage.INITIALIZING: State.INITIALIZING,
    CandidateStage.STARTING: State.STARTING,
    CandidateStage.ANALYSING: State.ANALYSING,
    CandidateStage.PROMOTING: State.PROMOTING,
    CandidateStage.ROLLING_BACK: State.ROLLING_BACK,
    CandidateStage.WITHDRAWING: State.WITHDRAWING,
    CandidateStage.REVERTING: State.REVERTING,
    CandidateStage.PROBE_STARTING: State.PROBE_STARTING,
    CandidateStage.PROBING: State.PROBING,
    CandidateStage.PROBE_ENDING: State.PROBE_ENDING,
}


def state_of(situation: Situation) -> State:
    """The row of the state table."""
    candidate = situation.status.candidate
    if candidate is not None and candidate.stage in (
        CandidateStage.ROLLING_BACK,
        CandidateStage.WITHDRAWING,
        CandidateStage.PROBE_ENDING,
    ):
        # Traffic is taken from a candidate whatever else is wrong.
        return _BY_STAGE[candidate.stage]
    if situation.status.revert is not None:
        # A safe place is reached first, whatever the spec asks for by now.
        return State.REVERTING
    if candidate is not None and candidate.probe is not None:
        return _probing(situation, candidate)
    if _is_bereft(situation, candidate):
        return State.BEREFT
    if situation.observation.foreign:
        return State.CONFLICTING
    if isinstance(situation.resolution, Unresolved):
        return _unresolved(situation, situation.resolution, candidate)
    if candidate is not None:
        wanted = candidate.revision == situation.desired.revision
        return _BY_STAGE[candidate.stage] if wanted else State.OUTDATED
    return _settled(situation)


def _probing(situation: Situation, candidate: CandidateStatus) -> State:
    unresolved = isinstance(situation.resolution, Unresolved)
    if unresolved or situation.desired.revision != situation.stable.revision:
        return State.PROBE_UNWANTED
    return State.STABLE_GONE if pods_failed(situation) else _BY_STAGE[candidate.stage]


def _is_bereft(situation: Situation, candidate: CandidateStatus | None) -> bool:
    if candidate is None or not takes_traffic(candidate):
        return False
    pods = situation.pods(candidate)
    return pods is None or pods.ready == 0


def _unresolved(
    situation: Situation, resolution: Unresolved, candidate: CandidateStatus | None
) -> State:
    if candidate is None:
        return State.UNRESOLVED
    if candidate.stage is CandidateStage.INITIALIZING:
        # Nothing else serves: its pods stay until another revision is asked for.
        return State.UNRESOLVED
    asked = situation.spec.model
    waiting = resolution.standing.type is ConditionType.RECONCILING
    still_named = asked.version is None or asked.version == candidate.version
    return State.HELD_UNRESOLVED if waiting and still_named else State.OUTDATED


def _settled(situation: Situation) -> State:
    stable = situation.status.stable
    # A pause is told before what would hold it back afterwards.
    waits = not situation.spec.paused and awaits_approval(situation)
    if stable is None:
        return State.AWAITING_APPROVAL if waits else State.ABSENT
    desired = situation.desired.revision
    if stable.revision == desired:
        return State.STABLE
    if quarantine_entry(situation.status, desired) is not None:
        return State.QUARANTINED
    if is_frozen(situation):
        return State.BUDGET_EXHAUSTED
    if is_cooling(situation):
        return State.COOLING_DOWN
    return State.AWAITING_APPROVAL if waits else State.NEW
