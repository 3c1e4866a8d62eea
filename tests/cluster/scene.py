"""One namespace with an operator of its own, real pods and real traffic."""

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.operator_process import OperatorProcess, start_operator
from tests.cluster.small_model import (
    MODEL,
    Fleet,
    deployment_manifest,
    model_manifest,
    requests,
)
from tests.cluster_tools.cluster import Cluster
from tests.demo.replay import Replay
from tests.demo.setting import service_url
from tests.demo.world import Object, World, is_true

RATE = 60.0
ROLLOUT_SECONDS = 120.0
STAGE = r'jsonpath={.status.candidate.stage}{"\n"}'
SINGLE = {"MOORING_LEADER_ELECTION": "false"}


@dataclass
class Scene:
    """One namespace with an operator of its own, and what a user does there."""

    cluster: Cluster
    namespace: str
    fleet: Fleet
    log: Path
    operator: OperatorProcess
    said: int = 0
    """How many verbs were said, so that no token is said twice."""

    @property
    def world(self) -> World:
        return World(self.cluster)

    def kill_operator_and_start_another(self) -> None:
        self.operator.kill()
        self.operator = start_operator(
            self.cluster.kubeconfig, self.namespace, self.log, environment=SINGLE
        )

    def kill_operator_at_stage(self, stage: str) -> None:
        """kill -9 the moment that the API server tells of the stage, then another operator.

        A stage is written before the side effects that it stands for, and a rollback takes some
        170 ms: polling would miss it.
        """
        watch = [self.cluster.kubectl_path, f"--kubeconfig={self.cluster.kubeconfig}"]
        watch += ["get", "mdep", MODEL, "-n", self.namespace, "--watch", "-o", STAGE]
        with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            ended = threading.Timer(ROLLOUT_SECONDS, process.kill)
            ended.start()
            seen = any(line.strip() == stage for line in process.stdout)
            self.operator.kill()
            ended.cancel()
            process.kill()
        assert seen, f"no candidate came to {stage}"
        self.kill_operator_and_start_another()

    def declare(self, *names: str, follow: bool = False) -> None:
        versions = [self.fleet.versions[name] for name in names]
        self.world.apply(model_manifest(self.namespace, versions, follow=follow))

    def deploy(self, version: str) -> None:
        self.world.apply(deployment_manifest(self.namespace, {"version": version}))

    def mdep(self) -> Object:
        return self.world.get("mdep", MODEL, self.namespace)

    def wait(self, until_: Callable[[Object], bool], what: str) -> Object:
        return self.world.wait(
            "mdep", MODEL, self.namespace, until=until_, what=what, seconds=ROLLOUT_SECONDS
        )

    def wait_ready(self, version: str) -> Object:
        return self.wait(
            lambda seen: is_true(seen, "Ready") and seen["status"].get("version") == version,
            f"Ready with {version}",
        )

    def wait_stage(self, stage: str) -> Object:
        return self.wait(
            lambda seen: seen["status"].get("candidate", {}).get("stage") == stage,
            f"a candidate {stage}",
        )

    def wait_rolled_back(self) -> Object:
        return self.wait(
            lambda seen: is_true(seen, "Stalled") and is_true(seen, "RolledBack"), "a rollback"
        )

    def say(self, verb: str, revision: str) -> str:
        """Says a verb about a revision; returns its token."""
        self.said += 1
        token = f"{revision}@{self.said}"
        self.cluster.kubectl(
            *("annotate", "--overwrite", "mdep", MODEL, "-n", self.namespace),
            f"mooring.dev/{verb}={token}",
        )
        return token

    def retry_quarantined(self, version: str) -> None:
        """Says retry for a version where it is in quarantine, and waits until that is heard."""
        for entry in self.mdep()["status"].get("quarantine", []):
            if entry["version"] == version:
                token = self.say("retry", entry["revision"])
                self.wait(
                    lambda seen, said=token: seen["status"]["handled"].get("retry") == said,
                    "a retry",
                )

    def retired_answers(self) -> float:
        """Requests that a pod answered after its revision had been left."""
        labels = f'deployment="{MODEL}",namespace="{self.namespace}"'
        return self.operator.metric(f"mooring_deployment_retired_answers{{{labels}}}")

    def traffic(self, rate: float = RATE) -> Replay:
        """Starts to send so many requests a second; their event times pass much faster."""
        replay = Replay(service_url(self.cluster, MODEL, self.namespace), MODEL, requests(), rate)
        replay.start()
        return replay

    def names(self, kind: str) -> set[str]:
        listed = self.cluster.kubectl("get", kind, "-n", self.namespace, "-o", "name")
        return set(listed.split())
