"""The API server's own record: the operator writes no spec, and has no right that it does not use.

One life with all that it does: versions verified and withdrawn, a promotion, a rollback, a route
that comes and goes, a policy that stands by, a restart, and people who write at the same moment.
"""

import base64
import itertools
import json
import ssl
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.audit_log import READING, Asked, asked_by, used_rights
from tests.cluster.installed_rights import (
    Right,
    account_kubeconfig,
    granted_rights,
    installed_account,
    installed_objects,
)
from tests.cluster.operator_process import OperatorProcess, start_operator, until
from tests.cluster.scene import Scene
from tests.cluster.small_model import MODEL, Fleet, open_namespace, policy_manifest
from tests.cluster.traefik import gateway_api
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import TRAEFIK, fetch_sources
from tests.demo.world import is_true

KINDS = ("models", "modeldeployments", "retrainpolicies")
BY_ADMISSION = {("update", f"{kind}.mooring.dev/finalizers", "") for kind in KINDS}
"""Never asked for by a request: where OwnerReferencesPermissionEnforcement is on, as in OpenShift,
the API server looks whether an owner reference may block. Not on here: the plug-in refuses owners
of kinds whose CRD is younger than half a minute."""
ABSENT = "https://store.invalid/v9"
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def stage(
    cluster: Cluster, namespace: str, fleet: Fleet, tmp_path: Path
) -> Generator[tuple[Scene, str]]:
    """A namespace whose operator has the installed rights alone, and the account's name."""
    open_namespace(cluster, namespace, fleet.store)
    log = tmp_path / "operator.log"
    definitions = fetch_sources(TRAEFIK, "sigs.k8s.io/gateway-api", default_layout(), Progress())
    with gateway_api(cluster, definitions), installed_account(cluster, namespace) as user:
        operator = _start(cluster, namespace, log)
        scene = Scene(cluster, namespace, fleet, log, operator)
        yield scene, user
        scene.operator.kill()


def _start(cluster: Cluster, namespace: str, log: Path) -> OperatorProcess:
    return start_operator(account_kubeconfig(cluster, namespace, log.parent), namespace, log)


def test_operator_writes_no_spec_and_uses_every_right_that_it_has(
    cluster: Cluster, stage: tuple[Scene, str], audit_log: Path
) -> None:
    scene, user = stage
    roll_out_and_back(scene)
    withdraw_a_version(scene)
    lead_through_a_gateway(scene)
    tell_twice(scene)
    interfere(scene, audit_log, user)
    asked = asked_by(audit_log, user)

    writes = [one for one in asked if one.writes_ours]
    assert len(writes) > 20
    assert [one for one in writes if not _is_status_patch(one)] == []
    assert spec_managers(scene) == set()

    granted = granted_rights(installed_objects(cluster))
    used = used_rights(asked, granted) | BY_ADMISSION
    assert granted - used == set(), "rights that nothing needs"
    assert [one for one in asked if one.code == httpx.codes.FORBIDDEN] == [], "rights that lack"
    print(_told(asked, granted))


def roll_out_and_back(scene: Scene) -> None:
    """v3 is promoted, v2 rolled back, and what nobody needs any more goes."""
    scene.operator.wait_until_leading()
    scene.declare("v1", "v2", "v3")
    scene.deploy("v1")
    scene.wait_ready("v1")
    scene.world.apply(policy_manifest(scene.namespace))
    replay = scene.traffic()
    scene.deploy("v3")
    scene.wait_ready("v3")
    scene.deploy("v2")
    after = scene.wait(lambda seen: is_true(seen, "RolledBack"), "a rollback")
    assert after["status"]["stable"]["version"] == "v3"
    replay.stop()
    until(lambda: len(scene.names("deployments")) == 1, 60, scene.operator)


def withdraw_a_version(scene: Scene) -> None:
    """A version that is removed while it is verified: its Job goes."""
    name = "mdl"
    versions = scene.world.get(name, MODEL, scene.namespace)["spec"]["versions"]
    absent = {"name": "v9", "uri": ABSENT, "digest": "sha256:" + "9" * 64}
    patch_spec(scene, name, {"versions": [*versions, absent]})
    jobs = f"mooring.dev/model={MODEL},mooring.dev/model-version=v9"
    until(lambda: bool(listed(scene, "jobs", jobs)), 20, scene.operator)
    patch_spec(scene, name, {"versions": versions})
    until(lambda: not listed(scene, "jobs", jobs), 20, scene.operator)


def lead_through_a_gateway(scene: Scene) -> None:
    """A route is made, changed and not asked for any more; no Gateway needs to be there."""

    def prefixes() -> list[str]:
        path = "jsonpath={.items[*].spec.rules[*].matches[*].path.value}"
        told = scene.cluster.kubectl("get", "httproutes", "-n", scene.namespace, "-o", path)
        return told.split()

    for traffic, wanted in (
        ({"mode": "Gateway", "gateway": {"name": "nowhere"}}, ["/"]),
        ({"gateway": {"pathPrefix": "/v2"}}, ["/v2"]),
        ({"mode": "Forward", "gateway": None}, []),
    ):
        patch_spec(scene, "mdep", {"traffic": traffic})
        until(lambda expected=wanted: prefixes() == expected, 20, scene.operator)


def tell_twice(scene: Scene) -> None:
    """The same Event from one process, which counts it up, and then from another, which asks."""
    for _ in range(2):
        for suspend in (True, False):
            patch_spec(scene, "rtp", {"suspend": suspend})
            wanted = "Suspended" if suspend else "Watching"
            scene.world.wait(
                "rtp",
                MODEL,
                scene.namespace,
                until=lambda seen, wanted=wanted: seen["status"].get("phase") == wanted,
                what=wanted,
                seconds=20,
            )
    assert scene.operator.stop() == 0
    scene.operator = _start(scene.cluster, scene.namespace, scene.log)
    scene.operator.wait_until_leading()
    patch_spec(scene, "rtp", {"suspend": True})
    scene.world.wait(
        "rtp",
        MODEL,
        scene.namespace,
        until=lambda seen: seen["status"].get("phase") == "Suspended",
        what="Suspended",
        seconds=20,
    )


def interfere(scene: Scene, log: Path, user: str) -> None:
    """People write so fast that writes of the operator are refused, and it reads anew."""
    with people(scene.cluster) as client:
        for kind in KINDS:
            path = f"/apis/mooring.dev/v1alpha1/namespaces/{scene.namespace}/{kind}/{MODEL}"
            wanted = ("get", f"{kind}.mooring.dev", MODEL)
            deadline = time.monotonic() + 30
            for body in edits(kind):
                client.patch(path, json=body).raise_for_status()
                if body["metadata"]["annotations"]["test/turn"].endswith("00"):
                    asked = {right for one in asked_by(log, user) for right in one.rights()}
                    if wanted in asked:
                        break
                assert time.monotonic() < deadline, f"no conflict on {kind} in 30 s"


def edits(kind: str) -> Iterator[dict[str, Any]]:
    """One edit after the other; each is a new generation, which the operator answers."""
    for turn in itertools.count(1):
        spec: dict[str, Any] = {
            "models": {"purpose": f"Turn {turn}"},
            "modeldeployments": {"rollback": {"keepWarm": f"{turn % 50 + 10}s"}},
            "retrainpolicies": {"cooldown": f"{turn % 50 + 10}h"},
        }[kind]
        yield {"metadata": {"annotations": {"test/turn": str(turn)}}, "spec": spec}


def people(cluster: Cluster) -> httpx.Client:
    """An administrator's connection, without a process for each request."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=_text(server["certificate-authority-data"]))
    folder = cluster.kubeconfig.parent
    pair = folder / "people.pem"
    pair.touch(mode=0o600)
    pair.write_text(_text(user["client-certificate-data"]) + _text(user["client-key-data"]))
    context.load_cert_chain(pair)
    pair.unlink()
    return httpx.Client(
        base_url=server["server"],
        verify=context,
        trust_env=False,
        headers={"content-type": "application/merge-patch+json"},
    )


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def patch_spec(scene: Scene, kind: str, spec: dict[str, Any]) -> None:
    patch = json.dumps({"spec": spec})
    scene.cluster.kubectl("patch", kind, MODEL, "-n", scene.namespace, "--type=merge", "-p", patch)


def listed(scene: Scene, kind: str, selector: str) -> list[str]:
    return scene.cluster.kubectl(
        "get", kind, "-n", scene.namespace, "-l", selector, "-o", "name"
    ).split()


def spec_managers(scene: Scene) -> set[str]:
    """Field managers of ours that own anything but status, on our kinds."""
    found: set[str] = set()
    for kind in KINDS:
        text = scene.cluster.kubectl(
            "get", kind, "-n", scene.namespace, "-o", "json", "--show-managed-fields"
        )
        for item in json.loads(text)["items"]:
            for entry in item["metadata"]["managedFields"]:
                if entry["manager"].startswith("mooring") and set(entry["fieldsV1"]) != {
                    "f:status"
                }:
                    found.add(f"{kind} {entry['manager']}: {sorted(entry['fieldsV1'])}")
    return found


def _is_status_patch(one: Asked) -> bool:
    known = {"metadata", "status"}
    return one.verb == "patch" and one.resource.endswith("/status") and one.fields <= known


def _told(asked: list[Asked], granted: set[Right]) -> str:
    writes = [one for one in asked if one.verb not in READING]
    ours = sum(one.writes_ours for one in writes)
    return (
        f"{len(asked)} requests of the operator, {len(writes)} writes, {ours} of them to our kinds,"
        f" all to status; {len(granted)} rights, each used, {len(BY_ADMISSION)} by admission"
    )
