"""The objects of the scale benchmark, and what the yardstick fills in to make the same of them."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.group import API_VERSION
from mooring_operator.api.model import Model, Origin, VersionReport
from mooring_operator.core.decision import Manifest, OperatorConfig
from mooring_operator.core.observation import (
    DeploymentObservation,
    JobObservation,
    ModelObservation,
    RecordObservation,
    RevisionObservation,
)
from mooring_operator.core.registry.answers import Verified
from mooring_operator.core.registry.plan import decide as decide_model
from mooring_operator.core.registry.records import Examined, verification_record
from mooring_operator.core.rollout.plan import decide
from mooring_operator.ids import Revision
from tests.bench.operator_api import GROUP, Api, Object, together

VERSION = "v1"
IMAGE = "localhost/mooring/serving:bench"
ENVIRONMENT = "prod"
CREATORS = 24
"""Requests of the benchmark itself at the same time."""
_A_NAMESPACE = 50
_MOMENT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
CHILD_LISTS = (
    "/apis/apps/v1/deployments",
    "/api/v1/services",
    "/api/v1/serviceaccounts",
    "/api/v1/configmaps",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/networking.k8s.io/v1/networkpolicies",
)
"""Where the children of deployments are."""


@dataclass(frozen=True)
class Place:
    """One ModelDeployment and its Model."""

    number: int

    @property
    def namespace(self) -> str:
        """Fifty of them share one."""
        return f"fleet-{self.number // _A_NAMESPACE:03}"

    @property
    def name(self) -> str:
        """Of the ModelDeployment."""
        return f"delay-{self.number:05}"

    @property
    def model(self) -> str:
        """Of the Model."""
        return f"model-{self.number:05}"

    @property
    def path(self) -> str:
        """Of the ModelDeployment."""
        return f"{GROUP}/namespaces/{self.namespace}/modeldeployments/{self.name}"

    @property
    def key(self) -> str:
        """Of the ModelDeployment, as observers know it."""
        return f"{self.namespace}/{self.name}"


def places(count: int) -> list[Place]:
    """The first so many."""
    return [Place(number) for number in range(count)]


def model_manifest(place: Place) -> Manifest:
    """A Model with one version."""
    digest = hashlib.sha256(place.model.encode()).hexdigest()
    version = {
        "name": VERSION,
        "uri": f"s3://models/{place.model}/{VERSION}",
        "digest": f"sha256:{digest}",
    }
    spec = {"purpose": "Predict late arrivals", "versions": [version]}
    return _manifest("Model", place.namespace, place.model, spec)


def deployment_manifest(place: Place) -> Manifest:
    """A ModelDeployment of that version, one pod."""
    spec = {"model": {"name": place.model, "version": VERSION}, "replicas": 1}
    return _manifest("ModelDeployment", place.namespace, place.name, spec)


def record_manifest(model: Model) -> Manifest:
    """The verdict on the version, as the operator records it when its Job has answered."""
    declared = model.spec.versions[0]
    job = JobObservation("none", "none", _MOMENT, finished=True, succeeded=True)
    examined = Examined(
        version=declared.name,
        digest=declared.digest,
        uri=declared.uri,
        origin=Origin.DECLARED,
        job=job,
        image=IMAGE,
    )
    report = VersionReport(
        format="onnx", task="binary", replayed_rows=100, p99_ms=0.4, peak_memory_bytes=90_000_000
    )
    answer = Verified(declared.digest, report)
    return verification_record(model, examined, answer, seq=1, now=_MOMENT)


async def create_models(api: Api, where: list[Place]) -> None:
    """Namespaces, Models and the verdicts on their versions, so that nothing is to be verified."""
    for namespace in dict.fromkeys(place.namespace for place in where):
        labels = {"mooring.dev/environment": ENVIRONMENT}
        metadata = {"name": namespace, "labels": labels}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        await api.create("/api/v1/namespaces", body)

    async def one(place: Place) -> None:
        path = f"{GROUP}/namespaces/{place.namespace}/models"
        made = await api.create(path, model_manifest(place))
        record = record_manifest(Model.model_validate(made))
        record_path = f"/apis/apps/v1/namespaces/{place.namespace}/controllerrevisions"
        await api.create(record_path, record)

    await together(CREATORS, map(one, where))


async def create_deployments(api: Api, where: list[Place], begun: Callable[[Place], None]) -> None:
    """All ModelDeployments, as fast as the API server takes them; `begun` is told before each."""

    async def one(place: Place) -> None:
        begun(place)
        path = f"{GROUP}/namespaces/{place.namespace}/modeldeployments"
        await api.create(path, deployment_manifest(place))

    await together(CREATORS, map(one, where))


def yardstick_templates() -> dict[str, Any]:
    """The status and the children of one settled deployment, with placeholders.

    They are what our own decisions give, so that the yardstick writes the same bytes: its work is
    to fill in names, uid, digest and revision, to look what is there, and to write what differs.
    """
    place = Place(0)
    model, deployment = _settled(place)
    version = model.spec.versions[0]
    stable = deployment.status.stable
    if stable is None:
        raise ValueError("a settled deployment has a stable revision")
    words = {
        "deployment-uid": "$(UID)",
        "model-uid": "$(MODEL_UID)",
        stable.revision: "$(REVISION)",
        version.digest: "$(DIGEST)",
        place.namespace: "$(NAMESPACE)",
        place.model: "$(MODEL)",
        place.name: "$(NAME)",
    }
    children = _decided(deployment, model, available=True).children

    def templated(document: object) -> str:
        text = json.dumps(document, separators=(",", ":"))
        for word, placeholder in words.items():
            text = text.replace(word, placeholder)
        return text

    return {
        "image": IMAGE,
        "status": templated(deployment.status.to_wire()),
        "modelStatus": templated(model.status.to_wire()),
        "children": [
            {"kind": child["kind"], "manifest": templated(_labelled(child))} for child in children
        ],
    }


def _labelled(child: Manifest) -> Manifest:
    labels = child["metadata"]["labels"] | {"app.kubernetes.io/managed-by": "mooring"}
    return child | {"metadata": child["metadata"] | {"labels": labels}}


def _settled(place: Place) -> tuple[Model, ModelDeployment]:
    """A verified Model and a deployment that serves it, by our own decisions alone."""
    named = {"uid": "model-uid", "generation": 1}
    wire = model_manifest(place)
    model = Model.model_validate(wire | {"metadata": wire["metadata"] | named})
    record = record_manifest(model)
    seen = RecordObservation(
        name=record["metadata"]["name"],
        record=record["metadata"]["labels"]["mooring.dev/record"],
        revision=record["revision"],
        created_at=_MOMENT,
        data=record["data"],
    )
    observed = ModelObservation(resource=model, jobs={}, records=(seen,))
    model = model.model_copy(update={"status": decide_model(observed, _CONFIG, _MOMENT).status})
    named = {"uid": "deployment-uid", "generation": 1}
    wire = deployment_manifest(place)
    deployment = ModelDeployment.model_validate(wire | {"metadata": wire["metadata"] | named})
    for available in (False, True):
        status = _decided(deployment, model, available=available).status
        deployment = deployment.model_copy(update={"status": status})
    return model, deployment


_CONFIG = OperatorConfig(
    serving_image=IMAGE,
    operator_namespace="mooring-system",
    # As long as a real one.
    sync_public_keys=("a" * 43 + "=",),
)


def _decided(deployment: ModelDeployment, model: Model, *, available: bool) -> Any:
    observation = DeploymentObservation(
        resource=deployment, environment=ENVIRONMENT, model=model, revisions={}
    )
    candidate = deployment.status.candidate or deployment.status.stable
    if available and candidate is not None:
        revision = Revision(candidate.revision)
        pods = RevisionObservation(
            revision, _MOMENT, replicas=1, ready=1, updated=1, available=True
        )
        observation = replace(observation, revisions={revision: pods})
    return decide(observation, _CONFIG, _MOMENT)


def _manifest(kind: str, namespace: str, name: str, spec: Object) -> Manifest:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def drifting(where: list[Place], share: float) -> Iterator[Place]:
    """Every so-manieth deployment, a share of all."""
    step = max(1, round(1 / share))
    return (place for place in where if place.number % step == 0)
