"""When two runs came to the same: final objects without what must differ, and what was counted.

What must differ is left out by name: uids, versions of the store, times and what is computed of
times and counts. Everything else is compared.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, cast

from mooring_operator.io.resources import RESOURCES
from tests.faults.api import AsyncApi, Object
from tests.faults.plan import stable_name

KINDS = (
    "Model",
    "ModelDeployment",
    "RetrainPolicy",
    "Deployment",
    "Service",
    "ServiceAccount",
    "ConfigMap",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Job",
    "ControllerRevision",
)
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_LEFT_OUT = frozenset(
    {
        "analysis",  # how many rows had been seen when it was over
        "cause",
        "clusterIP",
        "clusterIPs",
        "creationTimestamp",
        "evidence",
        "heldSeconds",
        "keys.json",  # each operator's own
        "managedFields",
        "message",
        "mooring.dev/intent",  # a digest over the memory
        "mooring.dev/memory",  # times; its content is the status, which is compared
        "peakMemoryBytes",
        "resourceVersion",
        "seconds",
        "seed",  # of a run: made of its name
        "uid",
        "jobUid",
    }
)
_OWN = frozenset({"Model", "ModelDeployment", "RetrainPolicy"})


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    objects: dict[str, Any]
    created: dict[str, int]
    deleted: dict[str, int]

    def differences(self, other: "Outcome") -> list[str]:
        """Where another run came to something else, in lines."""
        found = _differences("", self.objects, other.objects)
        found += _differences("created", self.created, other.created)
        return found + _differences("deleted", self.deleted, other.deleted)

    def duplicates(self, other: "Outcome") -> int:
        """Creations of the other run beyond ours."""
        return sum(max(0, n - self.created.get(key, 0)) for key, n in other.created.items())


async def final_objects(api: AsyncApi, namespace: str) -> dict[str, Any]:
    """All objects of a namespace that the operator makes or writes, comparable between runs."""
    objects: dict[str, Any] = {}
    for kind in KINDS:
        for item in (await api.list(RESOURCES[kind].path(namespace))).get("items", []):
            if item["metadata"]["name"] == "kube-root-ca.crt":
                continue
            place = f"{kind} {stable_name(item['metadata']['name'])}"
            objects[place] = comparable(kind, item, namespace)
    return objects


def comparable(kind: str, item: Object, namespace: str) -> Any:
    """An object without what differs from run to run."""
    uids = {reference["uid"] for reference in item["metadata"].get("ownerReferences", [])}
    text = json.dumps(item)
    for uid in {*uids, item["metadata"]["uid"]}:
        text = text.replace(uid, "UID")
    document = json.loads(text.replace(namespace, "NAMESPACE"))
    if kind not in _OWN:
        # How many steps led there is no matter, and what the simulator wrote is not ours.
        document["metadata"].pop("generation", None)
        document.pop("status", None)
    return _without(document)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {
            stable_name(key): _without(item)
            for key, item in entries.items()
            if key not in _LEFT_OUT and not (isinstance(item, str) and _TIME.match(item))
        }
    if isinstance(value, list):
        return [_without(item) for item in cast("list[Any]", value)]
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _without(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, str) and _TIME.match(value):
        return "a time"  # of a list: how many there are is compared
    return stable_name(value) if isinstance(value, str) else value


def _differences(where: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return [
            line
            for key in sorted(left.keys() | right.keys())
            for line in _differences(f"{where}/{key}", left.get(key), right.get(key))
        ]
    if isinstance(one, list) and isinstance(other, list):
        return _of_lists(where, cast("list[Any]", one), cast("list[Any]", other))
    return [] if one == other else [f"{where}: {one!r} in the reference, {other!r} here"]


def _of_lists(where: str, one: list[Any], other: list[Any]) -> list[str]:
    longer = max(len(one), len(other))
    padded = [[*items, *[None] * (longer - len(items))] for items in (one, other)]
    return [
        line
        for index, (a, b) in enumerate(zip(*padded, strict=True))
        for line in _differences(f"{where}[{index}]", a, b)
    ]
