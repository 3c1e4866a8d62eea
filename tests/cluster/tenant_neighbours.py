"""What belongs to others in the two namespaces of the tenant's stage, and who has which rights."""

from collections.abc import Sequence
from typing import Any

from mooring_operator.core.manifests.job import verification_job_name
from mooring_operator.core.revision import revision_hash
from tests.builders.resources import digest_of
from tests.cluster.tenant_attempts import (
    CONSENTED,
    ROUTER,
    TAKEN,
    TAKEN_DEPLOYMENT,
    TAKEN_MODEL,
    TAKEN_ROUTE,
    TENANT,
    VERSION,
    VICTIMS_HOST,
    WITHHELD,
    Document,
)

IMAGE = "registry.invalid/serving:1"
OURS = "models,modeldeployments,retrainpolicies"
DIGEST = digest_of(VERSION)
GATEWAY_GROUP = "gateway.networking.k8s.io"
LISTENERS = [
    {
        "name": name,
        "port": port,
        "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    for name, port in (("http", 80), ("internal", 8443))
]
"""They admit routes of every namespace: nothing else than rights is in a tenant's way."""


def foreign_objects(tenant: str, victim: str) -> list[Document]:
    """What belongs to others, and who the tenant is."""
    revision = revision_hash(DIGEST, IMAGE)
    job = verification_job_name(TAKEN_MODEL, VERSION, DIGEST, IMAGE)
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "registry.invalid/theirs:1"}],
    }
    labels = {"app": "theirs"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    running = {"metadata": {"labels": labels}, "spec": {"containers": pod["containers"]}}
    selector = {"matchLabels": labels}
    ports = {"selector": labels, "ports": [{"port": 80}]}
    objects: list[Document] = [
        _object("v1", "ResourceQuota", "no-pods", spec={"hard": {"pods": "0"}}),
        _object("v1", "Secret", CONSENTED, stringData={"AWS_SECRET_ACCESS_KEY": "s3cret"}),
        _object("v1", "Secret", WITHHELD, stringData={"password": "s3cret"}),
        _object("v1", "Service", TAKEN, spec=ports),
        _object("v1", "Service", f"{TAKEN}-candidate", spec=ports),
        _object("v1", "ServiceAccount", f"{TAKEN}-server"),
        _object("v1", "ConfigMap", f"{TAKEN}-sync-keys", data={"theirs": "1"}),
        _object("networking.k8s.io/v1", "NetworkPolicy", TAKEN, spec={"podSelector": selector}),
        _object(
            "policy/v1",
            "PodDisruptionBudget",
            TAKEN,
            spec={"selector": selector, "maxUnavailable": 1},
        ),
        _object(
            "apps/v1",
            "Deployment",
            f"{TAKEN_DEPLOYMENT}-{revision}",
            spec={"replicas": 0, "selector": selector, "template": running},
        ),
        _object("batch/v1", "Job", job, spec={"suspend": True, "template": template}),
        *_rights("models", "mooring.dev", OURS.split(","), (TENANT, ROUTER)),
        *_rights("routes", GATEWAY_GROUP, ["httproutes"], (ROUTER,)),
        *(_route(f"{taken}-{who}") for taken in (TAKEN_ROUTE, TAKEN) for who in (TENANT, ROUTER)),
    ]
    victims: list[Document] = [
        _object("v1", "Secret", CONSENTED, stringData={"AWS_SECRET_ACCESS_KEY": "s3cret"}),
        _object("v1", "Service", "db", spec=ports),
        _object("v1", "ConfigMap", "theirs", data={"theirs": "1"}),
        _route("shop"),
        _object(
            f"{GATEWAY_GROUP}/v1",
            "Gateway",
            "web",
            spec={"gatewayClassName": "theirs", "listeners": LISTENERS},
        ),
    ]
    return [
        *(placed_in(tenant, one) for one in objects),
        *(placed_in(victim, one) for one in victims),
    ]


def _rights(
    name: str, group: str, resources: Sequence[str], people: Sequence[str]
) -> tuple[Document, ...]:
    rbac = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [group], "resources": resources, "verbs": ["*"]}]
    subjects = [{"kind": "User", "name": person, "apiGroup": rbac} for person in people]
    role = {"kind": "Role", "name": name, "apiGroup": rbac}
    return (
        _object(f"{rbac}/v1", "Role", name, rules=rules),
        _object(f"{rbac}/v1", "RoleBinding", name, roleRef=role, subjects=subjects),
    )


def _route(name: str) -> Document:
    backend = {"name": "db", "port": 80}
    spec = {
        "parentRefs": [{"name": "web"}],
        "hostnames": [VICTIMS_HOST],
        "rules": [{"backendRefs": [backend]}],
    }
    return _object(f"{GATEWAY_GROUP}/v1", "HTTPRoute", name, spec=spec)


def _object(api_version: str, kind: str, name: str, **fields: Any) -> Document:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def placed_in(namespace: str, document: Document) -> Document:
    return document | {"metadata": document["metadata"] | {"namespace": namespace}}
