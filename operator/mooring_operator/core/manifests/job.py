"""Jobs as values: the verification of one version, and one training run.

Pure builders. Both Jobs run the serving image without a token, as a user, on a read-only root;
credentials come only from Secrets of the same namespace that the resource names. A Job is
created once and never changed; a further try is another Job with the attempt's number.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from mooring_operator.api.base import ResourceRequirements, parse_duration
from mooring_operator.api.group import API_VERSION, MANAGED_BY, Kind, Label
from mooring_operator.api.model import Model
from mooring_operator.api.retrain import RetrainPolicy
from mooring_operator.core.decision import Manifest, OperatorConfig

FETCH = "fetch"
"""Init container of a verification: checks digests and format, never loads the model."""
VERIFY = "verify"
"""Container of a verification: loads the model and replays the samples."""
TRAIN = "train"
"""Container of a training run."""
TRAINING_VARIABLE = "MOORING_TRAINING"

PACKAGE_DIRECTORY = "/model"
CLAIMS_DIRECTORY = "/mnt/pvc"
PACKAGE_SIZE_LIMIT = "4Gi"
"""Largest package that a verification can hold."""
VERIFY_SCRATCH_LIMIT = "1Gi"
TRAIN_SCRATCH_LIMIT = "8Gi"
"""Room for the snapshot of a run."""
VERIFY_TTL = timedelta(hours=1)
"""Finished verifications stay this long for people to read; their verdict is in a record."""
VERIFY_RESOURCES = ResourceRequirements.of(cpu="100m", memory="256Mi", memory_limit="1Gi")
USER_ID = 65532
HASH_LENGTH = 8

_CLAIM = re.compile(r"^pvc://([^/]+)/")


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


def verification_job(model: Model, task: VerificationTask, config: OperatorConfig) -> Manifest:
    """The Job that fetches, checks, loads and replays one version."""
    labels = {
        Label.MANAGED_BY.value: MANAGED_BY,
        Label.MODEL.value: model.metadata.name,
        Label.MODEL_VERSION.value: task.version,
    }
    secrets = _environment_sources([task.secret_name])
    fetch = _container(
        FETCH,
        ["fetch", "--uri", task.uri, "--digest", task.digest, "--out", PACKAGE_DIRECTORY],
        config,
    ) | {
        "envFrom": secrets,
        "resources": VERIFY_RESOURCES.to_wire(),
        "volumeMounts": [_mount("model", PACKAGE_DIRECTORY), _mount("tmp", "/tmp")]  # noqa: S108
        + _claim_mounts(task.uri),
    }
    verify = _container(VERIFY, ["verify", PACKAGE_DIRECTORY], config) | {
        "resources": VERIFY_RESOURCES.to_wire(),
        "volumeMounts": [
            _mount("model", PACKAGE_DIRECTORY) | {"readOnly": True},
            _mount("tmp", "/tmp"),  # noqa: S108
        ],
    }
    volumes = [
        {"name": "model", "emptyDir": {"sizeLimit": PACKAGE_SIZE_LIMIT}},
        {"name": "tmp", "emptyDir": {"sizeLimit": VERIFY_SCRATCH_LIMIT}},
        *_claim_volumes(task.uri),
    ]
    spec = _job_spec(
        _pod(labels, [verify], volumes, init=[fetch]),
        deadline=parse_duration(model.spec.verification.timeout),
    )
    spec["ttlSecondsAfterFinished"] = int(VERIFY_TTL.total_seconds())
    return _job(task.job, labels, _owner(Kind.MODEL, model), spec)


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
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


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
    train = _container(TRAIN, ["train"], config) | {
        "env": [{"name": TRAINING_VARIABLE, "value": settings}],
        "envFrom": _environment_sources(task.secrets),
        "resources": policy.spec.job.resources.to_wire(),
        "volumeMounts": [_mount("tmp", "/tmp")] + _claim_mounts(task.champion_uri),  # noqa: S108
    }
    volumes = [
        {"name": "tmp", "emptyDir": {"sizeLimit": TRAIN_SCRATCH_LIMIT}},
        *_claim_volumes(task.champion_uri),
    ]
    spec = _job_spec(
        _pod(labels, [train], volumes), deadline=parse_duration(policy.spec.job.deadline)
    )
    # A drained or preempted node is no fault of the run: its pod is replaced.
    spec["podFailurePolicy"] = {
        "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
    }
    return _job(task.job, labels, _owner(Kind.RETRAIN_POLICY, policy), spec)


def _job(
    name: str, labels: Mapping[str, str], owner: Mapping[str, Any], spec: Mapping[str, Any]
) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner["namespace"],
            "labels": dict(labels),
            "ownerReferences": [owner["reference"]],
        },
        "spec": dict(spec),
    }


def _owner(kind: Kind, resource: Model | RetrainPolicy) -> dict[str, Any]:
    metadata = resource.metadata
    return {
        "namespace": metadata.namespace,
        "reference": {
            "apiVersion": API_VERSION,
            "kind": kind.value,
            "name": metadata.name,
            "uid": metadata.uid,
            "controller": True,
            "blockOwnerDeletion": True,
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
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": volumes,
    }
    if init:
        spec["initContainers"] = init
    return {"metadata": {"labels": dict(labels)}, "spec": spec}


def _container(name: str, arguments: list[str], config: OperatorConfig) -> Manifest:
    return {
        "name": name,
        "image": config.serving_image,
        "imagePullPolicy": config.image_pull_policy,
        "command": ["mooring", *arguments],
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


def _mount(name: str, path: str) -> Manifest:
    return {"name": name, "mountPath": path}


def _claim(uri: str) -> str | None:
    found = _CLAIM.match(uri)
    return found.group(1) if found else None


def _claim_mounts(uri: str) -> list[Manifest]:
    claim = _claim(uri)
    if claim is None:
        return []
    return [_mount("claim", f"{CLAIMS_DIRECTORY}/{claim}") | {"readOnly": True}]


def _claim_volumes(uri: str) -> list[Manifest]:
    claim = _claim(uri)
    if claim is None:
        return []
    source = {"claimName": claim, "readOnly": True}
    return [{"name": "claim", "persistentVolumeClaim": source}]
