"""Names of a deployment's children: deterministic, so that making one twice makes one."""

from mooring_operator.core.decision import ChildRef

DEPLOYMENT_API = "apps/v1"


def workload_name(deployment: str, revision: str) -> str:
    """The Deployment of one revision."""
    return f"{deployment}-{revision}"


def stable_service_name(deployment: str) -> str:
    """The Service that clients use; retired pods forward to it. Contract §4."""
    return deployment


def candidate_service_name(deployment: str) -> str:
    """The Service that stable pods forward to. Contract §4."""
    return f"{deployment}-candidate"


def route_name(deployment: str) -> str:
    """The HTTPRoute, in traffic mode Gateway."""
    return deployment


def account_name(deployment: str) -> str:
    """The ServiceAccount of the pods.

    With a suffix: a deployment named `default` must not take the namespace's own account.
    """
    return f"{deployment}-server"


def sync_keys_name(deployment: str) -> str:
    """The ConfigMap with the public keys of the operator."""
    return f"{deployment}-sync-keys"


def budget_name(deployment: str) -> str:
    """The PodDisruptionBudget of what serves."""
    return deployment


def network_policy_name(deployment: str) -> str:
    """The NetworkPolicy of all pods of the deployment."""
    return deployment


def fixed_children(deployment: str) -> tuple[ChildRef, ...]:
    """Every child of every deployment but the Deployments, whose names hold revisions."""
    return (
        ChildRef("v1", "ServiceAccount", account_name(deployment)),
        ChildRef("v1", "ConfigMap", sync_keys_name(deployment)),
        ChildRef("networking.k8s.io/v1", "NetworkPolicy", network_policy_name(deployment)),
        ChildRef("policy/v1", "PodDisruptionBudget", budget_name(deployment)),
        ChildRef("v1", "Service", stable_service_name(deployment)),
        ChildRef("v1", "Service", candidate_service_name(deployment)),
    )


def workload(deployment: str, revision: str) -> ChildRef:
    """The Deployment of one revision, as a reference."""
    return ChildRef(DEPLOYMENT_API, "Deployment", workload_name(deployment, revision))
