"""When each revision was let answer, by the operator's own times, and who answered when.

Both are compared after the fact: how long after a verdict the last answer of the former revision
came, and whether a quarantined one answered anything that was sent after every pod knew.
"""

from dataclasses import dataclass
from datetime import datetime

from tests.cluster.kubectl_watch import KubectlWatch
from tests.cluster.steady_load import Answer
from tests.cluster_tools.cluster import Cluster

FIELDS = (
    ".status.candidate.stage",
    ".status.candidate.stepStartedAt",
    ".status.candidate.revision",
    ".status.stable.revision",
    ".status.stable.since",
    ".status.lastRollback.fromRevision",
    ".status.lastRollback.at",
)
LINE = "jsonpath=" + "|".join("{" + field + "}" for field in FIELDS) + r'{"\n"}'
GETS_TRAFFIC = ("Analysing", "Promoting")
AWAY = ("RollingBack", "Withdrawing")


@dataclass(frozen=True)
class Verdict:
    """A revision lost its traffic.

    Attributes:
        at: When it was decided, wall-clock seconds.
        revision: The revision.
        kind: Flip, RollingBack or Withdrawing.
        until: When it was let answer again; infinity: never.
        known: When every pod had acknowledged it; None where the status does not say.
    """

    at: float
    revision: str
    kind: str
    until: float
    known: float | None


class RevisionLog:
    """Every status of a deployment that the API server told of, from its making on."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._watch = KubectlWatch(cluster, "mdep", name, "-n", namespace, "--watch", "-o", LINE)

    def close(self) -> None:
        """Ends the watch."""
        self._watch.close()

    def verdicts(self) -> list[Verdict]:
        """Every verdict so far, in order."""
        lines = self._statuses()
        found: dict[tuple[str, str], Verdict] = {}
        for index, now in enumerate(lines):
            stage, revision = now[".status.candidate.stage"], now[".status.candidate.revision"]
            if stage in AWAY:
                at = now[".status.candidate.stepStartedAt"]
                found.setdefault((revision, at), self._verdict(lines, index, revision, at, stage))
            before = lines[index - 1][".status.stable.revision"] if index else ""
            if before and before != now[".status.stable.revision"]:
                at = now[".status.stable.since"]
                found.setdefault((before, at), self._verdict(lines, index, before, at, "Flip"))
        return list(found.values())

    def _statuses(self) -> list[dict[str, str]]:
        texts = [line.strip().split("|") for line in self._watch.lines()]
        return [dict(zip(FIELDS, values, strict=False)) for values in texts]

    def _verdict(
        self,
        lines: list[dict[str, str]],
        index: int,
        revision: str,
        at: str,
        kind: str,
    ) -> Verdict:
        decided = seconds(at)
        known = None
        for later in lines[index:]:
            at_last = later[".status.lastRollback.at"]
            mine = later[".status.lastRollback.fromRevision"] == revision and at_last
            if kind == "RollingBack" and mine and seconds(at_last) >= decided:
                known = known or seconds(at_last)
            again = _let_answer(later, revision)
            if again is not None and again > decided:
                return Verdict(decided, revision, kind, again, known)
        return Verdict(decided, revision, kind, float("inf"), known)


def _let_answer(now: dict[str, str], revision: str) -> float | None:
    """Since when a revision may answer in this status; None: it may not."""
    if now[".status.stable.revision"] == revision:
        return seconds(now[".status.stable.since"])
    trying = now[".status.candidate.revision"] == revision
    if trying and now[".status.candidate.stage"] in GETS_TRAFFIC:
        return seconds(now[".status.candidate.stepStartedAt"])
    return None


def seconds(at: str) -> float:
    """Wall-clock seconds of a time of the status."""
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()


def time_away(verdict: Verdict, answers: list[Answer]) -> float:
    """Seconds from the verdict to the last answer of its revision; 0: none came after it."""
    late = [
        answer.received
        for answer in answers
        if answer.revision == verdict.revision and verdict.at < answer.received < verdict.until
    ]
    return max(late, default=verdict.at) - verdict.at


def answered_in_quarantine(verdict: Verdict, answers: list[Answer]) -> int:
    """Requests sent after every pod knew of the verdict that its revision answered."""
    if verdict.known is None:
        return 0
    return sum(
        1
        for answer in answers
        if answer.revision == verdict.revision and verdict.known < answer.sent < verdict.until
    )


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of them lies, the next larger one of those that there are.

    Raises:
        ValueError: there are none.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
