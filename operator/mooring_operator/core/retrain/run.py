"""How far the run under way has come: its Jobs, its answer, its record.

A run ends once everything that it produced is recorded: an accepted version exists as a
ControllerRevision before the run leaves the status, so that no crash loses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never, cast

from pydantic import ValidationError

from mooring_operator.api.group import Label
from mooring_operator.api.model import Model
from mooring_operator.api.retrain import RetrainPolicy, RunResult, RunStatus, Verdict
from mooring_operator.core.conditions import trimmed
from mooring_operator.core.decision import Manifest
from mooring_operator.core.manifests.job import attempt_name, attempt_of
from mooring_operator.core.observation import JobObservation, RetrainObservation
from mooring_operator.core.registry.answers import Refused, Unavailable
from mooring_operator.core.registry.records import (
    NewRecord,
    Records,
    RecordSort,
    VersionRecord,
    record_manifest,
    rfc3339,
    version_record_name,
)
from mooring_operator.core.retrain.answers import Comparison, Malformed, answer_of

MAX_ATTEMPTS = 3
"""Jobs of one run whose store did not answer."""
RETRY_DELAY = timedelta(minutes=1)
"""From the start of the first attempt to the start of the second; doubled for the third."""


@dataclass(frozen=True)
class Running:
    """The run goes on."""

    message: str
    job: str | None = None
    """The Job that must exist now."""
    retry_at: datetime | None = None


@dataclass(frozen=True)
class Recording:
    """The challenger won; its version is being recorded."""

    record: Manifest


@dataclass(frozen=True)
class Ended:
    """The run is over, and what it produced is recorded."""

    result: RunResult


Progress = Running | Recording | Ended


def advance(
    run: RunStatus, observation: RetrainObservation, records: Records, now: datetime
) -> Progress:
    """Where the run stands."""
    policy = observation.resource
    attempts = attempts_of(run.name, observation.jobs)
    job = attempts[max(attempts)] if attempts else None
    answer = None if job is None else answer_of(job)
    record = records.version_of_run(run.name)
    if record is not None:
        comparison = answer if isinstance(answer, Comparison) else recorded_comparison(record)
        return Ended(accepted(policy, run, record, comparison, now))
    if job is None:
        return _start(run, observation, 1, f"Job {run.name} is starting", now)
    if not job.finished:
        waiting = f": {job.failure}" if job.failure else ""
        return Running(f"Job {job.name} is under way{waiting}")
    match answer:
        case Comparison() if answer.verdict == Verdict.ACCEPTED.value:
            return _record(run, observation, records, answer, now)
        case Comparison():
            return Ended(_result(policy, run, Verdict(answer.verdict), now, comparison=answer))
        case Refused():
            text = f"{answer.reason}: {answer.text}"
            return Ended(_result(policy, run, Verdict.REFUSED, now, message=text))
        case Unavailable():
            return _next_attempt(run, observation, max(attempts), job, answer, now)
        case Malformed():
            return Ended(_failed(policy, run, f"Job {job.name}: {answer.message}", now))
        case None:
            cause = job.failure or "it ended without an answer"
            return Ended(_failed(policy, run, f"Job {job.name} failed: {cause}", now))
        case _:
            assert_never(answer)


def attempts_of(run: str, jobs: Mapping[str, JobObservation]) -> dict[int, JobObservation]:
    """The Jobs of a run that exist, by attempt."""
    numbered = {attempt_of(run, name): job for name, job in jobs.items()}
    return {number: job for number, job in numbered.items() if number is not None}


def accepted(
    policy: RetrainPolicy,
    run: RunStatus,
    record: VersionRecord,
    comparison: Comparison,
    now: datetime,
) -> RunResult:
    """The result of a run whose version is recorded."""
    result = _result(policy, run, Verdict.ACCEPTED, now, comparison=comparison)
    return result.model_copy(
        update={"version": record.data.name, "digest": record.data.digest},
    )


def recorded_comparison(record: VersionRecord) -> Comparison:
    """The evidence in a version's record, for a run whose Job is gone."""
    raw = record.raw.get("evaluation")
    evidence: Mapping[str, Any] = (
        cast("Mapping[str, Any]", raw) if isinstance(raw, Mapping) else dict[str, Any]()
    )
    won = {"verdict": Verdict.ACCEPTED.value}
    try:
        return Comparison.model_validate({**evidence, **won})
    except ValidationError:
        return Comparison.model_validate(won)


def _start(
    run: RunStatus, observation: RetrainObservation, attempt: int, message: str, now: datetime
) -> Progress:
    """The Job of an attempt, if what it trains from is still there."""
    deployment = observation.deployment
    job = attempt_name(run.name, attempt)
    if deployment is not None and deployment.spec.prediction_log is not None:
        return Running(message, job=job)
    missing = "the deployment" if deployment is None else "the deployment's predictionLog"
    return Ended(
        _failed(observation.resource, run, f"{missing} was removed before Job {job} ran", now)
    )


def _next_attempt(
    run: RunStatus,
    observation: RetrainObservation,
    number: int,
    job: JobObservation,
    answer: Unavailable,
    now: datetime,
) -> Progress:
    cause = f"{answer.reason}: {answer.text}"
    if number >= MAX_ATTEMPTS:
        message = f"{cause} (after {number} attempts)"
        return Ended(_failed(observation.resource, run, message, now))
    due = job.created_at + RETRY_DELAY * 2 ** (number - 1)
    message = f"attempt {number} of {MAX_ATTEMPTS} ended with {cause}"
    if now < due:
        return Running(f"{message}; the next starts at {rfc3339(due)}", retry_at=due)
    return _start(run, observation, number + 1, message, now)


def _record(
    run: RunStatus,
    observation: RetrainObservation,
    records: Records,
    answer: Comparison,
    now: datetime,
) -> Progress:
    policy, model = observation.resource, observation.model
    if model is None:
        message = "the challenger won, but the Model was removed: its version belongs to nothing"
        return Ended(_failed(policy, run, message, now))
    if answer.version != run.name or answer.uri is None or answer.digest is None:
        message = "the Job's answer names no package of this run: run the operator and the"
        message += " training image of the same release"
        return Ended(_failed(policy, run, message, now))
    return Recording(version_record(model, policy, run, answer, seq=records.next_version, now=now))


def version_record(
    model: Model,
    policy: RetrainPolicy,
    run: RunStatus,
    answer: Comparison,
    *,
    seq: int,
    now: datetime,
) -> Manifest:
    """The version that a run produced, with its evidence, as an object to create."""
    evaluation = answer.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        exclude={"version", "uri", "digest", "snapshot_digest"},
    )
    data: dict[str, Any] = {
        "name": run.name,
        "uri": answer.uri,
        "digest": answer.digest,
        "parents": [run.champion.digest],
        "run": run.name,
        "policy": policy.metadata.name,
        "trigger": run.trigger,
        "token": run.token,
        "championVersion": run.champion.version,
        "evaluation": evaluation | {"alpha": policy.spec.evaluation.alpha},
        "recordedAt": rfc3339(now),
    }
    if answer.snapshot_digest is not None:
        data["snapshotDigest"] = answer.snapshot_digest
    if policy.spec.output.secret_name is not None:
        data["secretName"] = policy.spec.output.secret_name
    return record_manifest(
        model,
        NewRecord(
            name=version_record_name(model.metadata.name, run.name),
            sort=RecordSort.VERSION,
            version=run.name,
            seq=seq,
            data=data,
            labels={Label.RETRAIN_POLICY.value: policy.metadata.name},
        ),
    )


def _result(
    policy: RetrainPolicy,
    run: RunStatus,
    verdict: Verdict,
    now: datetime,
    *,
    comparison: Comparison | None = None,
    message: str = "",
) -> RunResult:
    result = RunResult(
        run=run.name,
        trigger=run.trigger,
        verdict=verdict,
        ended_at=now,
        generation=policy.metadata.generation,
        message=trimmed(message),
    )
    if comparison is None:
        return result
    return result.model_copy(
        update={
            "snapshot_digest": comparison.snapshot_digest or "",
            "metric": comparison.metric,
            "champion": comparison.champion,
            "challenger": comparison.challenger,
            "effect": comparison.effect,
            "lower": comparison.lower,
            "upper": comparison.upper,
            "blocks": comparison.blocks,
            "train_rows": comparison.rows.train,
            "test_rows": comparison.rows.test,
            "message": trimmed(comparison.message),
        }
    )


def _failed(policy: RetrainPolicy, run: RunStatus, message: str, now: datetime) -> RunResult:
    return _result(policy, run, Verdict.FAILED, now, message=message)
