"""What a run says at its end: the termination message of contracts §7, and its exit code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mooring_model.errors import StoreUnavailable
from mooring_model.termination import ExitCode, write_termination
from mooring_training.comparison import Comparison, Metric, Verdict
from mooring_training.errors import Refused
from mooring_training.snapshot import SnapshotRecord

EXIT_JUDGED = 0
_LONGEST_TEXT = 1200


@dataclass(frozen=True)
class Outcome:
    """An exit code and the document that explains it."""

    exit_code: int
    document: dict[str, Any]


@dataclass(frozen=True)
class Published:
    """Where the accepted challenger's package lies."""

    uri: str
    digest: str


def judged(
    run: str,
    comparison: Comparison | None,
    *,
    metric: Metric,
    min_blocks: int,
    record: SnapshotRecord,
    published: Published | None,
) -> Outcome:
    """A verdict, with its evidence. Without test rows it is Inconclusive."""
    document: dict[str, Any] = {
        "verdict": Verdict.INCONCLUSIVE.value,
        "version": run,
        "uri": None if published is None else published.uri,
        "digest": None if published is None else published.digest,
        "snapshotDigest": record.digest,
        "rows": dict(record.rows),
        "blocks": 0,
        "metric": metric.value,
        "champion": None,
        "challenger": None,
        "effect": None,
        "lower": None,
        "upper": None,
        "message": "no labelled row is newer than the champion's training and the embargo",
    }
    if comparison is not None:
        document |= {
            "verdict": comparison.verdict.value,
            "blocks": comparison.blocks,
            "champion": comparison.champion,
            "challenger": comparison.challenger,
            "effect": comparison.effect,
            "lower": comparison.lower,
            "upper": comparison.upper,
            "message": describe(comparison, min_blocks=min_blocks),
        }
    return Outcome(EXIT_JUDGED, document)


def describe(comparison: Comparison, *, min_blocks: int) -> str:
    """The verdict in one sentence."""
    losses = (
        f"{comparison.metric.value} of the champion {comparison.champion:.4f}, of the challenger"
        f" {comparison.challenger:.4f} on the same {comparison.rows} later rows"
    )
    if comparison.blocks < min_blocks or comparison.lower is None or comparison.upper is None:
        return f"{losses}; only {comparison.blocks} of {min_blocks} blocks have rows: not judged"
    interval = f"[{comparison.lower:+.4f}, {comparison.upper:+.4f}]"
    match comparison.verdict:
        case Verdict.ACCEPTED:
            judgement = "better"
        case Verdict.REJECTED:
            judgement = "not better by what was asked"
        case Verdict.INCONCLUSIVE:
            judgement = "not decided by these rows"
    return (
        f"{losses}; gain {comparison.effect:+.4f} {interval} over {comparison.blocks} blocks:"
        f" {judgement}"
    )


def refused(error: Refused) -> Outcome:
    """Terminal: the same Job run again would say the same."""
    return Outcome(
        ExitCode.REFUSED,
        {
            "verdict": "Refused",
            "reason": error.reason.value,
            "message": error.message[:_LONGEST_TEXT],
            "remedy": error.remedy[:_LONGEST_TEXT],
        },
    )


def unavailable(error: StoreUnavailable) -> Outcome:
    """Transient: worth another Job."""
    return Outcome(
        ExitCode.UNAVAILABLE,
        {
            "verdict": "Unavailable",
            "reason": error.reason.value,
            "message": error.message[:_LONGEST_TEXT],
            "remedy": error.remedy[:_LONGEST_TEXT],
        },
    )


def report(outcome: Outcome, termination_log: Path) -> None:
    """Write the termination message where the kubelet asks for one; elsewhere do nothing."""
    if not termination_log.exists():
        return
    write_termination(outcome.document, termination_log)


def encode(outcome: Outcome) -> bytes:
    """A verdict as it is kept beside the snapshot, for a Job that is retried."""
    return json.dumps(outcome.document, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def decode(data: bytes) -> Outcome:
    """The verdict that an earlier attempt of the run kept.

    Raises:
        ValueError: These bytes are no such document.
    """
    document: object = json.loads(data)
    if not isinstance(document, dict) or "verdict" not in document:
        raise ValueError("not a verdict")
    return Outcome(EXIT_JUDGED, cast("dict[str, Any]", document))
