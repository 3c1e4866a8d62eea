"""Verbs: what people ask for by annotation, each about one revision, in one table.

An annotation's value is a token, `REVISION` or `REVISION@NONCE`. It names the revision that it is
about, so that it is inert for every other one, and it is looked at once: acted upon as soon as a
look allows it, or ignored, with one Event that says why, when that look has settled. Then
`status.handled` remembers it. The operator never writes an annotation: it may be in Git.

`spec.paused` holds what goes forward and nothing that goes back. A verb that goes forward is
accepted meanwhile, and takes effect when the pause ends.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    HistoryEntry,
    ModelDeploymentStatus,
    Outcome,
    RevisionRef,
    Trigger,
)
from mooring_operator.api.group import Annotation
from mooring_operator.api.pod_settings import PodsStatus
from mooring_operator.api.verbs import TOKEN_LIMIT, Approval, LastVerb, VerbOutcome
from mooring_operator.core.conditions import trimmed
from mooring_operator.core.decision import EventNote
from mooring_operator.core.revision import quarantine_entry, reference
from mooring_operator.core.rollout.analysing import begin_promotion
from mooring_operator.core.rollout.approval import awaits_approval
from mooring_operator.core.rollout.budget import is_cooling, is_frozen, without
from mooring_operator.core.rollout.pod_update import try_again
from mooring_operator.core.rollout.revert import begin_revert
from mooring_operator.core.rollout.rollback import begin_rollback
from mooring_operator.core.rollout.turn import (
    Situation,
    Turn,
    Unresolved,
    changed,
    named,
    normal,
    warning,
    with_candidate,
)
from mooring_operator.core.rollout.way_back import reference_of

_BY_HASH = re.compile(r"^([0-9a-f]{12,64})(@\S{1,60})?$")
_BY_HASH_OR_NUMBER = re.compile(r"^([0-9a-f]{12,64}|[0-9]{1,9})(@\S{1,60})?$")
_SHOWN = 80
"""Characters of a token that a message repeats."""
_LET_IN = (CandidateStage.STARTING, CandidateStage.ANALYSING, CandidateStage.PROMOTING)
"""Stages in which a person may still decide about a candidate."""


@dataclass(frozen=True)
class Token:
    """One annotation's value."""

    annotation: Annotation
    text: str
    key: str
    """The revision's hash or more digits of it, or a number of the history."""

    @property
    def said(self) -> str:
        """The token as a person wrote it."""
        return f"{self.annotation}={trimmed(self.text, _SHOWN)}"

    def names(self, ref: RevisionRef | None) -> bool:
        """Whether the token is about this revision."""
        return ref is not None and self.key.startswith(ref.revision)


@dataclass(frozen=True)
class Verb:
    """One row of the table of verbs."""

    annotation: Annotation
    field: str
    """Where `status.handled` remembers its token."""
    form: re.Pattern[str]
    accept: Callable[[Situation, Token], Turn | None]
    """Acts upon a token; None: it cannot be acted upon now."""
    objection: Callable[[Situation, Token], str]
    """Why a settled situation does not allow it, and what to do."""
    needs_resolution: bool = False
    """Whether it is about the desired revision: it waits while the spec names none."""


def heed(situation: Situation) -> Turn | None:
    """Acts upon the first new token that can be acted upon now; None: there is none."""
    for verb in VERBS:
        text = _unhandled(situation, verb)
        match = verb.form.match(text)
        if match is None:
            continue
        token = Token(verb.annotation, text, match[1])
        turn = verb.accept(situation, token)
        if turn is not None:
            noted = _noted(situation.on(turn.status), verb, text, VerbOutcome.ACCEPTED, turn.events)
            return Turn(noted, events=turn.events)
    return None


def ignore_rest(situation: Situation) -> Turn:
    """Remembers the new tokens that a settled situation does not allow, each with one Event."""
    events: list[EventNote] = []
    for verb in VERBS:
        text = _unhandled(situation, verb)
        waits = verb.needs_resolution and isinstance(situation.resolution, Unresolved)
        if not text or waits:
            continue
        event = (warning(Reason.VERB_IGNORED, _refusal(situation, verb, text)),)
        situation = situation.on(_noted(situation, verb, text, VerbOutcome.IGNORED, event))
        events += event
    return Turn(situation.status, events=tuple(events))


def _unhandled(situation: Situation, verb: Verb) -> str:
    """The verb's token if it was not looked at yet, else nothing."""
    annotations = situation.observation.resource.metadata.annotations
    text = annotations.get(verb.annotation, "")[:TOKEN_LIMIT]
    return "" if text == getattr(situation.status.handled, verb.field) else text


def _noted(
    situation: Situation,
    verb: Verb,
    text: str,
    outcome: VerbOutcome,
    events: tuple[EventNote, ...],
) -> ModelDeploymentStatus:
    message = events[0].message
    last = LastVerb(
        verb=verb.annotation.value, token=text, outcome=outcome, at=situation.now, message=message
    )
    handled = situation.status.handled.model_copy(update={verb.field: text})
    return changed(situation.status, handled=handled, last_verb=last)


def _refusal(situation: Situation, verb: Verb, text: str) -> str:
    said = f"{verb.annotation}={trimmed(text, _SHOWN)}"
    match = verb.form.match(text)
    if match is None:
        return f"{said} is ignored: write REVISION or REVISION@NONCE, REVISION in 12 hex digits"
    objection = verb.objection(situation, Token(verb.annotation, text, match[1]))
    return f"{said} is ignored: {objection}"


# Candidate


def _open_candidate(situation: Situation, token: Token) -> CandidateStatus | None:
    """The candidate, if the token names it and a person may still decide about it."""
    candidate = situation.status.candidate
    if candidate is None or situation.status.stable is None or not token.names(candidate):
        return None
    return candidate if candidate.stage in _LET_IN else None


def _abort(situation: Situation, token: Token) -> Turn | None:
    if _open_candidate(situation, token) is None:
        return None
    return begin_rollback(situation, Reason.MANUAL, f"a person said so ({token.said})")


def _promote(situation: Situation, token: Token) -> Turn | None:
    candidate = _open_candidate(situation, token)
    if candidate is None or candidate.promoted_by or not _is_wanted(situation, candidate):
        return None
    if candidate.stage is CandidateStage.PROMOTING and candidate.analysis_started_at is None:
        # A return to a warm revision: there is no analysis to skip.
        return None
    chosen = situation.on(with_candidate(situation, promoted_by=token.text))
    if candidate.stage is CandidateStage.ANALYSING:
        return begin_promotion(chosen, f"{token.said} skips the rest of its analysis")
    after = "is promoted when its pods are ready, and not judged any more"
    message = f"{named(candidate)} {after}: {token.said}"
    return Turn(chosen.status, events=(normal(Reason.PROMOTING, message),))


def _is_wanted(situation: Situation, candidate: CandidateStatus) -> bool:
    """Whether the spec still asks for the candidate, as far as it can be told."""
    unresolved = isinstance(situation.resolution, Unresolved)
    return unresolved or situation.desired.revision == candidate.revision


def _abort_objection(situation: Situation, token: Token) -> str:
    candidate = situation.status.candidate
    if candidate is None:
        return f"there is no candidate to drop; {_where(situation, token)}"
    if candidate.stage is CandidateStage.INITIALIZING:
        return (
            f"{named(candidate)} is the first revision and nothing else serves; ask for another"
            " version, or delete the ModelDeployment"
        )
    return _about_candidate(candidate, token, "is being dropped already")


def _promote_objection(situation: Situation, token: Token) -> str:
    candidate = situation.status.candidate
    if candidate is None:
        return f"there is no candidate to promote; {_where(situation, token)}"
    if candidate.stage is CandidateStage.INITIALIZING:
        return f"{named(candidate)} is the first revision: it serves when its pods are ready"
    promoted = candidate.stage is CandidateStage.PROMOTING or candidate.promoted_by
    return _about_candidate(
        candidate, token, "is being promoted already" if promoted else "is being dropped"
    )


def _about_candidate(candidate: CandidateStatus, token: Token, state: str) -> str:
    if token.names(candidate):
        return f"{named(candidate)} {state}"
    return (
        f"the candidate is {named(candidate)}; if you mean it, annotate"
        f" {token.annotation}={candidate.revision}"
    )


# Stable revision


def _roll_back_to(situation: Situation, token: Token) -> Turn | None:
    status = situation.status
    target = _older(status, token)
    if target is None or status.stable is None or status.revert is not None:
        return None
    barred = quarantine_entry(status, target.revision) is not None
    if barred or target.revision == status.stable.revision:
        return None
    evidence = f"a person said so ({token.said})"
    return begin_revert(situation, target, Trigger.MANUAL, Reason.MANUAL, evidence)


def _older(status: ModelDeploymentStatus, token: Token) -> RevisionRef | None:
    """What is needed to bring the token's revision back; None: it is not known."""
    retired = status.retired
    if retired is not None and token.names(retired):
        return reference(retired)
    entry = _promoted(status, token)
    return None if entry is None else reference_of(status, entry)


def _promoted(status: ModelDeploymentStatus, token: Token) -> HistoryEntry | None:
    """The newest entry of the history that the token names, by hash or by number."""
    for entry in status.history:
        named_so = token.key == str(entry.seq) or token.key.startswith(entry.revision)
        if entry.outcome is Outcome.PROMOTED and named_so:
            return entry
    return None


def _rollback_objection(situation: Situation, token: Token) -> str:
    status = situation.status
    if status.stable is None:
        return "nothing is stable yet"
    if status.revert is not None:
        return f"{named(status.stable)} is being left for {named(status.revert)} already"
    entry = _promoted(status, token)
    known = status.retired if token.names(status.retired) else entry
    if known is None:
        return "the history has no promoted revision of this hash or number; ask for its version"
    if known.revision == status.stable.revision:
        return f"{named(status.stable)} serves already"
    what = f"{known.version} ({known.revision})"
    held = quarantine_entry(status, known.revision)
    if held is not None:
        return f"{what} is in quarantine ({held.reason}): choose another one of the history"
    return f"{what} is not kept in the history with all that it is made of; ask for its version"


# Desired revision


def _retry(situation: Situation, token: Token) -> Turn | None:
    if isinstance(situation.resolution, Unresolved) or not token.names(situation.desired):
        return None
    desired = situation.desired
    entry = quarantine_entry(situation.status, desired.revision)
    waits = is_frozen(situation) or is_cooling(situation)
    again = _pods_again(situation)
    if again is not None:
        message = f"The pods of {named(desired)} are tried again with the spec's: {token.said}"
        return Turn(
            changed(situation.status, pods=again), events=(normal(Reason.RETRIED, message),)
        )
    if entry is None and not waits:
        return None
    done = "starts without waiting" if waits else "is tried again"
    message = f"{named(desired)} {done}: {token.said}"
    return Turn(
        without(situation.status, desired.revision), events=(normal(Reason.RETRIED, message),)
    )


def _pods_again(situation: Situation) -> PodsStatus | None:
    """The pods' settings that failed, to be tried again; None: stable is not asked for, or none."""
    stable = situation.status.stable
    if stable is None or stable.revision != situation.desired.revision:
        return None
    return try_again(situation)


def _retry_objection(situation: Situation, token: Token) -> str:
    status, desired = situation.status, situation.desired
    waits = is_frozen(situation) or is_cooling(situation) or _pods_again(situation)
    if waits or quarantine_entry(status, desired.revision) is not None:
        return (
            f"the spec asks for {named(desired)}; if you mean it, annotate"
            f" {token.annotation}={desired.revision}"
        )
    held = next(
        (entry for entry in status.quarantine if token.key.startswith(entry.revision)), None
    )
    if held is not None:
        return (
            f"{held.version} ({held.revision}) is in quarantine, and the spec asks for"
            f" {named(desired)}: ask for {held.version} first, then annotate"
            f" {token.annotation}={held.revision}@AGAIN"
        )
    return f"it is neither in quarantine nor waiting for a cooldown; {_where(situation, token)}"


def _approve(situation: Situation, token: Token) -> Turn | None:
    if not awaits_approval(situation) or not token.names(situation.desired):
        return None
    desired = situation.desired
    approval = Approval(revision=desired.revision, token=token.text, at=situation.now)
    message = f"{named(desired)} may be let in: {token.said}"
    return Turn(
        changed(situation.status, approval=approval), events=(normal(Reason.APPROVED, message),)
    )


def _approve_objection(situation: Situation, token: Token) -> str:
    desired = situation.desired
    if awaits_approval(situation):
        return (
            f"{named(desired)} waits for approval; if you mean it, annotate"
            f" {token.annotation}={desired.revision}"
        )
    if not situation.spec.rollout.approval.required:
        return f"rollout.approval.required is false; {_where(situation, token)}"
    return f"nothing waits for approval; {_where(situation, token)}"


def _where(situation: Situation, token: Token) -> str:
    """What the token's revision is here, and which verb is about it if one is."""
    status = situation.status
    entry = next((e for e in status.quarantine if token.key.startswith(e.revision)), None)
    if token.names(status.candidate):
        return f"{named(situation.candidate)} is the candidate"
    if entry is not None:
        return (
            f"{entry.version} ({entry.revision}) is in quarantine ({entry.reason}); to try it"
            f" again, annotate {Annotation.RETRY}={entry.revision}@AGAIN"
        )
    if token.names(status.stable):
        return f"{named(situation.stable)} serves"
    if token.names(status.desired):
        if awaits_approval(situation):
            return f"{named(situation.desired)} waits for approval ({Annotation.APPROVE})"
        if is_frozen(situation) or is_cooling(situation):
            return f"{named(situation.desired)} waits ({Annotation.RETRY} lets it in)"
        return f"{named(situation.desired)} is not let in yet; say it again when it is"
    return "the spec does not ask for the revision that it names"


VERBS = (
    Verb(Annotation.ABORT, "abort", _BY_HASH, _abort, _abort_objection),
    Verb(
        Annotation.ROLLBACK_TO,
        "rollback_to",
        _BY_HASH_OR_NUMBER,
        _roll_back_to,
        _rollback_objection,
    ),
    Verb(Annotation.RETRY, "retry", _BY_HASH, _retry, _retry_objection, needs_resolution=True),
    Verb(
        Annotation.APPROVE, "approve", _BY_HASH, _approve, _approve_objection, needs_resolution=True
    ),
    Verb(Annotation.PROMOTE, "promote", _BY_HASH, _promote, _promote_objection),
)
"""Every verb, in the order in which tokens of one look are heard: what is safer comes first."""
