"""Models with their Jobs and records, for tests of the registry's decisions."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.model import Model, ModelStatus
from mooring_operator.core.decision import Decision, Manifest
from mooring_operator.core.manifests.job import attempt_name, verification_job_name
from mooring_operator.core.observation import JobObservation, ModelObservation, RecordObservation
from mooring_operator.core.registry.plan import decide
from tests.builders.resources import (
    CONFIG,
    EPOCH,
    IMAGE,
    MODEL,
    NAMESPACE,
    deployment,
    digest_of,
)

NEWEST = {"name": "live", "follow": "Newest"}


def declared(name: str, **fields: Any) -> dict[str, Any]:
    """One entry of spec.versions."""
    return {
        "name": name,
        "uri": f"s3://models/{MODEL}/{name}",
        "digest": digest_of(name),
        **fields,
    }


def registry_model(
    *versions: str | Mapping[str, Any],
    channels: Iterable[Mapping[str, Any]] = (),
    status: ModelStatus | None = None,
    generation: int = 1,
    **spec: Any,
) -> Model:
    """A Model that declares versions (names, or whole entries) and channels."""
    entries = [declared(one) if isinstance(one, str) else dict(one) for one in versions]
    return Model.model_validate(
        {
            "metadata": {
                "name": MODEL,
                "namespace": NAMESPACE,
                "uid": "model-uid",
                "generation": generation,
            },
            "spec": {
                "purpose": "Predict late arrivals",
                "versions": entries,
                "channels": [dict(channel) for channel in channels],
                **spec,
            },
            "status": ModelStatus() if status is None else status,
        }
    )


def verified_answer(version: str, digest: str | None = None) -> dict[str, Any]:
    """What `mooring verify` writes when all is well."""
    return {
        "verdict": "Verified",
        "digest": digest or digest_of(version),
        "format": "onnx",
        "task": "binary",
        "features": 30,
        "replayedRows": 100,
        "maxAbsoluteDifference": 1e-7,
        "latencyMs": {"p50": 0.2, "p99": 0.4},
        "peakMemoryBytes": 90_000_000,
        "metrics": [],
    }


def refused_answer(reason: str = "DigestMismatch") -> dict[str, Any]:
    """What `mooring fetch` and `mooring verify` write when they refuse."""
    return {
        "verdict": "Refused",
        "reason": reason,
        "message": "file model.onnx differs",
        "remedy": "publish the package again",
    }


def unavailable_answer(reason: str = "StoreUnreachable") -> dict[str, Any]:
    """What they write when the store does not answer."""
    return {
        "verdict": "Unavailable",
        "reason": reason,
        "message": "s3.example does not answer",
        "remedy": "check the endpoint",
    }


def verify_job(
    version: str,
    answer: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    finished: bool = True,
    succeeded: bool | None = None,
    started: datetime = EPOCH,
    failure: str = "",
    image: str = IMAGE,
) -> JobObservation:
    """A verification Job of a version; unless told, it succeeded if its answer says Verified."""
    said_so = answer is not None and answer["verdict"] == "Verified"
    base = verification_job_name(MODEL, version, digest_of(version), image)
    return JobObservation(
        name=attempt_name(base, attempt),
        uid=f"uid-{version}-{attempt}",
        created_at=started,
        finished=finished,
        succeeded=said_so if succeeded is None else succeeded,
        message=answer,
        failure=failure,
    )


def as_observed(manifest: Manifest, created_at: datetime = EPOCH) -> RecordObservation:
    """A record as it is found once it was created."""
    return RecordObservation(
        name=manifest["metadata"]["name"],
        record=manifest["metadata"]["labels"]["mooring.dev/record"],
        revision=manifest["revision"],
        created_at=created_at,
        data=manifest["data"],
    )


def verdict_record(
    version: str, seq: int, verdict: str = "Verified", **data: Any
) -> RecordObservation:
    """A recorded verdict."""
    return RecordObservation(
        name=f"{MODEL}-{version}-verdict-{seq}",
        record="verification",
        revision=seq,
        created_at=EPOCH,
        data={"verdict": verdict, "version": version, "digest": digest_of(version), **data},
    )


def version_record(version: str, seq: int = 1, **data: Any) -> RecordObservation:
    """A version that a run recorded."""
    return RecordObservation(
        name=f"{MODEL}-{version}-version-{seq}",
        record="version",
        revision=seq,
        created_at=EPOCH,
        data={
            "name": version,
            "uri": f"s3://models/retrained/{version}",
            "digest": digest_of(version),
            "run": version,
            "parents": [digest_of("v1")],
            **data,
        },
    )


def quarantining(version: str, digest: str | None = None) -> ModelDeployment:
    """A deployment that serves v1 and rolled another version back."""
    revision = {"revision": "a" * 12, "version": "v1", "digest": digest_of("v1")}
    entry = {
        "revision": "b" * 12,
        "version": version,
        "digest": digest or digest_of(version),
        "reason": "ErrorsIncreased",
        "evidence": "12 of 100 failed",
        "at": EPOCH,
        "rollbackId": "b-1",
        "image": IMAGE,
    }
    stable = revision | {
        "uri": "s3://models/v1",
        "image": IMAGE,
        "since": EPOCH,
        "seq": 1,
        "reason": "Promoted",
    }
    return deployment(status={"stable": stable, "quarantine": [entry]})


def look(
    resource: Model,
    *,
    jobs: Iterable[JobObservation] = (),
    records: Iterable[RecordObservation] = (),
    deployments: Iterable[ModelDeployment] = (),
    after: timedelta = timedelta(),
) -> Decision[ModelStatus]:
    """The decision about a Model some time after the epoch."""
    observation = ModelObservation(
        resource=resource,
        jobs={job.name: job for job in jobs},
        records=tuple(records),
        deployments=tuple(deployments),
    )
    return decide(observation, CONFIG, EPOCH + after)


def with_status(resource: Model, status: ModelStatus) -> Model:
    """The Model as the API server returns it after the status was written."""
    return resource.model_copy(update={"status": ModelStatus.model_validate(status.to_wire())})
