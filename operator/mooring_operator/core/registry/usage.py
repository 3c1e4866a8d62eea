"""Who uses which version, and where versions were rolled back: read from deployments' status."""

from collections.abc import Sequence

from mooring_operator.api.deployment import ModelDeployment
from mooring_operator.api.model import ModelUse
from mooring_operator.core.decision import RouteRole

USES_LIMIT = 100
REJECTIONS_LIMIT = 20


def uses_of(deployments: Sequence[ModelDeployment]) -> list[ModelUse]:
    """Which deployment serves or tries which version, by deployment, stable first."""
    uses: list[ModelUse] = []
    for deployment in sorted(deployments, key=lambda one: one.metadata.name):
        status = deployment.status
        for role, ref in (
            (RouteRole.STABLE, status.stable),
            (RouteRole.CANDIDATE, status.candidate),
        ):
            if ref is not None:
                uses.append(
                    ModelUse(
                        deployment=deployment.metadata.name, version=ref.version, role=role.value
                    )
                )
    return uses[:USES_LIMIT]


def rejections_of(name: str, digest: str, deployments: Sequence[ModelDeployment]) -> list[str]:
    """The deployments that rolled a version back and quarantine it, by name."""
    rejecting = {
        deployment.metadata.name
        for deployment in deployments
        for entry in deployment.status.quarantine
        if entry.version == name and entry.digest == digest
    }
    return sorted(rejecting)[:REJECTIONS_LIMIT]
