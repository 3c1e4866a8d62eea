"""Jobs as values: the verification of one version, and one training run.

Pure builders. Both Jobs run the serving image without a token, as a user, on a read-only root;
credentials come only from Secrets of the same namespace that the resource names. A Job is
created once and never changed; a further try is another Job with the attempt's number.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mooring_operator.api.base import Metadata, ResourceRequirements, parse_duration
from mooring_operator.api.group import API_VERSION, MANAGED_BY, Kind, Label
from mooring_operator.api.model import Model
from mooring_operator.api.retrain import RetrainPolicy
from mooring_operator.core.decision import Manifest, OperatorConfig
from mooring_operator.core.manifests.literal import literal_container
from mooring_operator.core.manifests.workload import (
    CODE_ALLOWED,
    MODEL_DIRECTORY,
    MODEL_VOLUME,
    USER,
    claim_of,
)

FETCH = "fetch"
"""Init container of a verification: checks digests and format, never loads the model."""
VERIFY = "verify"
"""Container of a verification: loads the model and replays the samples."""
TRAIN = "train"
"""Container of a training run."""
TRAINING_VARIABLE = "MOORING_TRAINING"

SCRATCH = "/tmp"  # noqa: S108 the pod's own
CLAIMS_DIRECTORY = "/mnt/pvc"
PACKAGE_SIZE_LIMIT = "4Gi"
"""Largest package that a verification can hold."""
VERIFY_SCRATCH_LIMIT = "1Gi"
TRAIN_SCRATCH_LIMIT = "8Gi"
"""Room for the snapshot of a run."""
VERIFY_TTL = timedelta(hours=1)
"""Finished verifications stay this long for people to read; their verdict is in a record."""
VERIFY_RESOURCES = ResourceRequirements.of(cpu="100m", memory="256Mi", memory_limit="1Gi")
HASH_LENGTH = 8


def short_hash(*parts: str) -> str:
    """8 hex digits that name a tuple of strings, for deterministic names of children."""
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def attempt_name(base: str, attempt: int) -> str:
    """The Job of an attempt: the first has the bare name, later ones its number."""
    return base if attempt == 1 else f"{base}-{attempt}"


def attempt_of(base: str, name: str) -> int | None:
    """Which attempt a Job's name says it is; None: it is no Job of this base."""
    if name == base:
        return 1
    prefix, _, number = name.rpartition("-")
    if prefix != base or not number.isdecimal() or number.startswith("0"):
        return None
    return int(number) if int(number) > 1 else None


def verification_job_name(model: str, version: str, digest: str, image: str) -> str:
    """The first attempt's Job for one version under one image."""
    return f"{model}-verify-{short_hash(version, digest, image)}"


@dataclass(frozen=True)
class VerificationTask:
    """What one verification Job checks."""

    job: str
    version: str
    digest: str
    uri: str
    secret_name: str | None = None
    code_allowed: bool = False
    """Whether a package of format python may be run."""


def verification_job(model: Model, task: VerificationTask, config: OperatorConfig) -> Manifest:
    """The Job that fetches, checks, loads and replays one version."""
    labels = {
        Label.MANAGED_BY.value: MANAGED_BY,
        Label.MODEL.value: model.metadata.name,
        Label.MODEL_VERSION.value: task.version,
    }
    fetch = _container(FETCH, config, VERIFY_RESOURCES)
    fetch["args"] = ["--uri", task.uri, "--digest", task.digest, "--out", MODEL_DIRECTORY]
    fetch["envFrom"] = _environment_sources([task.secret_name])
    fetch["volumeMounts"] = [
        _mount("model", MODEL_VOLUME),
        _mount("tmp", SCRATCH),
        *_claim_mounts(task.uri),
    ]
    verify = _container(VERIFY, config, VERIFY_RESOURCES)
    verify["args"] = [MODEL_DIRECTORY]
    verify["volumeMounts"] = [
        _mount("model", MODEL_VOLUME, read_only=True),
        _mount("tmp", SCRATCH),
    ]
    if task.code_allowed:
        for container in (fetch, verify):
            container["env"] = [dict(CODE_ALLOWED)]
    volumes = [
        _empty("model", PACKAGE_SIZE_LIMIT),
        _empty("tmp", VERIFY_SCRATCH_LIMIT),
        *_claim_volumes(task.uri),
    ]
    spec = _job_spec(
        _pod(labels, [verify], volumes, init=[fetch]),
        deadline=parse_duration(model.spec.verification.timeout),
    )
    spec["ttlSecondsAfterFinished"] = int(VERIFY_TTL.total_seconds())
    return _job(task.job, labels, Kind.MODEL, model.metadata) | {"spec": spec}


@dataclass(frozen=True)
class TrainingTask:
    """What one training Job is told."""

    job: str
    model: str
    settings: Mapping[str, Any]
    """The document of contract §7."""
    secrets: tuple[str | None, ...] = ()
    """Credentials, least important first: where two define a variable, the later one counts."""
    champion_uri: str = ""


def training_job(policy: RetrainPolicy, task: TrainingTask, config: OperatorConfig) -> Manifest:
    """The Job of one run: snapshot, tune, train, compare, package."""
    labels = {
        Label.MANAGED_BY.value: MANAGED_BY,
        Label.RETRAIN_POLICY.value: policy.metadata.name,
        Label.MODEL.value: task.model,
    }
    settings = json.dumps(
        task.settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    train = _container(TRAIN, config, policy.spec.job.resources)
    train["env"] = [{"name": TRAINING_VARIABLE, "value": settings}]
    train["envFrom"] = _environment_sources(task.secrets)
    train["volumeMounts"] = [_mount("tmp", SCRATCH), *_claim_mounts(task.champion_uri)]
    volumes = [_empty("tmp", TRAIN_SCRATCH_LIMIT), *_claim_volumes(task.champion_uri)]
    spec = _job_spec(
        _pod(labels, [train], volumes), deadline=parse_duration(policy.spec.job.deadline)
    )
    # A drained or preempted node is no fault of the run: its pod is replaced.
    spec["podFailurePolicy"] = {
        "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
    }
    return _job(task.job, labels, Kind.RETRAIN_POLICY, policy.metadata) | {"spec": spec}


def owner_reference(kind: Kind, owner: Metadata) -> Manifest:
    """The reference by which Kubernetes deletes a child with its owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind.value,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _job(name: str, labels: Mapping[str, str], kind: Kind, owner: Metadata) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": dict(labels),
            "ownerReferences": [owner_reference(kind, owner)],
        },
    }


def _job_spec(template: Manifest, *, deadline: timedelta) -> Manifest:
    return {
        "backoffLimit": 0,
        "activeDeadlineSeconds": max(1, int(deadline.total_seconds())),
        "template": template,
    }


def _pod(
    labels: Mapping[str, str],
    containers: list[Manifest],
    volumes: list[Manifest],
    *,
    init: list[Manifest] | None = None,
) -> Manifest:
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [literal_container(container) for container in containers],
        "volumes": volumes,
    }
    if init:
        spec["initContainers"] = [literal_container(container) for container in init]
    return {"metadata": {"labels": dict(labels)}, "spec": spec}


def _container(name: str, config: OperatorConfig, resources: ResourceRequirements) -> Manifest:
    """A container that runs the subcommand of its own name."""
    return {
        "name": name,
        "image": config.serving_image,
        "imagePullPolicy": config.image_pull_policy,
        "command": ["mooring", name],
        "resources": resources.to_wire(),
        # What a crashed container said last is worth more than its exit code.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _environment_sources(secrets: Iterable[str | None]) -> list[Manifest]:
    """`envFrom` of the Secrets, each once, at its last place."""
    named = [secret for secret in secrets if secret]
    kept = [name for place, name in enumerate(named) if name not in named[place + 1 :]]
    return [{"secretRef": {"name": name}} for name in kept]


def _mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    mount: Manifest = {"name": name, "mountPath": path}
    return mount | {"readOnly": True} if read_only else mount


def _empty(name: str, limit: str) -> Manifest:
    return {"name": name, "emptyDir": {"sizeLimit": limit}}


def _claim_mounts(uri: str) -> list[Manifest]:
    claim = claim_of(uri)
    if claim is None:
        return []
    return [_mount("package", f"{CLAIMS_DIRECTORY}/{claim}", read_only=True)]


def _claim_volumes(uri: str) -> list[Manifest]:
    claim = claim_of(uri)
    if claim is None:
        return []
    source = {"claimName": claim, "readOnly": True}
    return [{"name": "package", "persistentVolumeClaim": source}]
