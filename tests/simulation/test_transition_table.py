"""Each row of the transition table (design, §3.3) has a golden transcript that shows it.

The transcripts themselves are compared with what the operator does by the tests that write them.
Here is told which one shows which row, by lines that must follow each other in it.
"""

import re
from dataclasses import dataclass

import pytest

from tests.simulation.transcript import GOLDEN


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    number: int
    start: str
    guard: str
    end: str
    golden: str
    shown: tuple[str, ...]
    """Patterns of lines, in this order."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.number:02} {self.start} -> {self.end}, {self.golden}"


ANALYSING = r"status  Reconciling/Analysing .* candidate v2 Analysing"
ROLLING_BACK = r"status  Reconciling/RollingBack .* stable v1 .* candidate v2 RollingBack"
ROLLED_BACK = r"status  Stalled/RolledBack .* stable v1 .* candidate - "
SERVES_V2 = r"status  Ready/Promoted .* stable v2 .* candidate - .* retired v1"

TABLE = (
    Row(
        1,
        "any",
        "deletionTimestamp",
        "Terminating",
        "deleted-mid-candidate",
        (ANALYSING, r"world   kubectl delete", r"^$"),
    ),
    Row(
        2,
        "any",
        "the spec is invalid",
        "Stalled",
        "weights-unreachable",
        (r"stable v1", r"status  Stalled/InvalidSpec .* stable v1", r"event   Warning InvalidSpec"),
    ),
    Row(
        2,
        "any",
        "Model or version missing",
        "Stalled",
        "unresolved-model",
        (r"Stalled/VersionNotFound .* stable v1", r"Stalled/ModelNotFound .* stable v1"),
    ),
    Row(
        3,
        "-",
        "nothing is stable",
        "Initializing",
        "good-candidate",
        (r"world   apply v1", r"status  Reconciling/Initializing .* stable - .* candidate v1"),
    ),
    Row(
        4,
        "Initializing",
        "all its pods are ready",
        "Stable",
        "good-candidate",
        (
            r"status  Reconciling/Initializing",
            r"status  Ready/Initialized .* stable v1 .* candidate -",
        ),
    ),
    Row(
        5,
        "Initializing",
        "progressDeadline",
        "Stalled",
        "first-revision-does-not-start",
        (
            r"status  Reconciling/Initializing",
            r"status  Stalled/ProgressDeadlineExceeded .* candidate v1",
        ),
    ),
    Row(
        6,
        "a candidate's stages",
        "stable is asked for",
        "Stable",
        "revert-mid-candidate",
        (ANALYSING, r"world   apply v1", r"Withdrawing .* v2", r"status  Ready/Initialized"),
    ),
    Row(
        6,
        "RolledBack",
        "stable is asked for",
        "Stable",
        "quarantined-reapply",
        (ROLLED_BACK, r"world   apply v1", r"status  Ready/RollbackCleared .* stable v1"),
    ),
    Row(
        7,
        "Stable",
        "the revision is in quarantine",
        "Stalled",
        "quarantined-reapply",
        (
            r"Ready/RollbackCleared",
            r"world   apply v2",
            r"status  Stalled/Quarantined .* stable v1",
        ),
    ),
    Row(
        8,
        "RolledBack",
        "another revision is asked for too soon",
        "CoolingDown",
        "cooldown",
        (
            ROLLED_BACK,
            r"world   apply v3",
            r"status  Reconciling/CoolingDown .* stable v1 .* candidate -",
            r"status  Reconciling/CandidateStarting .* candidate v3",
        ),
    ),
    Row(
        9,
        "Stable",
        "approval is required",
        "AwaitingApproval",
        "approval",
        (
            r"status  Ready/Initialized",
            r"world   apply v2",
            r"status  Reconciling/AwaitingApproval .* stable v1 .* candidate -",
            r"annotate mooring.dev/approve",
            r"status  Reconciling/CandidateStarting .* candidate v2",
        ),
    ),
    Row(
        10,
        "Stable",
        "another revision is asked for",
        "Starting",
        "good-candidate",
        (r"world   apply v2", r"status  Reconciling/CandidateStarting .* candidate v2 Starting"),
    ),
    Row(
        11,
        "Starting",
        "its pods are ready",
        "Analysing",
        "good-candidate",
        (r"candidate v2 Starting", r"candidate v2 Analysing step 1", r"route .* shadow 100% to"),
    ),
    Row(
        12,
        "Starting",
        "its pods do not start",
        "RollingBack",
        "startup-failure",
        (r"candidate v2 Starting", ROLLED_BACK, r"StartupFailed"),
    ),
    Row(
        13,
        "Analysing",
        "another revision is asked for",
        "Starting",
        "spec-changed-mid-candidate",
        (
            ANALYSING,
            r"world   apply v3",
            r"candidate v2 Withdrawing",
            r"status  Reconciling/CandidateStarting .* stable v1 .* candidate v3 Starting",
            r"Superseded",
        ),
    ),
    Row(
        14,
        "Analysing",
        "the verdict is Fail",
        "RollingBack",
        "bad-candidate-errors",
        (ANALYSING, ROLLING_BACK),
    ),
    Row(
        15,
        "Analysing",
        "the verdict is Pass",
        "Promoting",
        "good-candidate",
        (
            r"candidate v2 Analysing step 1",
            r"candidate v2 Analysing step 2",
            r"candidate v2 Analysing step 3",
            r"status  Reconciling/Promoting .* candidate v2 Promoting",
        ),
    ),
    Row(
        16,
        "Analysing",
        "undecided, onUndecided Pause",
        "Stalled",
        "undecided-pause",
        (ANALYSING, r"status  Stalled/AnalysisUndecided .* candidate v2 Analysing"),
    ),
    Row(
        16,
        "Analysing",
        "undecided, onUndecided Rollback",
        "RollingBack",
        "undecided-rollback",
        (ANALYSING, ROLLED_BACK, r"Undecided"),
    ),
    Row(
        16,
        "Analysing",
        "undecided, onUndecided Promote",
        "Promoting",
        "undecided-promote",
        (ANALYSING, r"event   Warning Promoting: .* undecided", SERVES_V2),
    ),
    Row(
        17,
        "Analysing",
        "counters are missing",
        "AwaitingMetrics",
        "metrics-missing",
        (
            r"candidate v2 Analysing step 2",
            r"status  Reconciling/AwaitingMetrics .* candidate v2 Analysing step 2",
            r"world   pods answer again",
            r"candidate v2 Analysing step 3",
        ),
    ),
    Row(
        18,
        "Promoting",
        "it has all the pods of stable",
        "Stable",
        "good-candidate",
        (r"candidate v2 Promoting", SERVES_V2, r"phase=Stable \(soaking\)"),
    ),
    Row(
        19,
        "Stable in rollback.window",
        "the runtime is blamed on it",
        "RollingBack",
        "runtime-blamed",
        (SERVES_V2, r"candidate v1 Probing", r"RollingBack: v2 .* is left for v1", ROLLED_BACK),
    ),
    Row(
        19,
        "Stable in rollback.window",
        "a drift is blamed on it",
        "RollingBack",
        "drift-blamed",
        (SERVES_V2, r"candidate v1 Probing", ROLLED_BACK, r"DriftBlamed"),
    ),
    Row(
        20,
        "RollingBack",
        "the traffic is away",
        "RolledBack",
        "bad-candidate-errors",
        (ROLLING_BACK, r"route   76e152bd4089 Stable$", ROLLED_BACK, r"RolledBack=True"),
    ),
    Row(
        21,
        "RollingBack",
        "the target does not start",
        "Stalled",
        "predecessor-unable",
        (r"candidate v1 Reverting", r"status  Stalled/NoHealthyRevision .* stable v2"),
    ),
    Row(
        22,
        "RolledBack",
        "another revision is asked for",
        "Starting",
        "quarantined-reapply",
        (
            r"status  Stalled/Quarantined",
            r"world   apply v3",
            r"status  Reconciling/CandidateStarting .* candidate v3 Starting",
        ),
    ),
)
ROWS = 22


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_transcript_shows_the_row(row: Row) -> None:
    lines = iter((GOLDEN / f"{row.golden}.log").read_text().splitlines())
    for pattern in row.shown:
        assert any(re.search(pattern, line) for line in lines), f"{pattern} does not follow"


def test_every_row_of_the_table_has_a_transcript() -> None:
    shown = {row.number for row in TABLE}
    assert shown == set(range(1, ROWS + 1))
