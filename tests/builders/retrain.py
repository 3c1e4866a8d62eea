"""RetrainPolicies with their deployment, Jobs and records, for tests of retraining decisions."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.model import Model
from mooring_operator.api.retrain import RetrainPolicy, RetrainPolicyStatus
from mooring_operator.core.decision import Decision
from mooring_operator.core.manifests.job import attempt_name
from mooring_operator.core.observation import (
    JobObservation,
    RecordObservation,
    RetrainObservation,
)
from mooring_operator.core.retrain.plan import decide
from tests.builders.registry import registry_model
from tests.builders.resources import CONFIG, DEPLOYMENT, EPOCH, IMAGE, NAMESPACE, digest_of
from tests.builders.resources import deployment as deployment_of
from tests.builders.resources import spec as deployment_spec

POLICY = "nightly"
DRIFT: Mapping[str, Any] = {"name": "drift", "drift": {}}
MONTHLY: Mapping[str, Any] = {"name": "monthly", "schedule": {"cron": "0 3 1 * *"}}
BY_HAND: Mapping[str, Any] = {"name": "by-hand", "manual": {}}
STABLE_REVISION = "a" * 12
LOG = {"uri": "s3://logs/flights", "secretName": "mooring-s3"}
OUTPUT = {"uri": "s3://models/retrained", "secretName": "mooring-s3"}


def policy(
    *triggers: Mapping[str, Any],
    status: RetrainPolicyStatus | None = None,
    annotation: str | None = None,
    generation: int = 1,
    **spec: Any,
) -> RetrainPolicy:
    """A policy with these triggers (all three kinds unless told)."""
    annotations = {} if annotation is None else {"mooring.dev/retrain": annotation}
    return RetrainPolicy.model_validate(
        {
            "metadata": {
                "name": POLICY,
                "namespace": NAMESPACE,
                "uid": "policy-uid",
                "generation": generation,
                "annotations": annotations,
            },
            "spec": {
                "deployment": {"name": DEPLOYMENT},
                "triggers": [dict(one) for one in triggers or (DRIFT, MONTHLY, BY_HAND)],
                "output": OUTPUT,
                **spec,
            },
            "status": RetrainPolicyStatus() if status is None else status,
        }
    )


def serving(
    version: str = "v1",
    *,
    drifted_at: datetime | None = None,
    drift_revision: str = STABLE_REVISION,
    drift_over: bool = False,
    bad_values: tuple[str, ...] = (),
    data_quality: str | None = None,
    candidate: str | None = None,
    log: Mapping[str, Any] | None = LOG,
) -> ModelDeployment:
    """The deployment that a policy watches; `bad_values` are signals such as Missing.

    `drift_over`: the alarm of `drifted_at` does not hold any more.
    """
    revision = {"uri": f"s3://models/{version}", "image": IMAGE, "digest": digest_of(version)}
    status: dict[str, Any] = {
        "stable": revision
        | {
            "revision": STABLE_REVISION,
            "version": version,
            "since": EPOCH,
            "seq": 1,
            "reason": "Promoted",
        },
        "conditions": [
            _condition("DataQuality", data_quality or str(not bad_values), "QualityChanged"),
            _condition("Drifted", str(drifted_at is not None and not drift_over), "InputDrift"),
        ],
    }
    if drifted_at is not None:
        status["drift"] = {"revision": drift_revision, "verdict": "Drifted", "at": drifted_at}
    if bad_values:
        signals = [{"name": "carrier", "kind": kind, "effect": 0.4} for kind in bad_values]
        watch = status.setdefault("drift", {"revision": STABLE_REVISION, "verdict": "NoData"})
        watch["dataQuality"] = signals
    if candidate is not None:
        status["candidate"] = revision | {
            "revision": "b" * 12,
            "version": candidate,
            "stage": "Analysing",
            "seq": 2,
            "startedAt": EPOCH,
            "stepStartedAt": EPOCH,
        }
    fields: dict[str, Any] = {} if log is None else {"predictionLog": dict(log)}
    return deployment_of(deployment_spec("v1", None, **fields), status)


def _condition(type_: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": "More bad values: carrier",
        "lastTransitionTime": EPOCH,
    }


def run_job(
    run: str,
    answer: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    finished: bool = True,
    succeeded: bool | None = None,
    started: datetime = EPOCH,
    failure: str = "",
) -> JobObservation:
    """A training Job; unless told, it succeeded if its answer compares two models."""
    compared = answer is not None and answer["verdict"] in ("Accepted", "Rejected", "Inconclusive")
    return JobObservation(
        name=attempt_name(run, attempt),
        uid=f"uid-{run}-{attempt}",
        created_at=started,
        finished=finished,
        succeeded=compared if succeeded is None else succeeded,
        message=answer,
        failure=failure,
    )


def comparison(run: str, verdict: str = "Accepted", **fields: Any) -> dict[str, Any]:
    """What `mooring train` writes after comparing champion and challenger."""
    won = verdict == "Accepted"
    return {
        "verdict": verdict,
        "version": run,
        "uri": f"s3://models/retrained/{run}" if won else None,
        "digest": digest_of(run) if won else None,
        "snapshotDigest": digest_of("snapshot"),
        "rows": {"train": 9000, "test": 2100},
        "blocks": 14,
        "metric": "logLoss",
        "champion": 0.517,
        "challenger": 0.505 if won else 0.515,
        "effect": 0.012 if won else 0.002,
        "lower": 0.004 if won else -0.006,
        "upper": 0.021 if won else 0.010,
        "message": "",
        **fields,
    }


def not_enough_rows() -> dict[str, Any]:
    """What `mooring train` writes when the data cannot carry a run."""
    return {
        "verdict": "Refused",
        "reason": "NotEnoughRows",
        "message": "the log has 1200 labelled rows, the policy asks for 5000",
        "remedy": "wait, or lower spec.data.minRows",
    }


def look(
    resource: RetrainPolicy,
    *,
    deployment: ModelDeployment | None = None,
    model: Model | None = None,
    jobs: Iterable[JobObservation] = (),
    records: Iterable[RecordObservation] = (),
    after: timedelta = timedelta(),
) -> Decision[RetrainPolicyStatus]:
    """The decision about a policy some time after the epoch, on a healthy deployment."""
    return look_at(
        resource,
        serving() if deployment is None else deployment,
        model=model,
        jobs=jobs,
        records=records,
        after=after,
    )


def look_at(
    resource: RetrainPolicy,
    deployment: ModelDeployment | None,
    *,
    model: Model | None = None,
    jobs: Iterable[JobObservation] = (),
    records: Iterable[RecordObservation] = (),
    after: timedelta = timedelta(),
) -> Decision[RetrainPolicyStatus]:
    """The same, also without a deployment."""
    observation = RetrainObservation(
        resource=resource,
        deployment=deployment,
        model=registry_model("v1") if model is None else model,
        jobs={job.name: job for job in jobs},
        records=tuple(records),
    )
    return decide(observation, CONFIG, EPOCH + after)


def written(resource: RetrainPolicy, status: RetrainPolicyStatus) -> RetrainPolicy:
    """The policy as the API server returns it after the status was written."""
    stored = RetrainPolicyStatus.model_validate(status.to_wire())
    return resource.model_copy(update={"status": stored})
