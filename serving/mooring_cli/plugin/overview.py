"""`status` and `history`: one deployment on one screen."""

from collections.abc import Iterator

from mooring_cli.plugin.view import Deployment, Json, Revision, inside
from mooring_cli.plugin.words import moment, table

_LONGEST_CAUSE = 100


def status(deployment: Deployment) -> str:
    """A readable block: where it stands, what serves, what is let in, what is held back."""
    standing = deployment.standing
    since = f" since {moment(standing.since)}" if standing.since else ""
    head = f"{deployment.name} in {deployment.namespace}: {standing.reason or 'New'}{since}"
    width = max(len(name) for name, _ in _rows(deployment))
    lines = [f"  {name.ljust(width)}   {value}" for name, value in _rows(deployment)]
    return "\n".join([head, f"  {standing.message}", "", *lines])


def history(deployment: Deployment) -> str:
    """Ended rollouts, newest first, and which of them can be gone back to."""
    if not deployment.history:
        return f"{deployment.name} in {deployment.namespace}: no rollout has ended yet"
    rows = [("SEQ", "VERSION", "REVISION", "OUTCOME", "ENDED", "NOW", "CAUSE")]
    rows += [
        (
            str(entry.get("seq", "")),
            str(entry.get("version", "")),
            str(entry.get("revision", "")),
            str(entry.get("outcome", "")),
            moment(str(entry.get("endedAt", ""))),
            _role(deployment, str(entry.get("revision", ""))),
            _cause(entry),
        )
        for entry in deployment.history
    ]
    return table(rows)


def _rows(deployment: Deployment) -> Iterator[tuple[str, str]]:
    yield "asked for", _asked(deployment)
    yield "serves", _serves(deployment)
    if deployment.candidate is not None:
        yield "candidate", _candidate(deployment, deployment.candidate)
    if deployment.retired is not None:
        until = moment(str(deployment.retired.entry.get("keepUntil", "")))
        yield "warm", f"{deployment.retired} until {until}"
    for entry in deployment.quarantine:
        held = f"{entry['version']} ({entry['revision']})"
        yield "quarantine", f"{held} {entry['reason']}, {moment(str(entry['at']))}"
    if deployment.paused:
        yield "paused", "spec.paused is true"
    for type_ in ("Available", "MetricsAvailable", "Drifted", "DataQuality", "Quality"):
        found = deployment.condition(type_)
        if found is not None:
            yield type_, f"{found.status} ({found.reason})"
    last = deployment.last_verb
    if last:
        yield "last verb", f"{last['verb']}={last['token']}: {last['outcome']}"


def _asked(deployment: Deployment) -> str:
    model = inside(deployment.spec, "model")
    by = f"version {model['version']}" if "version" in model else f"channel {model.get('channel')}"
    desired = deployment.desired
    resolved = "resolves to nothing that may serve" if desired is None else str(desired)
    stale = "" if deployment.observed else "; the operator has not looked at the newest spec yet"
    return f"{by} of Model {model.get('name')}: {resolved}{stale}"


def _serves(deployment: Deployment) -> str:
    stable = deployment.stable
    if stable is None:
        return "nothing yet"
    pods = deployment.status.get("ready") or "?"
    return f"{stable}, {pods} pods ready, since {moment(str(stable.entry.get('since', '')))}"


def _candidate(deployment: Deployment, candidate: Revision) -> str:
    told = f"{candidate} {deployment.stage}"
    if deployment.stage not in ("Analysing", "Promoting") or not deployment.steps:
        return told
    total = len(deployment.steps)
    step = min(int(candidate.entry.get("step", 0)), total - 1)
    share = deployment.status.get("weight") or "0%"
    analysis = inside(deployment.status, "analysis")
    if analysis.get("candidate") != candidate.revision:
        return f"{told}, step {step + 1} of {total}, {share}"
    needed = deployment.steps[step].get("minRows", 100)
    rows = f"{analysis.get('rows', 0)} of {needed} rows"
    return f"{told}, step {step + 1} of {total}, {share}, {rows}, {analysis.get('verdict')}"


def _role(deployment: Deployment, revision: str) -> str:
    """What a revision of the history is today."""
    if deployment.stable is not None and deployment.stable.revision == revision:
        return "serves"
    if deployment.candidate is not None and deployment.candidate.revision == revision:
        return "candidate"
    if deployment.in_quarantine(revision) is not None:
        return "quarantine"
    if deployment.retired is not None and deployment.retired.revision == revision:
        return "warm"
    return "-"


def _cause(entry: Json) -> str:
    cause = str(entry.get("cause", ""))
    approval = entry.get("approval")
    if approval:
        cause += f"; approved: {approval['token']} at {moment(str(approval['at']))}"
    return cause if len(cause) <= _LONGEST_CAUSE else f"{cause[: _LONGEST_CAUSE - 1]}…"
