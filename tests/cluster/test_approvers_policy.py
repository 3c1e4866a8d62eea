"""The optional policy on who may approve, judged by the real API server for two users."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cluster.operator_process import until
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.errors import ClusterError

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "manifests" / "approvers"
ANYBODY = ("--as=bert", "--as-group=system:authenticated")
APPROVER = (*ANYBODY[1:], "--as=anna", "--as-group=mooring:approvers")
NAME = "gated"
LOOSE = json.dumps({"spec": {"rollout": {"approval": {"required": False}}}})


@pytest.fixture
def gated(cluster: Cluster, namespace: str) -> Generator[str]:
    """A namespace in which the policy holds, and two users who may edit ModelDeployments."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")
    cluster.kubectl("label", "namespace", namespace, "mooring.dev/approvals=required")
    rights = (
        "--verb=get,list,watch,create,update,patch",
        "--resource=modeldeployments.mooring.dev",
    )
    cluster.kubectl("create", "role", "editor", "-n", namespace, *rights)
    users = ("--role=editor", "--user=anna", "--user=bert")
    cluster.kubectl("create", "rolebinding", "editors", "-n", namespace, *users)
    cluster.kubectl("apply", "-k", POLICY)
    # The API server takes a moment to compile a new policy.
    until(lambda: _is_refused(cluster, namespace, *ANYBODY, required=False, dry=True), 30)
    yield namespace
    cluster.kubectl("delete", "-k", POLICY)


def test_only_approvers_approve_where_the_policy_holds(cluster: Cluster, gated: str) -> None:
    assert not _is_refused(cluster, gated, *ANYBODY, required=True)
    annotate = ("annotate", "mdep", NAME, "-n", gated, "--overwrite")
    approve = "mooring.dev/approve=2b42b90f5bcf"
    with pytest.raises(ClusterError, match="bert is not in the group mooring:approvers"):
        cluster.kubectl(*annotate, approve, *ANYBODY)
    cluster.kubectl(*annotate, "mooring.dev/abort=2b42b90f5bcf", *ANYBODY)
    cluster.kubectl(*annotate, approve, *APPROVER)
    cluster.kubectl(*annotate, "mooring.dev/retry=2b42b90f5bcf", *ANYBODY)
    with pytest.raises(ClusterError, match="only the group mooring:approvers may deploy without"):
        cluster.kubectl("patch", "mdep", NAME, "-n", gated, "--type=merge", "-p", LOOSE, *ANYBODY)
    seen = json.loads(cluster.kubectl("get", "mdep", NAME, "-n", gated, "-o", "json"))
    assert seen["metadata"]["annotations"]["mooring.dev/approve"] == "2b42b90f5bcf"


def _is_refused(
    cluster: Cluster, namespace: str, *user: str, required: bool, dry: bool = False
) -> bool:
    """Whether a user may not create a deployment with this gate."""
    document = {
        "apiVersion": "mooring.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "model": {"name": "m", "version": "v1"},
            "rollout": {"approval": {"required": required}},
        },
    }
    options = ("--dry-run=server",) if dry else ()
    try:
        cluster.kubectl("create", "-f", "-", *options, *user, input=json.dumps(document))
    except ClusterError:
        return True
    return False
