"""What a run is told (contract §7), and what in a policy's spec cannot work."""

from typing import Any

from mooring_operator.api.base import parse_duration
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.prediction_log import PredictionLog
from mooring_operator.api.retrain import RetrainPolicy, RetrainPolicySpec, RunStatus
from mooring_operator.core.manifests.job import HASH_LENGTH, TrainingTask
from mooring_operator.core.retrain.cron import cron_problem

SEED_LIMIT = 2**31


def spec_problem(spec: RetrainPolicySpec) -> str | None:
    """The first field that the API server accepts and no run could use, with the remedy."""
    for trigger in spec.triggers:
        problem = None if trigger.schedule is None else cron_problem(trigger.schedule.cron)
        if problem is not None:
            return (
                f"spec.triggers[name={trigger.name}].schedule.cron: {problem};"
                " write five fields, for example '0 3 1 * *'"
            )
    return _duration_problem(spec)


def _duration_problem(spec: RetrainPolicySpec) -> str | None:
    lengths = {
        "spec.data.window": spec.data.window,
        "spec.data.testWindow": spec.data.test_window,
        "spec.tuning.timeout": spec.tuning.timeout,
        "spec.evaluation.block": spec.evaluation.block,
        "spec.job.deadline": spec.job.deadline,
    }
    for field, text in lengths.items():
        if not parse_duration(text):
            return f"{field} is {text}: write a duration above 0"
    held_back = parse_duration(spec.data.test_window) + parse_duration(spec.data.embargo)
    if held_back >= parse_duration(spec.data.window):
        return (
            f"spec.data.window is {spec.data.window}, which testWindow {spec.data.test_window} and"
            f" embargo {spec.data.embargo} use up: make the window longer"
        )
    return None


def training_task(
    policy: RetrainPolicy,
    run: RunStatus,
    deployment: ModelDeployment,
    log: PredictionLog,
    job: str,
) -> TrainingTask:
    """The Job of one attempt of a run."""
    spec, champion = policy.spec, run.champion
    settings: dict[str, Any] = {
        "run": run.name,
        "model": deployment.spec.model.name,
        "namespace": policy.metadata.namespace,
        "deployment": deployment.metadata.name,
        "champion": {
            "version": champion.version,
            "uri": champion.uri,
            "digest": champion.digest,
        },
        "log": {"uri": log.uri},
        "output": {"uri": spec.output.uri},
        "data": spec.data.to_wire(),
        "tuning": spec.tuning.to_wire(),
        "evaluation": spec.evaluation.to_wire(),
        "seed": int(run.name[-HASH_LENGTH:], 16) % SEED_LIMIT,
    }
    return TrainingTask(
        job=job,
        model=deployment.spec.model.name,
        settings=settings,
        secrets=(champion.secret_name, log.secret_name, spec.output.secret_name),
        champion_uri=champion.uri,
    )
