"""Which revision the spec asks for: by version or by channel, through the Model's status."""

from mooring_operator.api.base import parse_duration
from mooring_operator.api.conditions import Reason
from mooring_operator.api.deployment import AnalysisMetric, ModelDeploymentSpec
from mooring_operator.api.deployment_status import ModelDeploymentStatus, RevisionRef
from mooring_operator.api.model import Model, VersionPhase, VersionStatus
from mooring_operator.core.conditions import Standing, reconciling, stalled
from mooring_operator.core.decision import OperatorConfig
from mooring_operator.core.manifests.log import log_problem
from mooring_operator.core.manifests.runtime import runtime_problem
from mooring_operator.core.observation import DeploymentObservation
from mooring_operator.core.revision import pinned, revision_hash
from mooring_operator.core.rollout.analysis import LATENCY_LIMIT
from mooring_operator.core.rollout.reach import traffic_problem
from mooring_operator.core.rollout.turn import Resolution, Resolved, Unresolved

SHOWN = 8
"""How many known names a message lists."""


def resolve(
    observation: DeploymentObservation, status: ModelDeploymentStatus, config: OperatorConfig
) -> Resolution:
    """The revision that the spec asks for, or why there is none and what to do."""
    spec = observation.resource.spec
    problem = spec_problem(spec)
    if problem is not None:
        return Unresolved(stalled(Reason.INVALID_SPEC, problem))
    model = observation.model
    if model is None:
        where = observation.resource.metadata.namespace
        return Unresolved(
            stalled(
                Reason.MODEL_NOT_FOUND,
                f"Model {spec.model.name} does not exist in namespace {where}: apply it there",
            )
        )
    version = _version_name(spec, model)
    if isinstance(version, Standing):
        return Unresolved(version)
    found = _verified(version, model)
    if isinstance(found, Standing):
        return Unresolved(found)
    known = pinned(status, found.digest)
    image = known[1] if known else config.serving_image
    return Resolved(
        RevisionRef(
            revision=known[0] if known else revision_hash(found.digest, image),
            version=found.name,
            digest=found.digest,
            uri=found.uri,
            secret_name=found.secret_name,
            image=image,
        )
    )


def spec_problem(spec: ModelDeploymentSpec) -> str | None:
    """What is wrong with a spec that the API server cannot see, with the remedy."""
    analysis = spec.rollout.analysis
    if (
        AnalysisMetric.LATENCY in analysis.metrics
        and parse_duration(analysis.latency_threshold) > LATENCY_LIMIT
    ):
        return (
            f"spec.rollout.analysis.latencyThreshold is {analysis.latency_threshold}: pods measure"
            " latencies up to 1s; set at most 1s, or take latency out of metrics"
        )
    return (
        traffic_problem(spec) or runtime_problem(spec.runtime) or log_problem(spec.prediction_log)
    )


def _version_name(spec: ModelDeploymentSpec, model: Model) -> str | Standing:
    reference = spec.model
    if reference.version is not None:
        return reference.version
    channel = next((c for c in model.status.channels if c.name == reference.channel), None)
    if channel is not None:
        return channel.version
    if any(declared.name == reference.channel for declared in model.spec.channels):
        return reconciling(
            Reason.AWAITING_MODEL,
            f"Channel {reference.channel} of Model {reference.name} points to no verified version"
            " yet",
        )
    known = _listed([declared.name for declared in model.spec.channels])
    return stalled(
        Reason.CHANNEL_NOT_FOUND,
        f"Model {reference.name} has no channel {reference.channel}: it has {known}; add the"
        " channel to the Model, or correct spec.model.channel",
    )


def _verified(name: str, model: Model) -> VersionStatus | Standing:
    model_name = model.metadata.name
    found = next((known for known in model.status.versions if known.name == name), None)
    if found is None:
        if any(declared.name == name for declared in model.spec.versions):
            return _awaiting(model_name, name, VersionPhase.PENDING)
        known = _listed([version.name for version in model.status.versions])
        return stalled(
            Reason.VERSION_NOT_FOUND,
            f"Model {model_name} has no version {name}: it has {known}; add the version to the"
            " Model, or correct spec.model.version",
        )
    if found.phase is VersionPhase.REFUSED:
        return stalled(
            Reason.VERSION_REFUSED,
            f"Version {name} of Model {model_name} was refused ({found.reason}: {found.message});"
            " publish a corrected package as a new version and name that one",
        )
    if found.phase is not VersionPhase.VERIFIED:
        return _awaiting(model_name, name, found.phase)
    return found


def _awaiting(model: str, version: str, phase: VersionPhase) -> Standing:
    return reconciling(
        Reason.AWAITING_MODEL,
        f"Version {version} of Model {model} is {phase.value}: waiting for its verification",
    )


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[-SHOWN:]) + more
