"""`decide` by values: a candidate that spreads its answers otherwise holds the rollout."""

from dataclasses import replace

import pytest

from mooring_operator.api.deployment import Analysis
from mooring_operator.core.observation import ArmCounts, PhaseCounts
from mooring_operator.core.rollout.distribution import in_words, judge_distribution
from mooring_operator.core.rollout.plan import decide
from tests.builders.observed import (
    arm,
    candidate,
    look,
    phase_of,
    pods,
    ref,
    stable,
    status,
    telemetry,
)
from tests.builders.resources import CONFIG, EPOCH, spec

EDGES = (0.25, 0.5, 0.75)
FLAT = (500, 500, 500, 500)
MOVED = (125, 125, 125, 1625)


def answered(counts: tuple[int, ...], edges: tuple[float, ...] = EDGES) -> ArmCounts:
    return replace(arm(sum(counts)), answer_edges=edges, answer_counts=counts)


@pytest.mark.parametrize(
    ("counts", "allowed", "step", "held"),
    [
        (MOVED, 0.2, 0, True),
        (MOVED, 0.2, 1, True),
        (MOVED, 0.6, 0, False),
        (FLAT, 0.2, 0, False),
        (MOVED, None, 0, False),
        (MOVED, None, 1, False),
    ],
)
def test_rollout_is_held_when_answers_move_more_than_is_allowed(
    counts: tuple[int, ...], allowed: float | None, step: int, held: bool
) -> None:
    rollout = {
        "steps": [{"shadow": 100, "minRows": 10}, {"weight": 50, "minRows": 10}, {"weight": 60}],
        "analysis": {} if allowed is None else {"maxDistributionShift": allowed},
    }
    moving = candidate("v2", "Analysing", step=step, analysis_started_at=EPOCH)
    before = status(stable=stable("v1"), desired=ref("v2"), candidate=moving)
    both = PhaseCounts(stable=answered(FLAT))
    if step == 0:
        both = replace(both, shadow=answered(counts))
    else:
        both = replace(both, candidate=answered(counts))
    phases = {phase_of(moving, rollout=rollout): both}
    decision = decide(
        look(
            before, pods("v1"), pods("v2"),
            wire_spec=spec("v2", rollout=rollout), telemetry=telemetry(phases=phases),
        ),
        CONFIG,
        EPOCH,
    )  # fmt: skip
    after, analysis = decision.status.candidate, decision.status.analysis
    assert after is not None
    assert analysis is not None
    assert after.step == (step if held else step + 1)
    assert (analysis.distribution is None) == (allowed is None)
    messages = [c.message for c in decision.status.conditions if c.reason == "PredictionsDiffer"]
    assert bool(messages) is held
    if held:
        assert "18.8% of its answers are below 0.75, of stable's 75.0%" in messages[0]
        assert "raise it" in messages[0]


def test_shares_are_compared_within_steps_when_the_world_moves_between_them() -> None:
    settings = Analysis(max_distribution_shift=0.1)
    low, high = (9000, 500), (500, 4500)
    few = (450, 25)
    pairs = [
        (answered(low, (0.5,)), answered(few, (0.5,)), 0.05),
        (answered(high, (0.5,)), answered(high, (0.5,)), 0.5),
    ]
    found = judge_distribution(settings, pairs)
    assert found is not None
    assert found.verdict != "Differs"
    assert found.stable_share == pytest.approx(found.candidate_share, abs=0.001)


def test_steps_that_were_binned_otherwise_are_left_out() -> None:
    settings = Analysis(max_distribution_shift=0.1)
    old = (answered(FLAT), answered(MOVED), 0.5)
    new = (answered((50, 50), (0.9,)), answered((40, 60), (0.9,)), 0.5)
    found = judge_distribution(settings, [old, new])
    assert found is not None
    assert (found.below, found.stable_rows, found.candidate_rows) == (0.9, 100, 100)
    assert judge_distribution(settings, [(arm(10), answered(FLAT), 0.5)]) is None


def test_words_name_score_shares_and_limits() -> None:
    settings = Analysis(max_distribution_shift=0.1)
    found = judge_distribution(settings, [(answered(FLAT), answered(MOVED), 0.5)])
    assert found is not None
    assert found.verdict == "Differs"
    assert 0.1 < found.lower < 0.5625 < found.upper
    assert "n=2000 against 2000" in in_words(found, 0.1)
