"""Observations for tests: pods, counters and whole looks at a deployment."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from mooring_operator.api.deployment_status import (
    CandidateStage,
    CandidateStatus,
    HistoryEntry,
    ModelDeploymentStatus,
    Outcome,
    QuarantineEntry,
    RevisionRef,
    StableStatus,
)
from mooring_operator.api.model import Model
from mooring_operator.core.decision import Route, RouteRole
from mooring_operator.core.observation import (
    ArmCounts,
    DeploymentObservation,
    PhaseCounts,
    RevisionObservation,
    TelemetryObservation,
)
from mooring_operator.core.revision import reference_fields, revision_hash
from mooring_operator.core.rollout.steps import phase_key
from mooring_operator.ids import Revision
from tests.builders.resources import EPOCH, IMAGE, MODEL, deployment, digest_of, model, spec

BOUNDS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)


def ref(version: str, image: str = IMAGE, **fields: Any) -> RevisionRef:
    """The revision of a version with an image."""
    digest = digest_of(version)
    return RevisionRef.model_validate(
        {
            "revision": revision_hash(digest, image),
            "version": version,
            "digest": digest,
            "uri": f"s3://models/{MODEL}/{version}",
            "image": image,
            **fields,
        }
    )


def stable(version: str = "v1", **fields: Any) -> StableStatus:
    """A stable revision since the epoch."""
    return StableStatus.model_validate(
        reference_fields(ref(version))
        | {"since": EPOCH, "seq": 1, "reason": "Initialized", **fields}
    )


def phase_of(
    counted: CandidateStatus, step: int | None = None, rollout: Mapping[str, Any] | None = None
) -> str:
    """What pods count a step by, in a rollout as the spec writes it or as nobody wrote it."""
    written: dict[str, Any] = {} if rollout is None else {"rollout": rollout}
    return phase_key(deployment(spec("v2") | written).spec.rollout.steps, counted, step)


def candidate(version: str = "v2", stage: str = "Analysing", **fields: Any) -> CandidateStatus:
    """A candidate that got traffic at the epoch, unless it is starting."""
    analysed = stage not in (CandidateStage.STARTING, CandidateStage.INITIALIZING)
    return CandidateStatus.model_validate(
        reference_fields(ref(version))
        | {
            "seq": 2,
            "stage": stage,
            "started_at": EPOCH,
            "step_started_at": EPOCH,
            "analysis_started_at": EPOCH if analysed else None,
            **fields,
        }
    )


def entry(
    version: str, seq: int, outcome: Outcome = Outcome.PROMOTED, **fields: Any
) -> HistoryEntry:
    """A rollout that began and ended at the epoch."""
    known = {"seq": seq, "outcome": outcome, "started_at": EPOCH, "ended_at": EPOCH}
    return HistoryEntry.model_validate(reference_fields(ref(version)) | known | fields)


def quarantined(version: str) -> QuarantineEntry:
    """A revision that was rolled back at the epoch as rollout 2."""
    found = ref(version)
    return QuarantineEntry(
        revision=found.revision,
        version=version,
        digest=found.digest,
        image=found.image,
        reason="ErrorsIncreased",
        evidence="errors +9 points",
        at=EPOCH,
        rollback_id="r-2",
    )


def status(**fields: Any) -> ModelDeploymentStatus:
    """A status that was written once."""
    return ModelDeploymentStatus(observed_generation=1).model_copy(update=fields)


def pods(version: str, ready: int = 2, replicas: int = 2, **fields: Any) -> RevisionObservation:
    """A revision's Deployment."""
    values: dict[str, Any] = {
        "revision": Revision(ref(version).revision),
        "created_at": EPOCH,
        "replicas": replicas,
        "ready": ready,
        "updated": replicas,
        "available": ready >= replicas,
    }
    return RevisionObservation(**(values | fields))


def arm(requests: int, errors: int = 0, invalid: int = 0, slow: int = 0) -> ArmCounts:
    """Counts of one arm; slow ones between 100 and 250 ms, others under 5 ms."""
    bins = [0] * (len(BOUNDS) + 1)
    bins[2], bins[7] = requests - slow, slow
    return ArmCounts(requests, requests, errors, invalid, BOUNDS, tuple(bins))


def telemetry(
    at: datetime = EPOCH + timedelta(minutes=1),
    routes: Mapping[Revision, tuple[Route | None, ...]] | None = None,
    phases: Mapping[str, PhaseCounts] | None = None,
    **fields: Any,
) -> TelemetryObservation:
    """A fresh and complete round of sync; stable pods acknowledged that nothing is forwarded."""
    acknowledged = routes or {Revision(ref("v1").revision): (Route(RouteRole.STABLE),) * 2}
    values: dict[str, Any] = {
        "at": at,
        "fresh": True,
        "stable": Revision(ref("v1").revision),
        "routes": acknowledged,
        "phases": phases or {},
    }
    return TelemetryObservation(**(values | fields))


def look(
    resource_status: ModelDeploymentStatus | None = None,
    *seen: RevisionObservation,
    wire_spec: Mapping[str, Any] | None = None,
    registry: Model | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> DeploymentObservation:
    """One look at the deployment, whose Model has v1 to v3 verified."""
    wire = None if resource_status is None else resource_status.to_wire()
    values: dict[str, Any] = {
        "resource": deployment(wire_spec or spec("v1"), wire, annotations=annotations),
        "environment": "prod",
        "model": registry or model("v1", "v2", "v3"),
        "revisions": {pod.revision: pod for pod in seen},
    }
    return DeploymentObservation(**(values | fields))
