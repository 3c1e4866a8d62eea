"""`kubectl mooring`, found by the real kubectl, against the real API server.

Most tests play the operator themselves: they write statuses of the simulation, and decide about
what the plugin wrote. One story has the real operator and real pods.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mooring_operator.api.deployment import ModelDeployment
from tests.builders.resources import DEPLOYMENT
from tests.cluster.scene import Scene
from tests.cluster.small_model import MODEL, deployment_manifest
from tests.cluster_tools.cluster import Cluster
from tests.simulation.recorded_looks import Look, look_at

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = f"""#!{sys.executable}
from mooring_cli.plugin.main import main
main()
"""
ANALYSING = "Reconciling/Analysing"
ROLLED_BACK = "Stalled/RolledBack | asked for v2 | stable v1 | candidate -"


@dataclass(frozen=True)
class Plugin:
    """`kubectl mooring` in one namespace."""

    cluster: Cluster
    namespace: str
    path: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Runs a command with what it prints kept."""
        paths = os.pathsep.join(str(ROOT / part) for part in ("serving", "operator"))
        environment = os.environ | {
            "PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": paths,
            "KUBECTL": str(self.cluster.kubectl_path),
        }
        where = (f"--kubeconfig={self.cluster.kubeconfig}", "-n", self.namespace)
        return subprocess.Popen(
            [str(self.cluster.kubectl_path), "mooring", *arguments, *where],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __call__(self, *arguments: str, seconds: float = 60.0) -> tuple[int, str, str]:
        """Exit code, output and errors of a command."""
        with self.start(*arguments) as process:
            out, error = process.communicate(timeout=seconds)
            return process.returncode, out, error


@dataclass(frozen=True)
class Stage:
    """A ModelDeployment in a state of the simulation, and the operator's answer to annotations."""

    cluster: Cluster
    namespace: str
    look: Look

    def get(self) -> dict[str, Any]:
        """The object as it is now."""
        text = self.cluster.kubectl("get", "mdep", DEPLOYMENT, "-n", self.namespace, "-o", "json")
        return json.loads(text)

    def set_up(self) -> None:
        """Creates the object with the look's spec and status."""
        wire = self.look.wire
        document = {
            "apiVersion": "mooring.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": DEPLOYMENT, "namespace": self.namespace},
            "spec": wire["spec"],
        }
        self.cluster.kubectl("create", "-f", "-", input=json.dumps(document))
        self.write_status(wire["status"])

    def write_status(self, status: dict[str, Any]) -> None:
        """What the operator would write, of the present generation."""
        generation = self.get()["metadata"]["generation"]
        conditions = [
            condition | {"observedGeneration": generation} for condition in status["conditions"]
        ]
        patch = {"status": status | {"observedGeneration": generation, "conditions": conditions}}
        self.cluster.kubectl(
            "patch", "mdep", DEPLOYMENT, "-n", self.namespace, "--subresource=status",
            "--type=merge", "-p", json.dumps(patch),
        )  # fmt: skip

    def answer(self) -> None:
        """Decides about the annotations that are set now, and writes the status."""
        annotations = self.get()["metadata"].get("annotations", {})
        resource: ModelDeployment = self.look.observation.resource
        metadata = resource.metadata.model_copy(update={"annotations": annotations})
        told = resource.model_copy(update={"metadata": metadata})
        look = replace(self.look, observation=replace(self.look.observation, resource=told))
        self.write_status(look.decide().status.to_wire())

    def manager_of(self, annotation: str) -> str:
        """Which field manager set an annotation."""
        managed = json.loads(
            self.cluster.kubectl(
                "get",
                "mdep",
                DEPLOYMENT,
                "-n",
                self.namespace,
                "-o",
                "json",
                "--show-managed-fields",
            )
        )["metadata"]["managedFields"]
        for entry in managed:
            fields = entry["fieldsV1"].get("f:metadata", {}).get("f:annotations", {})
            if f"f:{annotation}" in fields:
                return entry["manager"]
        return ""


@pytest.fixture(scope="module", autouse=True)
def crds(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")


@pytest.fixture
def plugin(cluster: Cluster, namespace: str, tmp_path: Path) -> Plugin:
    executable = tmp_path / "kubectl-mooring"
    executable.write_text(PLUGIN)
    executable.chmod(0o755)
    return Plugin(cluster, namespace, tmp_path)


@pytest.fixture
def stage(cluster: Cluster, namespace: str, request: pytest.FixtureRequest) -> Stage:
    found = Stage(cluster, namespace, look_at(request.param))
    found.set_up()
    return found


on = pytest.mark.parametrize


@on("stage", [ANALYSING], indirect=True)
def test_candidate_is_aborted_and_the_operators_word_is_told(plugin: Plugin, stage: Stage) -> None:
    with plugin.start("abort", DEPLOYMENT) as process:
        assert process.stdout is not None
        will = process.stdout.readline()
        written = process.stdout.readline()
        stage.answer()
        told = process.stdout.read()
    assert process.returncode == 0
    assert "gets no request any more and is quarantined (Manual)" in will
    assert "is rolled back" in told
    token = written.split("=", 1)[1].split(" ", 1)[0]
    assert stage.get()["metadata"]["annotations"]["mooring.dev/abort"] == token
    assert stage.manager_of("mooring.dev/abort") == "kubectl-mooring"


@on("stage", [ANALYSING], indirect=True)
def test_nothing_is_written_when_the_verb_fits_nothing(plugin: Plugin, stage: Stage) -> None:
    for arguments, said in (
        (("retry", DEPLOYMENT), "is neither in quarantine nor waiting"),
        (("approve", DEPLOYMENT), "does not wait for approval"),
        (("promote", DEPLOYMENT, "--revision", "v9"), "the candidate is v"),
        (("promote", "nobody"), "NotFound"),
    ):
        code, _, error = plugin(*arguments)
        assert code == 10, arguments
        assert said in error
        assert "remedy: " in error
    assert not stage.get()["metadata"].get("annotations")


@on("stage", [ANALYSING], indirect=True)
def test_command_ends_with_another_code_when_no_operator_answers(
    plugin: Plugin, stage: Stage
) -> None:
    code, _, error = plugin("promote", DEPLOYMENT, "--timeout", "1s")
    assert code == 11
    assert "has not answered in time" in error


@on("stage", [ANALYSING], indirect=True)
def test_pause_and_resume_edit_the_spec_and_say_so(plugin: Plugin, stage: Stage) -> None:
    status = stage.look.wire["status"]
    for command, paused in (("pause", True), ("resume", False)):
        with plugin.start(command, DEPLOYMENT) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            stage.write_status(status)
            told = process.stdout.read()
        assert process.returncode == 0
        assert "Git must say the same" in said
        assert "Analysing" in told
        assert stage.get()["spec"]["paused"] is paused
    code, out, _ = plugin("resume", DEPLOYMENT)
    assert (code, "already" in out) == (0, True)


@on("stage", [ROLLED_BACK], indirect=True)
def test_status_history_and_reasons_are_read_from_the_cluster(plugin: Plugin, stage: Stage) -> None:
    code, out, _ = plugin("why", DEPLOYMENT)
    assert code == 0
    assert "was rolled back at" in out
    assert "kubectl mooring retry" in out
    code, out, _ = plugin("why", DEPLOYMENT, "--json")
    assert json.loads(out)["title"].startswith(f"{DEPLOYMENT} in {stage.namespace}: RolledBack")
    code, out, _ = plugin("status", DEPLOYMENT)
    assert "quarantine" in out
    code, out, _ = plugin("history", DEPLOYMENT, "--json")
    assert [entry["version"] for entry in json.loads(out)] == ["v2", "v1"]
    assert code == 0


@pytest.mark.timeout(400)
def test_verbs_steer_real_rollouts(scene: Scene, plugin: Plugin) -> None:
    gate = {"steps": [{"shadow": 100, "minRows": 50}], "approval": {"required": True}}

    def deploy(version: str) -> None:
        named = {"version": version}
        scene.world.apply(deployment_manifest(scene.namespace, named, rollout=gate))

    scene.declare("v1", "v2", "v3")
    deploy("v1")
    scene.wait(lambda seen: _reason(seen) == "AwaitingApproval", "waiting for approval")
    code, out, error = plugin("approve", MODEL, "--wait", seconds=150)
    assert code == 0, error
    assert "Initialized" in out
    replay = scene.traffic()
    deploy("v3")
    scene.wait(lambda seen: _reason(seen) == "AwaitingApproval", "waiting for approval")
    assert plugin("approve", MODEL)[0] == 0
    scene.wait_stage("Starting")
    code, _, error = plugin("abort", MODEL, "--wait", seconds=150)
    assert code == 0, error
    assert plugin("retry", MODEL)[0] == 0
    scene.wait(lambda seen: _reason(seen) == "AwaitingApproval", "waiting for approval again")
    assert plugin("approve", MODEL)[0] == 0
    code, _, error = plugin("promote", MODEL, "--wait", seconds=150)
    assert code == 0, error
    assert scene.mdep()["status"]["stable"]["version"] == "v3"
    tally = replay.stop()
    assert tally.failed == 0, tally.failures


def _reason(seen: dict[str, Any]) -> str:
    conditions = seen.get("status", {}).get("conditions", [])
    return next((c["reason"] for c in conditions if c["type"] == "Ready"), "")
