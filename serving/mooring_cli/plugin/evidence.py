"""The numbers of a comparison in words: candidate against stable, by the status' own figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Wording:
    """How a metric's difference is told; the defaults are those of a share of requests."""

    worse: str
    better: str
    unit: str = " points"
    scale: float = 100.0
    digits: int = 2
    counted: str = "requests"


_WORDINGS = {
    "errors": Wording("failed {} more of its requests", "failed {} fewer of its requests"),
    "invalidOutputs": Wording(
        "gave invalid answers to {} more of its requests",
        "gave invalid answers to {} fewer of its requests",
    ),
    "latency": Wording(
        "was slow for {} more of its requests", "was slow for {} fewer of its requests"
    ),
    "loss": Wording(
        "had a labelled loss {} higher", "had a labelled loss {} lower", "", 1.0, 4, "labels"
    ),
}
_JUDGED = {
    "Fail": "worse than tolerated",
    "Pass": "not worse than tolerated",
    "Undecided": "cannot be told yet",
}


def comparison(analysis: Json, candidate: str, baseline: str) -> tuple[str, ...]:
    """One sentence for each metric, for the shares and for the differing answers."""
    told = [metric(entry, candidate, baseline) for entry in analysis.get("metrics") or ()]
    seen = [m for m in analysis.get("metrics") or () if m.get("estimate") is not None]
    confidences = {m["confidence"] for m in seen if m.get("confidence")}
    if len(confidences) == 1:
        told.append(
            f"Each of these limits holds at {100 * confidences.pop():.4g} %, however often one"
            " looks; both arms were seen in the same minutes."
        )
    ratio = analysis.get("sampleRatio")
    if ratio and ratio.get("verdict") == "Mismatched":
        told.append(
            f"shares: {candidate} answered {ratio['observed']} of {ratio['requests']} requests;"
            f" {ratio['expected']:.0f} were announced, so the arms cannot be compared."
        )
    differing = analysis.get("disagreement")
    if differing:
        told.append(
            f"answers: {candidate} answered {differing['disagreeing']} of {differing['rows']}"
            f" shadowed rows differently than {baseline} ({100 * differing['lower']:.2f} to"
            f" {100 * differing['upper']:.2f} %): {differing['verdict']}."
        )
    return tuple(told)


def metric(entry: Json, candidate: str, baseline: str) -> str:
    """One metric: what was seen, how sure it is, how much would be tolerated, of how many."""
    name, verdict = str(entry["name"]), str(entry["verdict"])
    judged = _JUDGED.get(verdict, verdict)
    wording = _WORDINGS.get(name, Wording("is {} higher", "is {} lower", "", 1.0, 4, "rows"))
    estimate = entry.get("estimate")
    counts = (
        f"{entry['candidateCount']} {wording.counted} of {candidate},"
        f" {entry['stableCount']} of {baseline}"
    )
    if estimate is None:
        return f"{name}, {judged}: nothing to compare yet ({counts})."
    size = f"{abs(wording.scale * estimate):.{wording.digits}f}{wording.unit}"
    seen = (wording.worse if estimate >= 0 else wording.better).format(size)
    limits = " to ".join(
        f"{wording.scale * entry[side]:+.{wording.digits}f}" for side in ("lower", "upper")
    )
    margin = entry.get("margin")
    tolerated = (
        ""
        if margin is None
        else f", {wording.scale * margin:.{wording.digits}f}{wording.unit} tolerated"
    )
    return f"{name}, {judged}: {candidate} {seen} than {baseline} ({limits}{tolerated}; {counts})."
