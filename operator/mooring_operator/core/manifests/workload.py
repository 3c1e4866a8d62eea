"""The Deployment of one revision: an init container that fetches and verifies, then the server.

The pod template does not know the revision's role, so that a promotion or a rollback restarts no
pod. Pods satisfy Pod Security `restricted` and have a read-only root.
"""

from mooring_operator.api.base import parse_duration
from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.deployment_status import RevisionRef
from mooring_operator.core.decision import Manifest, OperatorConfig
from mooring_operator.core.manifests.access import SYNC_KEYS_FILE
from mooring_operator.core.manifests.labels import child, revision_labels, revision_selector
from mooring_operator.core.manifests.literal import literal_container
from mooring_operator.core.manifests.log import (
    JOURNAL_DIRECTORY,
    JOURNAL_LIMIT,
    JOURNAL_VOLUME,
    log_environment,
)
from mooring_operator.core.manifests.names import (
    DEPLOYMENT_API,
    account_name,
    sync_keys_name,
    workload_name,
)
from mooring_operator.core.manifests.runtime import in_flight_seconds, runtime_environment
from mooring_operator.core.manifests.traffic import FORWARD_PORT, HTTP_PORT, MANAGEMENT_PORT
from mooring_operator.core.quality.settings import cohort_length

USER = 65532
MODEL_VOLUME = "/var/lib/mooring"
MODEL_DIRECTORY = f"{MODEL_VOLUME}/model"
SYNC_DIRECTORY = "/etc/mooring/sync"
CLAIM_SCHEME = "pvc://"
CODE_ALLOWED = {"name": "MOORING_ALLOW_CODE", "value": "true"}
"""Every pod may run a package of code: it serves verified versions alone, and whether code is
verified in a namespace is the administrator's decision (ADR 5)."""
DRAIN_SECONDS = 5
"""How long a terminating pod still accepts: endpoints take a moment to hear of it."""
WRITE_SECONDS = 20
"""How long it may then write out what it recorded, after the requests that it had accepted."""


def workload(
    owner: ModelDeployment,
    ref: RevisionRef,
    config: OperatorConfig,
    *,
    environment: str | None,
    replicas: int,
    annotations: dict[str, str],
) -> Manifest:
    """The Deployment of one revision.

    Args:
        owner: the ModelDeployment.
        ref: what the revision is made of, with its pinned image.
        config: the operator's settings.
        environment: the namespace's environment.
        replicas: pods that it must have.
        annotations: of the Deployment, never of its pods: a change must not restart them.
    """
    deployment = owner.metadata.name
    name = workload_name(deployment, ref.revision)
    deadline = parse_duration(owner.spec.rollout.progress_deadline)
    body: Manifest = {
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            # Kubernetes refuses a deadline that is not above minReadySeconds.
            "progressDeadlineSeconds": max(1, int(deadline.total_seconds())),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": revision_selector(deployment, ref.revision)},
            "template": {
                "metadata": {"labels": revision_labels(deployment, ref.revision)},
                "spec": _pod(owner, ref, config, environment),
            },
        }
    }
    manifest = child(DEPLOYMENT_API, "Deployment", name, owner, body)
    manifest["metadata"]["labels"] = revision_labels(deployment, ref.revision)
    manifest["metadata"]["annotations"] = annotations
    return manifest


def _pod(
    owner: ModelDeployment, ref: RevisionRef, config: OperatorConfig, environment: str | None
) -> Manifest:
    deployment = owner.metadata.name
    return {
        "serviceAccountName": account_name(deployment),
        "automountServiceAccountToken": False,
        # Service variables would put other deployments' addresses among our MOORING_ settings.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS
        + in_flight_seconds(owner.spec.runtime)
        + WRITE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": revision_selector(deployment, ref.revision)},
            }
        ],
        "initContainers": [literal_container(_fetch(owner, ref, config))],
        "containers": [literal_container(_server(owner, ref, config, environment))],
        "volumes": _volumes(owner, ref),
    }


def _fetch(owner: ModelDeployment, ref: RevisionRef, config: OperatorConfig) -> Manifest:
    claim = claim_of(ref.uri)
    mounts = [_mount("model", MODEL_VOLUME), _mount("tmp", "/tmp")]  # noqa: S108 the pod's own
    if claim is not None:
        mounts.append(_mount("package", f"/mnt/pvc/{claim}", read_only=True))
    container = _container("fetch", owner, ref, config)
    container["command"] = ["mooring", "fetch"]
    container["args"] = ["--uri", ref.uri, "--digest", ref.digest, "--out", MODEL_DIRECTORY]
    container["env"] = [dict(CODE_ALLOWED)]
    container["volumeMounts"] = mounts
    if ref.secret_name is not None:
        container["envFrom"] = [{"secretRef": {"name": ref.secret_name}}]
    return container


def _server(
    owner: ModelDeployment, ref: RevisionRef, config: OperatorConfig, environment: str | None
) -> Manifest:
    container = _container("server", owner, ref, config)
    ports = {"http": HTTP_PORT, "management": MANAGEMENT_PORT, "forward": FORWARD_PORT}
    container["command"] = ["mooring", "serve"]
    container["args"] = [
        MODEL_DIRECTORY,
        "--host",
        "0.0.0.0",  # noqa: S104 the pod's own network namespace, behind its NetworkPolicy
        "--http-port",
        str(HTTP_PORT),
        "--health-port",
        str(MANAGEMENT_PORT),
        "--forward-port",
        str(FORWARD_PORT),
    ]
    container["ports"] = [
        {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()
    ]
    container["env"] = _environment(owner, ref, environment)
    container["volumeMounts"] = [
        _mount("model", MODEL_VOLUME, read_only=True),
        _mount("tmp", "/tmp"),  # noqa: S108 the pod's own
        _mount("sync-keys", SYNC_DIRECTORY, read_only=True),
    ]
    container["startupProbe"] = _probe("/livez", period=1, failures=120)
    container["livenessProbe"] = _probe("/livez", period=10, failures=3)
    container["readinessProbe"] = _probe("/readyz", period=2, failures=2)
    log = owner.spec.prediction_log
    if log is not None:
        container["volumeMounts"].append(_mount(JOURNAL_VOLUME, JOURNAL_DIRECTORY))
    if log is not None and log.secret_name is not None:
        container["envFrom"] = [{"secretRef": {"name": log.secret_name}}]
    return container


def _container(
    name: str, owner: ModelDeployment, ref: RevisionRef, config: OperatorConfig
) -> Manifest:
    return {
        "name": name,
        "image": ref.image,
        "imagePullPolicy": config.image_pull_policy,
        "resources": owner.spec.resources.to_wire(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _environment(
    owner: ModelDeployment, ref: RevisionRef, environment: str | None
) -> list[Manifest]:
    """What the server must know of itself; contract §3."""
    values = {
        "MOORING_MODEL": owner.spec.model.name,
        "MOORING_VERSION": ref.version,
        "MOORING_REVISION": ref.revision,
        "MOORING_DEPLOYMENT": owner.metadata.name,
        "MOORING_DEPLOYMENT_UID": owner.metadata.uid,
        "MOORING_NAMESPACE": owner.metadata.namespace,
        "MOORING_ENVIRONMENT": environment or "",
        "MOORING_SYNC_KEYS": f"{SYNC_DIRECTORY}/{SYNC_KEYS_FILE}",
        "MOORING_EVENT_TIME": owner.spec.monitoring.event_time.value,
        "MOORING_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    labels = owner.spec.monitoring.labels
    if labels is not None:
        values["MOORING_COHORT_SECONDS"] = str(round(cohort_length(labels).total_seconds()))
    values |= runtime_environment(owner.spec.runtime)
    fields = {"MOORING_POD_UID": "metadata.uid", "MOORING_POD_NAME": "metadata.name"}
    return [
        dict(CODE_ALLOWED),
        *({"name": name, "value": value} for name, value in values.items()),
        *log_environment(owner.spec.prediction_log),
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in fields.items()
        ),
    ]


def _volumes(owner: ModelDeployment, ref: RevisionRef) -> list[Manifest]:
    names = {"name": sync_keys_name(owner.metadata.name)}
    keys: Manifest = {"name": "sync-keys", "configMap": names}
    volumes: list[Manifest] = [
        {"name": "model", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        keys,
    ]
    if owner.spec.prediction_log is not None:
        volumes.append({"name": JOURNAL_VOLUME, "emptyDir": {"sizeLimit": JOURNAL_LIMIT}})
    claim = claim_of(ref.uri)
    if claim is not None:
        source = {"claimName": claim, "readOnly": True}
        volumes.append({"name": "package", "persistentVolumeClaim": source})
    return volumes


def claim_of(uri: str) -> str | None:
    """The claim of a pvc://CLAIM/PATH package; None for other schemes."""
    if not uri.startswith(CLAIM_SCHEME):
        return None
    return uri.removeprefix(CLAIM_SCHEME).split("/", 1)[0]


def _mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    mount: Manifest = {"name": name, "mountPath": path}
    return mount | {"readOnly": True} if read_only else mount


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "management", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
