"""What each verb asks for now, and the sentence that refuses it where nothing fits.

The rules are the operator's (`core/rollout/verbs.py`), told before anything is written; a test
compares both in every state that the simulation reaches. The operator has the last word.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from mooring_cli.outcome import CommandFailed
from mooring_cli.plugin.view import Deployment, Revision, inside, revision
from mooring_model.termination import ExitCode

PROMOTE = "mooring.dev/promote"
ABORT = "mooring.dev/abort"
RETRY = "mooring.dev/retry"
APPROVE = "mooring.dev/approve"
ROLLBACK_TO = "mooring.dev/rollback-to"
HANDLED = {
    PROMOTE: "promote",
    ABORT: "abort",
    RETRY: "retry",
    APPROVE: "approve",
    ROLLBACK_TO: "rollbackTo",
}
"""Where status.handled remembers the token of each annotation."""
_LET_IN = ("Starting", "Analysing", "Promoting")
_HELD_BACK = ("CoolingDown", "RollbackBudgetExhausted")
"""Reasons of a standing that `retry` ends for the desired revision."""
_LEAST_DIGITS = 4
"""Digits of a hash that name a revision on this command line; the token has all twelve."""


@dataclass(frozen=True)
class Ask:
    """One verb about one revision."""

    annotation: str
    target: Revision
    will: str
    """What happens when it is said."""
    reached: Callable[[Deployment], bool]
    """Whether it has happened."""


def refused(message: str, remedy: str) -> CommandFailed:
    """A verb that nothing fits."""
    return CommandFailed(ExitCode.REFUSED, message, remedy)


def promote(deployment: Deployment, wanted: str = "") -> Ask:
    """Ends the candidate's analysis.

    Raises:
        CommandFailed: there is no candidate that could be promoted, or it is another one.
    """
    candidate = _candidate(deployment, wanted, "promote")
    entry = candidate.entry
    if entry.get("promotedBy") or (
        deployment.stage == "Promoting" and not entry.get("analysisStartedAt")
    ):
        raise refused(f"{candidate} is being promoted already", "wait: kubectl mooring status")
    desired = deployment.desired
    if desired is not None and desired.revision != candidate.revision:
        raise refused(
            f"the spec asks for {desired}, so {candidate} is about to be withdrawn",
            "ask for it in the spec first",
        )
    held = " when the pause ends (spec.paused is true)" if deployment.paused else ""
    warm = inside(deployment.spec, "rollback").get("keepWarm", "1h")
    will = (
        f"{candidate} is promoted without the rest of its analysis: it takes all requests as soon"
        f" as all its pods are ready{held}; {deployment.stable} stays warm for {warm}"
    )
    return Ask(PROMOTE, candidate, will, lambda seen: _serves(seen, candidate))


def abort(deployment: Deployment, wanted: str = "") -> Ask:
    """Drops the candidate.

    Raises:
        CommandFailed: there is no candidate that could be dropped, or it is another one.
    """
    candidate = _candidate(deployment, wanted, "abort")
    will = (
        f"{candidate} gets no request any more and is quarantined (Manual);"
        f" {deployment.stable} serves on. The spec still asks for {candidate.version}, and the"
        " deployment is Stalled, until the spec names another version or `retry` is said"
    )
    return Ask(ABORT, candidate, will, lambda seen: _is_out(seen, candidate))


def retry(deployment: Deployment, wanted: str = "") -> Ask:
    """Takes the desired revision out of quarantine, or ends its wait after rollbacks.

    Raises:
        CommandFailed: the spec asks for no revision that is in quarantine, and none waits.
    """
    desired = _desired(deployment)
    entry, waits = deployment.in_quarantine(desired.revision), _is_held_back(deployment)
    if _pods_failed(deployment, desired):
        _check(desired, wanted, "the spec asks for")
        will = f"the pods of {desired} are replaced again by ones with the settings of the spec"
        return Ask(RETRY, desired, will, lambda seen: _serves(seen, desired))
    if entry is None and not waits:
        raise refused(
            f"{desired}, which the spec asks for, is neither in quarantine nor waiting for a"
            " cooldown",
            _elsewhere(deployment),
        )
    _check(desired, wanted, "the spec asks for")
    leaves = "starts without waiting" if entry is None else f"leaves quarantine ({entry['reason']})"
    again = "" if entry is None else " again"
    will = f"{desired} {leaves} and is let in{again} from the first step{_but_paused(deployment)}"
    return Ask(RETRY, desired, will, lambda seen: _serves(seen, desired))


def approve(deployment: Deployment, wanted: str = "") -> Ask:
    """Lets the desired revision in.

    Raises:
        CommandFailed: nothing waits for approval.
    """
    desired = _desired(deployment)
    if not _awaits_approval(deployment, desired):
        raise refused(
            f"{desired}, which the spec asks for, does not wait for approval",
            "look at `kubectl mooring status`",
        )
    _check(desired, wanted, "approval is awaited for")
    will = (
        f"{desired} is let in{_but_paused(deployment)}. The annotation does not prove who said so:"
        " the API server's audit log does"
    )
    return Ask(APPROVE, desired, will, lambda seen: _serves(seen, desired))


def roll_back(deployment: Deployment, wanted: str = "") -> Ask:
    """Leaves the stable revision for an older one: the one that served before, or a named one.

    Raises:
        CommandFailed: there is no older revision, or it may not serve.
    """
    stable = deployment.stable
    if stable is None:
        raise refused("nothing is stable yet", "wait for the first revision")
    if "revert" in deployment.status:
        raise refused("a way back is under way already", "wait: kubectl mooring status")
    target = _older(deployment, stable, wanted)
    will = (
        f"{target} serves as soon as its pods are ready; {stable} is left then, and quarantined"
        f" (Manual). The spec is not written: name {target.version} there, or the deployment is"
        " Stalled"
    )
    if deployment.candidate is not None:
        will += f". The candidate {deployment.candidate} is withdrawn first"
    return Ask(ROLLBACK_TO, target, will, lambda seen: _has_returned(seen, stable, target))


def _older(deployment: Deployment, stable: Revision, wanted: str) -> Revision:
    """The newest promoted revision that fits, apart from stable and from quarantine."""
    fitting = [ref for ref in _served_before(deployment) if _fits(wanted, ref)]
    barred: Revision | None = None
    for ref in fitting:
        if ref.revision == stable.revision:
            continue
        if deployment.in_quarantine(ref.revision) is None and _can_return(ref):
            return ref
        barred = barred or ref
    if barred is not None and wanted:
        why = "is in quarantine" if deployment.in_quarantine(barred.revision) else "is too old"
        raise refused(f"{barred} {why}", "choose another one from `kubectl mooring history`")
    if fitting and wanted:
        raise refused(f"{stable} serves already", "choose one from `kubectl mooring history`")
    named = f" that {wanted} names" if wanted else ""
    raise refused(
        f"there is no earlier revision{named} to go back to",
        "name the version in the spec: it is let in like a new one",
    )


def _served_before(deployment: Deployment) -> list[Revision]:
    """The former stable revision while it is warm, then what was promoted, newest first."""
    found = [deployment.retired]
    found += [revision(entry) for entry in deployment.history if entry["outcome"] == "Promoted"]
    return [ref for ref in found if ref is not None]


def _fits(wanted: str, ref: Revision) -> bool:
    return not wanted or wanted == str(ref.entry.get("seq", "")) or means(wanted, ref)


def _can_return(ref: Revision) -> bool:
    """Whether the status still knows what the revision is made of."""
    return bool(ref.entry.get("uri") and ref.entry.get("image"))


def _has_returned(seen: Deployment, left: Revision, target: Revision) -> bool:
    stable = seen.stable
    back = stable is not None and stable.revision == target.revision
    return back and seen.in_quarantine(left.revision) is not None


def _candidate(deployment: Deployment, wanted: str, verb: str) -> Revision:
    """The candidate, while a person may still decide about it."""
    candidate, stage = deployment.candidate, deployment.stage
    if candidate is None:
        raise refused(f"there is no candidate to {verb}", _elsewhere(deployment))
    if deployment.stable is None or stage == "Initializing":
        raise refused(
            f"{candidate} is the first revision, and nothing else serves",
            "wait for its pods, or ask for another version in the spec",
        )
    if stage not in _LET_IN:
        raise refused(
            f"{candidate} is being dropped ({stage})", "wait: kubectl mooring status tells the end"
        )
    _check(candidate, wanted, "the candidate is")
    return candidate


def _desired(deployment: Deployment) -> Revision:
    desired = deployment.desired
    if desired is None:
        raise refused(
            f"the spec names no revision that may serve: {deployment.standing.message}",
            "correct what the message names",
        )
    return desired


def _awaits_approval(deployment: Deployment, desired: Revision) -> bool:
    gate = inside(inside(deployment.spec, "rollout"), "approval")
    if not gate.get("required") or deployment.candidate is not None:
        return False
    retired = deployment.retired
    warm = None if retired is None or retired.entry.get("rolledBack") else retired
    served = {ref.revision for ref in (deployment.stable, warm) if ref is not None}
    if desired.revision in served or deployment.in_quarantine(desired.revision):
        return False
    return inside(deployment.status, "approval").get("revision") != desired.revision


def _check(found: Revision, wanted: str, what: str) -> None:
    """Refuses when a person named another revision than the one that the verb is about."""
    if wanted and not means(wanted, found):
        raise refused(f"{what} {found}, not {wanted}", f"say --revision {found.revision}")


def means(wanted: str, found: Revision) -> bool:
    """Whether a person's word names a revision: its version, or the beginning of its hash."""
    by_hash = re.fullmatch(f"[0-9a-f]{{{_LEAST_DIGITS},12}}", wanted) is not None
    return wanted == found.version or (by_hash and found.revision.startswith(wanted))


def _elsewhere(deployment: Deployment) -> str:
    """Which verb would fit instead, as far as the status tells."""
    desired = deployment.desired
    if desired is not None and deployment.in_quarantine(desired.revision):
        return f"{desired} is in quarantine: `kubectl mooring retry` tries it again"
    if desired is not None and _is_held_back(deployment):
        return f"{desired} waits: `kubectl mooring retry` lets it in now"
    if desired is not None and _awaits_approval(deployment, desired):
        return f"{desired} waits for approval: `kubectl mooring approve` lets it in"
    if deployment.candidate is not None:
        return f"{deployment.candidate} is the candidate: `promote` and `abort` are about it"
    return "`kubectl mooring status` tells what there is"


def _but_paused(deployment: Deployment) -> str:
    return " when the pause ends (spec.paused is true)" if deployment.paused else ""


def _pods_failed(deployment: Deployment, desired: Revision) -> bool:
    """Whether pods of what serves, and is asked for, could not get the settings of the spec."""
    stable = deployment.stable
    failed = inside(deployment.status, "pods").get("failed")
    return bool(failed) and stable is not None and stable.revision == desired.revision


def _is_held_back(deployment: Deployment) -> bool:
    """Whether the desired revision waits since others were rolled back."""
    standing = deployment.standing
    return standing.type != "Ready" and standing.reason in _HELD_BACK


def _serves(seen: Deployment, target: Revision) -> bool:
    stable = seen.stable
    settled = seen.standing.type == "Ready" and seen.observed
    return stable is not None and stable.revision == target.revision and settled


def _is_out(seen: Deployment, target: Revision) -> bool:
    return seen.candidate is None and seen.in_quarantine(target.revision) is not None
