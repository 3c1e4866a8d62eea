"""What objects of the operator's reach: all that a pod template or a child could give away.

Rules about objects as they are stored, whoever asked for them. Nothing here knows the operator's
code; a list that is empty means that nothing was reached.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.builders.kubelet import expands

Object = Mapping[str, Any]
CONSENT = "mooring-"
"""Prefix of Secrets whose owner let us use them."""
POD_FIELDS = {
    "automountServiceAccountToken",
    "containers",
    "dnsPolicy",
    "enableServiceLinks",
    "initContainers",
    "restartPolicy",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "topologySpreadConstraints",
    "volumes",
}
CONTAINER_FIELDS = {
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
}
RESOURCES = {"cpu", "memory"}


def reached(item: Object, owner: str, image: str, namespace: str) -> list[str]:
    """What an object reaches that is not its owner's.

    Args:
        item: as stored.
        owner: name of the resource of ours that it belongs to.
        image: the only image that our pods may run.
        namespace: the only one in which it may be.
    """
    if item["metadata"]["namespace"] != namespace:
        return [f"an object in {item['metadata']['namespace']}"]
    kind: str = item["kind"]
    rule = _RULES.get(kind)
    if rule is None:
        return [f"a {kind}"]
    return [f"{kind} {item['metadata']['name']}: {what}" for what in rule(item, owner, image)]


def _pods(item: Object, owner: str, image: str) -> Iterator[str]:
    pod = item["spec"]["template"]["spec"]
    yield from (f"pod field {name}" for name in set(pod) - POD_FIELDS)
    if pod.get("automountServiceAccountToken") is not False:
        yield "an account's token"
    if pod.get("serviceAccountName", "default") not in ("default", f"{owner}-server"):
        yield f"the account {pod['serviceAccountName']}"
    if pod["securityContext"].get("runAsNonRoot") is not True:
        yield "root"
    for volume in pod.get("volumes", ()):
        yield from _volume(volume, owner)
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        yield from _container(container, image)
    yield from (f"a variable in {text[:60]!r}" for text in expands(pod))


def _volume(volume: Object, owner: str) -> Iterator[str]:
    (source,) = set(volume) - {"name"}
    match source:
        case "emptyDir":
            return
        case "configMap":
            if volume[source]["name"] != f"{owner}-sync-keys":
                yield f"the ConfigMap {volume[source]['name']}"
        case "persistentVolumeClaim":
            if volume[source].get("readOnly") is not True:
                yield "a claim to write to"
        case _:
            yield f"a volume of {source}"


def _container(container: Object, image: str) -> Iterator[str]:
    yield from (f"container field {name}" for name in set(container) - CONTAINER_FIELDS)
    if container["image"] != image:
        yield f"the image {container['image']}"
    if container["command"][0] != "mooring":
        yield f"the command {container['command']}"
    confined = container["securityContext"]
    if confined.get("allowPrivilegeEscalation") is not False or confined.get("privileged"):
        yield "privileges"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "a port of the host"
    for amounts in container["resources"].values():
        if set(amounts) - RESOURCES:
            yield f"resources {amounts}"
    for entry in container.get("env", ()):
        yield from _variable(entry)
    for source in container.get("envFrom", ()):
        name = source.get("secretRef", {}).get("name", "")
        if set(source) != {"secretRef"} or not name.startswith(CONSENT):
            yield f"variables from {source}"


def _variable(entry: Object) -> Iterator[str]:
    source = entry.get("valueFrom", {})
    secret = source.get("secretKeyRef", {}).get("name", CONSENT)
    field = source.get("fieldRef", {}).get("fieldPath", "metadata.uid")
    if set(source) - {"secretKeyRef", "fieldRef"} or not secret.startswith(CONSENT):
        yield f"a variable from {source}"
    if field not in ("metadata.uid", "metadata.name"):
        yield f"the pod's {field}"


def _service(item: Object, owner: str, image: str) -> Iterator[str]:
    spec = item["spec"]
    if spec["type"] != "ClusterIP" or "externalName" in spec or "externalIPs" in spec:
        yield "another network"
    yield from _selects(spec["selector"], owner)


def _policy(item: Object, owner: str, image: str) -> Iterator[str]:
    yield from _selects(item["spec"]["podSelector"]["matchLabels"], owner)


def _budget(item: Object, owner: str, image: str) -> Iterator[str]:
    yield from _selects(item["spec"]["selector"]["matchLabels"], owner)


def _selects(selector: Mapping[str, str], owner: str) -> Iterator[str]:
    if selector.get("mooring.dev/deployment") != owner:
        yield f"pods of {selector}"


def _route(item: Object, owner: str, image: str) -> Iterator[str]:
    spec = item["spec"]
    yield from (f"route field {name}" for name in set(spec) - {"parentRefs", "hostnames", "rules"})
    (parent,), (rule,) = spec["parentRefs"], spec["rules"]
    if (parent["group"], parent["kind"]) != ("gateway.networking.k8s.io", "Gateway"):
        yield f"a {parent['kind']} as parent"
    yield from (f"rule field {name}" for name in set(rule) - {"matches", "backendRefs"})
    yield from (f"a match by {set(match)}" for match in rule["matches"] if set(match) != {"path"})
    for backend in rule["backendRefs"]:
        ours = backend["name"] in (owner, f"{owner}-candidate") and backend["kind"] == "Service"
        if not ours or set(backend) - {"group", "kind", "name", "port", "weight"}:
            yield f"the backend {backend}"


def _account(item: Object, owner: str, image: str) -> Iterator[str]:
    if item.get("automountServiceAccountToken") is not False:
        yield "an account's token"
    if item.get("secrets") or item.get("imagePullSecrets"):
        yield "an account's Secrets"


def _keys(item: Object, owner: str, image: str) -> Iterator[str]:
    if set(item.get("data", {})) != {"keys.json"} or item.get("binaryData"):
        yield "a ConfigMap with more than public keys"


def _nothing(item: Object, owner: str, image: str) -> Iterator[str]:
    return iter(())


_RULES: Mapping[str, Callable[[Object, str, str], Iterator[str]]] = {
    "Deployment": _pods,
    "ReplicaSet": _pods,
    "Job": _pods,
    "Service": _service,
    "NetworkPolicy": _policy,
    "PodDisruptionBudget": _budget,
    "ServiceAccount": _account,
    "ConfigMap": _keys,
    "ControllerRevision": _nothing,
    "HTTPRoute": _route,
    "Endpoints": _nothing,
    "EndpointSlice": _nothing,
}
