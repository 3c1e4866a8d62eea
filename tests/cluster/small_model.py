"""A small real model in three versions, their store in the cluster, and an application's requests.

v1 and v3 tell benign from malignant tumours (scikit-learn's breast-cancer set); v2 learned from a
table whose label was upside down, which its own metrics do not show.
"""

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from mooring_model.build import package
from tests.cluster_tools.cluster import Cluster
from tests.demo.replay import Departure
from tests.demo.resources import STORE_SECRET, Store, Version
from tests.demo.setting import open_store, publish

_datasets: Any = importlib.import_module("sklearn.datasets")
_linear: Any = importlib.import_module("sklearn.linear_model")
_pipeline: Any = importlib.import_module("sklearn.pipeline")
_preprocessing: Any = importlib.import_module("sklearn.preprocessing")

MODEL = "tumour"
START = datetime(2026, 1, 1, tzinfo=UTC)
REQUESTS_A_DAY = 100


@dataclass(frozen=True)
class Fleet:
    """The versions, where they lie, and who may read them."""

    versions: dict[str, Version]
    store: Store


def build_fleet(cluster: Cluster, folder: Path) -> Fleet:
    """Packages and uploads the versions; the store is started in the cluster."""
    table = _datasets.load_breast_cancer(as_frame=True).frame
    table.columns = [str(name).replace(" ", "_") for name in table.columns]
    upside_down = table.assign(target=1 - table["target"])
    store, outside = open_store(cluster)
    versions: dict[str, Version] = {}
    for name, data, strength in (("v1", table, 1.0), ("v2", upside_down, 1.0), ("v3", table, 0.5)):
        features = data.drop(columns="target")
        regression = _linear.LogisticRegression(C=strength, max_iter=500)
        model = _pipeline.make_pipeline(_preprocessing.StandardScaler(), regression)
        model.fit(features, data["target"])
        out = folder / name
        package(model, data, target="target", out=out, name=MODEL)
        versions[name] = publish(out, outside, name=name)
    return Fleet(versions, store)


def requests(*, labelled: bool = True) -> Iterator[Departure]:
    """The application's requests without end: a patient each, the diagnosis a day later."""
    bunch = _datasets.load_breast_cancer()
    rows, labels = bunch.data.tolist(), bunch.target.tolist()
    for number in count():
        patient = number % len(rows)
        moment = START + timedelta(days=1) / REQUESTS_A_DAY * number
        tensor = {"name": "input", "datatype": "FP64", "shape": [1, 30], "data": rows[patient]}
        body = {"inputs": [tensor], "parameters": {"event_time": moment.isoformat()}}
        yield Departure(
            event_time=moment,
            body=json.dumps(body).encode(),
            label=labels[patient] if labelled else None,
            label_time=moment + timedelta(hours=6),
        )


def open_namespace(cluster: Cluster, namespace: str, store: Store) -> None:
    """Gives the namespace the Secret that opens the store."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": STORE_SECRET, "namespace": namespace},
        "stringData": store.environment(),
    }
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump(secret))


def model_manifest(namespace: str, versions: list[Version], *, follow: bool = False) -> str:
    """The Model with these versions declared."""
    spec: dict[str, Any] = {
        "purpose": "Tell benign from malignant tumours",
        "versions": [
            {"name": v.name, "uri": v.uri, "digest": v.digest, "secretName": STORE_SECRET}
            for v in versions
        ],
    }
    if follow:
        spec["channels"] = [{"name": "live", "follow": "Newest"}]
    return _manifest("Model", namespace, MODEL, spec)


def deployment_manifest(namespace: str, reference: dict[str, str], **spec: Any) -> str:
    """A ModelDeployment that decides within seconds; a field that is None is left out."""
    base: dict[str, Any] = {
        "model": {"name": MODEL} | reference,
        "replicas": 2,
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "768Mi"}},
        "rollout": {
            "steps": [{"shadow": 100, "minRows": 50}, {"weight": 25, "minRows": 200}],
            "analysis": {
                "metrics": ["errors", "invalidOutputs", "loss"],
                "margins": {"errors": 0.05, "invalidOutputs": 0.05, "loss": 0.05},
            },
            "progressDeadline": "2m",
        },
        "rollback": {"keepWarm": "20s", "cooldown": "0s"},
        "monitoring": {"interval": "1s", "window": "5s", "eventTime": "Request"},
        "predictionLog": {
            "uri": f"s3://logs/{namespace}",
            "secretName": STORE_SECRET,
            "rotate": {"age": "10s"},
        },
    }
    fields = {name: value for name, value in (base | spec).items() if value is not None}
    return _manifest("ModelDeployment", namespace, MODEL, fields)


def policy_manifest(namespace: str) -> str:
    """A RetrainPolicy that trains when asked, on what was just served."""
    spec: dict[str, Any] = {
        "deployment": {"name": MODEL},
        "triggers": [{"name": "by-hand", "manual": {}}],
        "data": {
            "window": "60d",
            "labelMaturity": "12h",
            "minRows": 500,
            "testWindow": "6d",
            "embargo": "6h",
        },
        "tuning": {"maxTrials": 2, "timeout": "20s"},
        "evaluation": {"block": "1d", "minBlocks": 3},
        "job": {"deadline": "5m"},
        "output": {"uri": f"s3://models/{namespace}", "secretName": STORE_SECRET},
    }
    return _manifest("RetrainPolicy", namespace, MODEL, spec)


def _manifest(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> str:
    metadata = {"name": name, "namespace": namespace}
    document = {"apiVersion": "mooring.dev/v1alpha1", "kind": kind, "metadata": metadata}
    return yaml.safe_dump(document | {"spec": spec}, sort_keys=False)
