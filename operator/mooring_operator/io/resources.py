"""The kinds that the operator reads or writes, and where the API server keeps them."""

from dataclasses import dataclass

from mooring_operator.api.group import GROUP, MANAGED_BY, VERSION, Kind, Label

MANAGED = f"{Label.MANAGED_BY}={MANAGED_BY}"
"""Label selector of every child of ours."""


@dataclass(frozen=True)
class ResourceType:
    """One kind of object.

    Attributes:
        group: API group; empty for the core group.
        version: API version.
        kind: the kind's name, unique among those that we use.
        plural: its name in paths.
        namespaced: whether its objects live in namespaces.
        selector: label selector of the objects that we list and watch; empty for all.
        watched: whether we keep its objects in the cache.
        optional: whether the API server may not have it; such a kind is not watched before it does.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    selector: str = ""
    watched: bool = False
    optional: bool = False

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """Path below the API server's address; without a namespace: over all of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            root += f"/namespaces/{namespace}"
        return f"{root}/{self.plural}" + (f"/{name}" if name else "")


def _ours(kind: Kind) -> ResourceType:
    return ResourceType(GROUP, VERSION, kind.value, kind.plural, watched=True)


def _child(group: str, version: str, kind: str, plural: str) -> ResourceType:
    return ResourceType(group, version, kind, plural, selector=MANAGED, watched=True)


_TYPES = (
    _ours(Kind.MODEL),
    _ours(Kind.MODEL_DEPLOYMENT),
    _ours(Kind.RETRAIN_POLICY),
    ResourceType("", "v1", "Namespace", "namespaces", namespaced=False, watched=True),
    _child("", "v1", "Pod", "pods"),
    _child("", "v1", "Service", "services"),
    _child("", "v1", "ServiceAccount", "serviceaccounts"),
    _child("", "v1", "ConfigMap", "configmaps"),
    _child("apps", "v1", "Deployment", "deployments"),
    _child("apps", "v1", "ControllerRevision", "controllerrevisions"),
    _child("batch", "v1", "Job", "jobs"),
    _child("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    _child("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ResourceType(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
        "httproutes",
        selector=MANAGED,
        optional=True,
    ),
    ResourceType("", "v1", "Event", "events"),
    ResourceType("", "v1", "Secret", "secrets"),
    ResourceType("coordination.k8s.io", "v1", "Lease", "leases"),
)

RESOURCES = {item.kind: item for item in _TYPES}
"""Every type by kind."""

WATCHED = tuple(item for item in _TYPES if item.watched)
"""The types in the cache; our own first, so that children find their owners."""

OPTIONAL = tuple(item for item in _TYPES if item.optional)
"""Those that are watched where the API server has them."""

CREATE_ONLY = frozenset({"Job", "ControllerRevision"})
"""Kinds whose objects never change: created when absent, otherwise left alone."""
