"""The operator process against the real API server: leadership, recovery, isolation, repair."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.operator_process import OperatorProcess, start_operator, until
from tests.cluster_tools.cluster import Cluster

ROOT = Path(__file__).parents[2]
Start = Callable[..., OperatorProcess]


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster) -> None:
    """Our resources are known to the API server."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")
    for name in ("models", "modeldeployments", "retrainpolicies"):
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}.mooring.dev")


@pytest.fixture
def start(cluster: Cluster, namespace: str, tmp_path: Path) -> Generator[Start]:
    """Starts operators for the test's namespace; what still runs afterwards is ended."""
    started: list[OperatorProcess] = []

    def run(**rest: Any) -> OperatorProcess:
        log = tmp_path / f"operator-{len(started)}.log"
        operator = start_operator(cluster.kubeconfig, namespace, log, **rest)
        started.append(operator)
        return operator

    yield run
    for operator in started:
        if operator.process.poll() is None:
            operator.kill()


def _apply(cluster: Cluster, namespace: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    document = {
        "apiVersion": "mooring.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    cluster.kubectl("apply", "--validate=strict", "-f", "-", input=json.dumps(document))


def _model(cluster: Cluster, namespace: str, name: str) -> None:
    _apply(cluster, namespace, "Model", name, {"purpose": "Test the operator's shell"})


def _status(cluster: Cluster, namespace: str, kind: str, name: str) -> dict[str, Any]:
    text = cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json")
    return json.loads(text).get("status", {})


def _reason(cluster: Cluster, namespace: str, kind: str, name: str, condition: str) -> str:
    conditions = _status(cluster, namespace, kind, name).get("conditions", [])
    return next((c["reason"] for c in conditions if c["type"] == condition), "")


def _is_observed(cluster: Cluster, namespace: str, name: str) -> bool:
    return _status(cluster, namespace, "model", name).get("observedGeneration") == 1


def test_operator_serves_probes_and_metrics_when_it_leads(
    cluster: Cluster, namespace: str, start: Start
) -> None:
    operator = start()
    operator.wait_until_leading()
    assert operator.page("/livez") == (200, "ok\n")
    assert operator.page("/readyz") == (200, "ok\n")
    _model(cluster, namespace, "one")
    until(lambda: _is_observed(cluster, namespace, "one"), 15, operator)
    assert operator.metric('cache_objects{kind="Model"}') == 1.0, "read what it wrote"
    assert operator.stop() == 0
    holder = cluster.kubectl(
        "get", "lease", "mooring-operator", "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}"
    )
    assert holder == "", "SIGTERM gives the Lease back"


def test_follower_takes_over_when_the_leader_is_killed(
    cluster: Cluster, namespace: str, start: Start
) -> None:
    leader = start()
    leader.wait_until_leading()
    follower = start()
    follower.wait_until_ready()
    assert not follower.leads
    leader.kill()
    _model(cluster, namespace, "orphan")
    follower.wait_until_leading(30)
    until(lambda: _is_observed(cluster, namespace, "orphan"), 15, follower)


def test_follower_takes_over_at_once_when_the_leader_is_stopped(start: Start) -> None:
    leader = start()
    leader.wait_until_leading()
    follower = start()
    follower.wait_until_ready()
    assert leader.stop() == 0
    follower.wait_until_leading(10)


def test_leader_exits_at_once_when_the_lease_is_taken_from_it(
    cluster: Cluster, namespace: str, start: Start
) -> None:
    leader = start()
    leader.wait_until_leading()
    thief = json.dumps({"spec": {"holderIdentity": "thief"}})
    lease = ("patch", "lease", "mooring-operator", "-n", namespace, "--type=merge", "-p", thief)
    cluster.kubectl(*lease)
    until(lambda: leader.process.poll() is not None, 15, leader)
    assert leader.process.returncode == 1


def test_poisonous_object_leaves_the_others_reconciling(
    cluster: Cluster, namespace: str, start: Start
) -> None:
    operator = start(module="tests.cluster.poisoned_operator")
    operator.wait_until_leading()
    for name in ("before", "poison", "after"):
        _model(cluster, namespace, name)
    until(
        lambda: (
            _reason(cluster, namespace, "model", "poison", "Ready") == "OperatorError"
            and _is_observed(cluster, namespace, "before")
            and _is_observed(cluster, namespace, "after")
        ),
        20,
        operator,
    )
    _apply(cluster, namespace, "Model", "after", {"purpose": "Changed while the other one fails"})
    until(
        lambda: _status(cluster, namespace, "model", "after")["observedGeneration"] == 2,
        15,
        operator,
    )
    operator.stop()
    healthy = start()  # a release without the bug
    until(
        lambda: (
            _is_observed(cluster, namespace, "poison")
            and _reason(cluster, namespace, "model", "poison", "Ready") != "OperatorError"
        ),
        60,
        healthy,
    )


def test_deletion_while_the_operator_is_away_is_found_at_its_start(
    cluster: Cluster, namespace: str, start: Start
) -> None:
    first = start()
    first.wait_until_leading()
    _model(cluster, namespace, "gone")
    until(lambda: _is_observed(cluster, namespace, "gone"), 15, first)
    assert first.stop() == 0
    cluster.kubectl("delete", "model", "gone", "-n", namespace)
    second = start()
    second.wait_until_leading()
    assert second.metric('cache_objects{kind="Model"}') == 0.0
    assert second.metric("watch_restarts_total") == 0.0
