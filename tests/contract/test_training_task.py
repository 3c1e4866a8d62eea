"""What the operator tells a training Job is what the trainer reads, field by field."""

from datetime import timedelta

from mooring_training.settings import parse_settings
from tests.builders.resources import digest_of
from tests.builders.retrain import BY_HAND, look, policy


def test_trainer_reads_the_task_that_the_operator_writes() -> None:
    data = {"window": "30d", "labelMaturity": "90m", "embargo": "0s"}
    decision = look(policy(BY_HAND, annotation="now", data=data))
    (job,) = decision.children
    (train,) = job["spec"]["template"]["spec"]["containers"]
    task = parse_settings(train["env"][0]["value"])
    assert decision.status.run is not None
    assert task.run == decision.status.run.name
    assert task.champion.digest == digest_of("v1")
    assert task.data.window == timedelta(days=30)
    assert task.data.label_maturity == timedelta(minutes=90)
    assert task.data.embargo == timedelta(0)
    assert task.tuning.max_trials == 12
    assert task.evaluation.block == timedelta(days=1)
    assert task.seed is not None
