"""The story: a bad version is rolled back, a good one promoted, drift found, a model retrained."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.demo.narrator import Narrator
from tests.demo.replay import Replay
from tests.demo.resources import (
    ENVIRONMENTS,
    MODEL,
    POLICY,
    PROD,
    Version,
    deployment,
    model,
    policy,
)
from tests.demo.world import POLL_SECONDS, Object, StoryStuck, World, condition, is_true

NS = PROD.namespace
ROLLOUT_SECONDS = 240.0
DRIFT_SECONDS = 240.0
TRAINING_SECONDS = 300.0
AUGUST = datetime(2013, 8, 14, tzinfo=UTC)
"""By then the summer is in the log: enough later rows to tell the models apart."""


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    """What build/demo.json keeps of a run."""
    return {
        "verdict": result["verdict"],
        "version": result.get("version", ""),
        "interval": [result.get("lower"), result.get("upper")],
        "effect": result.get("effect"),
        "testRows": result.get("testRows"),
        "run": result["run"],
    }


@dataclass
class Story:
    """Plays the acts and keeps their results for `build/demo.json`."""

    narrator: Narrator
    world: World
    versions: dict[str, Version]
    """v1 good, v2 with a unit error between training and serving, v3 better."""
    results: dict[str, Any] = field(default_factory=dict[str, Any])

    def deploy_first_version(self) -> None:
        """Model, ModelDeployment and RetrainPolicy in each environment."""
        for environment in ENVIRONMENTS:
            self.world.apply(model(environment, [self.versions["v1"]]))
            self.world.apply(deployment(environment, {"version": "v1"}))
            self.world.apply(policy(environment))
        for environment in ENVIRONMENTS:
            self._wait_ready(environment.namespace, version="v1")
            self.narrator.say(f"{environment.name}: v1 is verified and serves")

    def bad_version_is_rolled_back(self, keep: Path) -> None:
        """(a) An edit of spec.model.version brings in a faulty version."""
        self.world.apply(model(PROD, [self.versions["v1"], self.versions["v2"]]))
        self.world.apply(deployment(PROD, {"version": "v2"}))
        before = self._mdep()
        keep.joinpath("mdep-before-rollback.json").write_text(json.dumps(before, indent=1))
        self._follow_rollout("v2")
        after = self.world.wait(
            "mdep", MODEL, NS, until=lambda seen: is_true(seen, "RolledBack"),
            what="a rollback of v2", seconds=ROLLOUT_SECONDS,
        )  # fmt: skip
        keep.joinpath("mdep-after-rollback.json").write_text(json.dumps(after, indent=1))
        unchanged = (
            all(before[part] == after[part] for part in ("spec",))
            and before["metadata"]["generation"] == after["metadata"]["generation"]
        )
        last = after["status"]["lastRollback"]
        self.narrator.say(
            f"rolled back {last['fromVersion']} to {last['toVersion']}"
            f" after {last['seconds']:.0f} s:"
            f" {last['reason']}, {last['evidence']}"
        )
        self.narrator.say(f"spec and generation unchanged: {unchanged}")
        if not unchanged:
            raise StoryStuck("the rollback changed spec or generation of the ModelDeployment")
        self.results["rollback"] = {
            "from": last["fromVersion"],
            "to": last["toVersion"],
            "reason": last["reason"],
            "evidence": last["evidence"],
            "seconds": last["seconds"],
        }

    def good_version_is_promoted(self) -> None:
        """(b) v3 enters by a channel."""
        self.world.apply(model(PROD, list(self.versions.values())))
        self.world.wait(
            "mdl", MODEL, NS,
            until=lambda seen: any(
                channel["version"] == "v3" for channel in seen["status"].get("channels", [])
            ),
            what="channel live on v3", seconds=ROLLOUT_SECONDS,
        )  # fmt: skip
        self.narrator.say("v3 is verified; channel live points to it; the deployment follows live")
        self.world.apply(deployment(PROD, {"channel": "live"}))
        self._follow_rollout("v3")
        self._wait_ready(NS, version="v3")
        self.narrator.say("v3 is promoted; v1 stays warm for a while")

    def drift_is_announced(self, replay: Replay) -> None:
        """(c) Summer arrives."""
        seen = self.world.wait(
            "mdep", MODEL, NS, until=lambda seen: is_true(seen, "Drifted"),
            what="a drift alarm", seconds=DRIFT_SECONDS,
        )  # fmt: skip
        drift = seen["status"]["drift"]
        names = [entry["name"] for entry in drift["features"]]
        clock = replay.tally.clock
        self.narrator.say(f"{clock:%d %B} in replay time: {condition(seen, 'Drifted')['message']}")
        self.results["drift"] = {"features": names, "rows": drift["rows"]}

    def model_is_retrained(self, replay: Replay) -> None:
        """(c) The policy retrains; the verdict counts, whatever it is."""
        result = self._result(after="")
        if result["verdict"] != "Accepted":
            self.results["firstRetrain"] = _figures(result)
            self.narrator.say(
                f"{self._version()} stays. The season goes on; in August a person asks again:"
            )
            self._await_clock(replay, AUGUST)
            command = ("annotate", "rtp", POLICY, "-n", NS, "mooring.dev/retrain=august")
            self.world.cluster.kubectl(*command)
            self.narrator.say(f"$ kubectl {' '.join(command)}")
            result = self._result(after=result["run"])
        self.results["retrain"] = _figures(result)
        if result["verdict"] == "Accepted":
            self._follow_rollout(result["version"])
            self._wait_ready(NS, version=result["version"])
            self.narrator.say(f"{result['version']} is promoted after winning on later rows")

    def _result(self, *, after: str) -> dict[str, Any]:
        """The result of the first run that is not `after`."""

        def ended(seen: Object) -> bool:
            return seen["status"].get("lastResult", {"run": after})["run"] != after

        seen = self.world.wait(
            "rtp", POLICY, NS,
            until=lambda seen: "run" in seen["status"] or ended(seen),
            what="a training run", seconds=TRAINING_SECONDS,
        )  # fmt: skip
        run = seen["status"].get("run")
        if run:
            self.narrator.say(f"run {run['name']} started by trigger {run['trigger']}")
        seen = self.world.wait(
            "rtp", POLICY, NS,
            until=ended,
            what="the result of the run", seconds=TRAINING_SECONDS,
        )  # fmt: skip
        result: dict[str, Any] = seen["status"]["lastResult"]
        self.narrator.say(f"{result['verdict']}: {result.get('message', '')}")
        return result

    def _await_clock(self, replay: Replay, moment: datetime) -> None:
        """Returns when the replay has reached the moment."""
        deadline = time.monotonic() + DRIFT_SECONDS
        while replay.tally.clock is None or replay.tally.clock < moment:
            if time.monotonic() > deadline:
                raise StoryStuck(
                    f"the replay did not reach {moment:%d %B} in {DRIFT_SECONDS:.0f} s"
                )
            time.sleep(POLL_SECONDS)

    def _version(self) -> str:
        return str(self._mdep()["status"]["version"])

    def _follow_rollout(self, version: str) -> None:
        """Says each step of a candidate until it has left the stage."""
        said = ""

        def over(seen: Object) -> bool:
            nonlocal said
            candidate = seen["status"].get("candidate")
            if candidate is None or candidate["version"] != version:
                return said != "" or seen["status"].get("version") == version
            line = f"{version} {candidate['stage']}, step {candidate['step']}"
            if line != said:
                said = line
                self.narrator.say(line)
            return False

        self.world.wait("mdep", MODEL, NS, until=over, what=f"{version} through its rollout",
                        seconds=ROLLOUT_SECONDS)  # fmt: skip

    def _wait_ready(self, namespace: str, *, version: str) -> None:
        self.world.wait(
            "mdep", MODEL, namespace,
            until=lambda seen: is_true(seen, "Ready") and seen["status"]["version"] == version,
            what=f"Ready with {version}", seconds=ROLLOUT_SECONDS,
        )  # fmt: skip

    def _mdep(self) -> Object:
        return self.world.get("mdep", MODEL, NS)
