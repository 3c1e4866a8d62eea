"""Why a deployment stands where it stands, as a person would say it. From its status alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mooring_cli.plugin.evidence import comparison
from mooring_cli.plugin.view import Condition, Deployment, Revision, inside
from mooring_cli.plugin.words import moment

_ABNORMAL = {
    "Available": "False",
    "MetricsAvailable": "False",
    "Drifted": "True",
    "DataQuality": "False",
    "Quality": "False",
    "Routed": "False",
}
"""Conditions that are told besides the standing, and the status in which they are."""


@dataclass(frozen=True)
class Explanation:
    """What happened, by what evidence, what is now, and what can be done."""

    title: str
    what: tuple[str, ...]
    evidence: tuple[str, ...]
    also: tuple[str, ...]
    next: tuple[str, ...]

    def text(self) -> str:
        """For a person."""
        sections = (
            ("What", self.what),
            ("Evidence", self.evidence),
            ("Also", self.also),
            ("Next", self.next),
        )
        lines = [self.title]
        for name, sentences in sections:
            if sentences:
                lines += ["", name, *(f"  {sentence}" for sentence in sentences)]
        return "\n".join(lines)

    def document(self) -> dict[str, object]:
        """For a program."""
        return {
            "title": self.title,
            "what": list(self.what),
            "evidence": list(self.evidence),
            "also": list(self.also),
            "next": list(self.next),
        }


def explain(deployment: Deployment) -> Explanation:
    """The whole answer to `kubectl mooring why`."""
    standing = deployment.standing
    since = f" since {moment(standing.since)}" if standing.since else ""
    what, next_ = _STORIES.get(standing.reason, _by_message)(deployment, standing)
    if not deployment.observed:
        what = (
            f"The operator has not looked at generation {deployment.generation} of the spec yet;"
            " this is about an earlier one.",
            *what,
        )
    return Explanation(
        title=f"{deployment.name} in {deployment.namespace}: {standing.reason or 'New'}{since}",
        what=tuple(what),
        evidence=_evidence(deployment),
        also=_also(deployment),
        next=tuple(next_),
    )


Story = tuple[Sequence[str], Sequence[str]]


def _evidence(deployment: Deployment) -> tuple[str, ...]:
    """The last comparison, if it is about a revision that the standing is about."""
    analysis = inside(deployment.status, "analysis")
    judged = _judged(deployment, str(analysis.get("candidate", "")))
    if judged is None:
        return ()
    candidate, baseline = judged
    return comparison(analysis, candidate, baseline)


def _judged(deployment: Deployment, hash_: str) -> tuple[str, str] | None:
    """The versions that were compared, candidate first; None: not what the standing is about."""
    candidate, stable = deployment.candidate, deployment.stable
    if candidate is not None:
        return (candidate.version, _version(stable)) if candidate.revision == hash_ else None
    if stable is not None and stable.revision == hash_:
        return stable.version, _version(deployment.retired)
    desired = deployment.desired
    entry = None if desired is None else deployment.in_quarantine(desired.revision)
    if entry is not None and entry["revision"] == hash_:
        return str(entry["version"]), _version(stable)
    return None


def _version(ref: Revision | None) -> str:
    return "the stable revision" if ref is None else ref.version


def _also(deployment: Deployment) -> tuple[str, ...]:
    """Other conditions that are not as they should be, and the verb that was said last."""
    told: list[str] = []
    for type_, bad in _ABNORMAL.items():
        found = deployment.condition(type_)
        if found is not None and found.status == bad:
            told.append(f"{type_} is {bad} ({found.reason}): {found.message}")
    last = deployment.last_verb
    if last:
        told.append(f"{last['outcome']} at {moment(str(last['at']))}: {last['message']}")
    return tuple(told)


def _rolled_back(deployment: Deployment, standing: Condition) -> Story:
    desired = deployment.desired
    entry = None if desired is None else deployment.in_quarantine(desired.revision)
    if desired is None or entry is None:
        return _by_message(deployment, standing)
    last = inside(deployment.status, "lastRollback")
    named = f"{desired}, which the spec asks for,"
    was_candidate = entry.get("trigger", "Candidate") in ("Candidate", "Startup")
    by_hand = entry["reason"] == "Manual"
    done = "was taken back because a person said so" if by_hand else "was rolled back"
    what = [f"{named} {done} at {moment(str(entry['at']))} ({entry['rollbackId']})."]
    if not was_candidate:
        what.append(f"It had been promoted before; trigger: {entry['trigger']}.")
    elif last.get("fromRevision") == desired.revision and last.get("seconds"):
        what.append(f"It had a share of the requests, or their mirror, for {last['seconds']:g} s.")
    what.append(f"Reason: {entry['reason']}: {entry['evidence']}.")
    what.append(
        f"{deployment.stable} answers all requests. {desired.version} is in quarantine: applying"
        " it again changes nothing, and Git is not written."
    )
    next_ = [
        "publish a better version, and name it in spec.model (in Git)",
        f"or name {_version(deployment.stable)} there, so that Git says what serves",
        "or, if the cause lay outside of the revision: " + _command("retry", deployment),
    ]
    return what, next_


def _in_analysis(deployment: Deployment, standing: Condition) -> Story:
    candidate = deployment.candidate
    if candidate is None:
        return _by_message(deployment, standing)
    began = candidate.entry.get("analysisStartedAt") or candidate.entry.get("startedAt", "")
    what = [
        f"{candidate} is being compared with {deployment.stable} since {moment(str(began))}.",
        _sentence(standing.message),
        "It is promoted when every metric passes after the last step, and rolled back as soon as"
        " one fails.",
    ]
    return what, ["nothing: it goes on by itself", *_decisions(deployment)]


def _held(deployment: Deployment, standing: Condition) -> Story:
    what = [_sentence(standing.message)]
    if deployment.stable is not None:
        what.append(f"{deployment.stable} serves; a metric that fails still ends the rollout.")
    return what, [*_HELD_NEXT.get(standing.reason, ()), *_decisions(deployment)]


def _paused(deployment: Deployment, standing: Condition) -> Story:
    return (
        [_sentence(standing.message)],
        [_command("resume", deployment) + " (and say the same in Git)"],
    )


def _gate(deployment: Deployment, standing: Condition) -> Story:
    what = [
        _sentence(standing.message),
        "spec.rollout.approval.required is true: no pod of it exists before somebody approves.",
    ]
    return what, [_command("approve", deployment), "or ask for another version in the spec"]


def _ready(deployment: Deployment, standing: Condition) -> Story:
    stable = deployment.stable
    if stable is None:
        return _by_message(deployment, standing)
    ended = next((e for e in deployment.history if e["revision"] == stable.revision), None)
    cause = f": {ended['cause']}" if ended is not None and ended.get("cause") else ""
    since = moment(str(stable.entry.get("since", "")))
    return [
        f"{stable} is what the spec asks for, and it serves since {since}{cause}.",
        _sentence(standing.message),
    ], []


def _by_message(deployment: Deployment, standing: Condition) -> Story:
    """A reason whose message says all: what, which object, and what to do."""
    next_ = _decisions(deployment)
    if standing.reason in _RETRIED:
        next_ = [f"{_command('retry', deployment)} ({_RETRIED[standing.reason]})"]
    return [_sentence(standing.message)], next_


def _decisions(deployment: Deployment) -> list[str]:
    """What a person may decide about the candidate, if there is one."""
    if deployment.stable is None or deployment.stage not in ("Starting", "Analysing", "Promoting"):
        return []
    return [
        _command("promote", deployment) + " (without the rest of the analysis)",
        _command("abort", deployment) + " (drop and quarantine it)",
    ]


def _command(verb: str, deployment: Deployment) -> str:
    return f"kubectl mooring {verb} {deployment.name} -n {deployment.namespace}"


def _sentence(message: str) -> str:
    return message if message.endswith((".", "…")) else f"{message}."


_RETRIED: Mapping[str, str] = {
    "CoolingDown": "to start it now",
    "RollbackBudgetExhausted": "to start it all the same, once you know why others failed",
    "PodUpdateFailed": "to try the same settings again",
}
"""What `retry` is for besides quarantine."""
_HELD_NEXT: Mapping[str, tuple[str, ...]] = {
    "AwaitingMetrics": (
        "look whether every pod is ready and can be reached by the operator on port 8081",
    ),
    "SampleRatioMismatch": ("look for pods that do not follow the route, and for open breakers",),
    "PredictionsDiffer": (
        "look at rows with different answers; if they are meant, raise"
        " rollout.analysis.maxDisagreement",
    ),
    "AnalysisUndecided": (
        "give it more traffic, wider margins or a longer maxDuration, or decide yourself",
    ),
}
_STORIES: Mapping[str, Callable[[Deployment, Condition], Story]] = {
    "RolledBack": _rolled_back,
    "Quarantined": _rolled_back,
    "Analysing": _in_analysis,
    "AwaitingMetrics": _held,
    "SampleRatioMismatch": _held,
    "PredictionsDiffer": _held,
    "AnalysisUndecided": _held,
    "UserPaused": _paused,
    "AwaitingApproval": _gate,
    "Initialized": _ready,
    "Promoted": _ready,
    "RollbackCleared": _ready,
}
