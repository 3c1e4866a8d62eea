"""Flux' own controllers reconcile Git through a rollback, and neither side undoes the other's work.

Bounded here, and only where the controllers are built already, which takes minutes; `make
prove-flux` (MOORING_PROOF=full) builds them and watches for ten minutes.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.capture import CaptureManager

from tests.cluster.audit_log import READING, Asked, asked_by
from tests.cluster.flux import (
    INTERVAL_SECONDS,
    KUSTOMIZE,
    NAME,
    REPOSITORIES,
    Flux,
    run_flux,
)
from tests.cluster.git_repository import BRANCH, Repository, serve_repository
from tests.cluster.operator_process import until
from tests.cluster.scene import Scene
from tests.cluster.small_model import MODEL, deployment_manifest, model_manifest
from tests.cluster.state_log import StateLog, but_status
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import (
    FLUX,
    Programs,
    ensure_programs,
    fetch_sources,
    is_built,
)
from tests.demo.world import Object, condition, is_true

FULL = os.environ.get("MOORING_PROOF") == "full"
WATCH_SECONDS = float(os.environ.get("MOORING_PROOF_SECONDS", "600" if FULL else "30"))
RATE = 20.0 if FULL else 60.0
"""Requests a second. Their event times pass at 100 a day and must stay in the past all the time."""
RECONCILE_SECONDS = 60.0
ROLLOUT_SECONDS = 180.0
OURS = ("models.mooring.dev", "modeldeployments.mooring.dev")
PATHS = "/apis/mooring.dev/v1alpha1/namespaces/{}/modeldeployments"
RESULT = Path(__file__).parents[2] / "build" / "flux.json"
LONG = {
    "steps": [{"weight": 50, "minRows": 1_000_000}],
    "analysis": {"metrics": ["errors"], "margins": {"errors": 0.2}},
}
"""Ends by a verdict in hours."""
whole = pytest.mark.skipif(not FULL, reason="make prove-flux: Flux' ways, not ours")
pytestmark = pytest.mark.timeout(4500 if FULL else 500)


@dataclass(frozen=True)
class Controllers:
    """Flux' controllers, built, and the folders with their CRDs."""

    programs: Programs
    definitions: list[Path]


@dataclass(frozen=True)
class Delivery:
    """A namespace that Flux keeps as Git says, and people who commit."""

    scene: Scene
    flux: Flux
    repository: Repository

    def commit(self, version: str, **spec: Any) -> str:
        """Asks in Git for a version; returns the revision as Flux calls it."""
        versions = list(self.scene.fleet.versions.values())
        files = {
            "models/model.yaml": without_namespace(model_manifest("", versions)),
            "models/deployment.yaml": without_namespace(
                deployment_manifest(self.scene.namespace, {"version": version}, **spec)
            ),
        }
        return f"{BRANCH}@sha1:{self.repository.commit(files, f'Serve {version}')}"

    def wait_applied(self, revision: str, ready: str) -> Object:
        """The Kustomization, once it has said of a commit that it is ready, or is not."""
        return self.flux.wait(
            lambda seen: (
                seen.get("status", {}).get("lastAttemptedRevision") == revision
                and condition(seen, "Ready").get("status") == ready
            ),
            f"Ready={ready} at {revision}",
            ROLLOUT_SECONDS,
        )

    def spec_in_git(self) -> Object:
        """What Git asks of the deployment."""
        text = (self.repository.checkout / "models/deployment.yaml").read_text()
        return dict(yaml.safe_load(text)["spec"])

    def watch(self) -> StateLog:
        return StateLog(self.scene.cluster, PATHS.format(self.scene.namespace), MODEL)


@pytest.fixture(scope="session")
def controllers(request: pytest.FixtureRequest) -> Controllers:
    layout = default_layout()
    if not FULL and not is_built(FLUX, layout):
        pytest.skip("Flux' controllers are not built: make prove-flux builds them")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    shown = isinstance(capture, CaptureManager) and capture.global_and_fixture_disabled()
    with shown or nullcontext():
        progress = Progress()
        programs = ensure_programs((FLUX,), layout, progress)
        sources = [fetch_sources(FLUX, path, layout, progress) for path in FLUX.programs.values()]
    return Controllers(programs, [folder / "config" / "crd" / "bases" for folder in sources])


@pytest.fixture
def delivery(
    request: pytest.FixtureRequest,
    controllers: Controllers,
    audit_log: Path,
    scene: Scene,
    tmp_path: Path,
) -> Generator[Delivery]:
    """A parameter of it is feature gates of the kustomize-controller."""
    assert audit_log.exists()
    with (
        serve_repository(tmp_path / "git") as repository,
        run_flux(
            scene.cluster,
            scene.namespace,
            controllers.programs,
            controllers.definitions,
            tmp_path,
            getattr(request, "param", ""),
        ) as flux,
    ):
        yield Delivery(scene, flux, repository)


def test_flux_and_the_operator_leave_each_other_alone_through_a_rollback(
    delivery: Delivery, audit_log: Path
) -> None:
    scene, flux = delivery.scene, delivery.flux
    good = delivery.commit("v1")
    flux.reconcile(delivery.repository.url, BRANCH)
    delivery.wait_applied(good, "True")
    scene.wait_ready("v1")
    replay = scene.traffic(RATE)

    bad = delivery.commit("v2")
    failed = delivery.wait_applied(bad, "False")
    refused = scene.wait(lambda seen: is_true(seen, "RolledBack"), "a rollback")
    assert refused["status"]["stable"]["version"] == "v1"
    told = condition(failed, "Ready")
    assert told["reason"] == "HealthCheckFailed"
    assert f"ModelDeployment/{scene.namespace}/{MODEL}" in told["message"], told

    seen = watch_at_rest(delivery, audit_log, bad)
    undo_by_hand(delivery)

    reverted = delivery.commit("v1")
    delivery.wait_applied(reverted, "True")
    assert scene.wait_ready("v1")["status"]["quarantine"][-1]["version"] == "v2"
    tally = replay.stop()
    assert tally.failed == 0, tally.failures
    flux.remove()
    assert scene.names("mdl,mdep") == set()
    document = seen | {"requests": tally.sent, "failed": tally.failed, "told": told["message"]}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1))
    print(json.dumps(document, indent=1), flush=True)


@whole
@pytest.mark.parametrize("delivery", ["CancelHealthCheckOnNewRevision=true"], indirect=True)
def test_flux_with_a_gate_takes_a_revert_at_once_while_a_candidate_is_analysed(
    delivery: Delivery,
) -> None:
    start_long_analysis(delivery)
    delivery.wait_applied(delivery.commit("v1"), "True")
    settled = delivery.scene.wait_ready("v1")
    assert settled["status"]["history"][0]["outcome"] == "Superseded"
    assert settled["status"].get("quarantine", []) == []


@whole
def test_flux_as_it_comes_takes_a_revert_when_a_verdict_or_an_abort_ended_the_analysis(
    delivery: Delivery,
) -> None:
    scene = delivery.scene
    analysed = start_long_analysis(delivery)
    reverted = delivery.commit("v1")
    in_source = f"{REPOSITORIES}/{NAME}"
    artifact = f"jsonpath={{.status.artifact.revision}}={reverted}"
    scene.cluster.kubectl(
        *("wait", in_source, "-n", scene.namespace, f"--for={artifact}", "--timeout=60s")
    )
    ends = time.monotonic() + 6 * INTERVAL_SECONDS
    until(lambda: time.monotonic() > ends, RECONCILE_SECONDS)
    waiting = scene.mdep()
    assert waiting["spec"]["model"]["version"] == "v3"
    assert {one.revision for one in delivery.flux.applies()[-1:]} == {analysed}

    token = waiting["status"]["candidate"]["revision"]
    annotation = f"mooring.dev/abort={token}"
    scene.cluster.kubectl("annotate", "mdep", MODEL, "-n", scene.namespace, annotation)
    delivery.wait_applied(reverted, "True")
    kept = scene.wait_ready("v1")
    assert kept["metadata"]["annotations"]["mooring.dev/abort"] == token
    assert kept["status"]["handled"]["abort"] == token


def start_long_analysis(delivery: Delivery) -> str:
    """v1 serves, and a candidate is analysed that will not be judged; its revision in Flux."""
    first = delivery.commit("v1")
    delivery.flux.reconcile(delivery.repository.url, BRANCH)
    delivery.wait_applied(first, "True")
    analysed = delivery.commit("v3", rollout=LONG)
    delivery.scene.wait_stage("Analysing")
    until(lambda: delivery.flux.applies()[-1].revision == analysed, RECONCILE_SECONDS)
    return analysed


def watch_at_rest(delivery: Delivery, audit_log: Path, revision: str) -> dict[str, Any]:
    """Looks on for a while after the rollback: what was applied, written and told meanwhile."""
    scene, flux = delivery.scene, delivery.flux
    children = scene.names("deployments,services")
    applies, asked, events = len(flux.applies()), len(asked_by(audit_log, flux.account)), told(flux)
    with closing(delivery.watch()) as log, closing(kustomization_log(delivery)) as reports:
        ends = time.monotonic() + WATCH_SECONDS
        until(lambda: time.monotonic() > ends, WATCH_SECONDS + RECONCILE_SECONDS)
        states, statuses = log.states(), reports.states()
    applied = flux.applies()[applies:]
    writes = [one for one in asked_by(audit_log, flux.account)[asked:] if touches_ours(one)]

    assert {one.revision for one in applied} == {revision}
    assert len(applied) >= WATCH_SECONDS / (4 * INTERVAL_SECONDS)
    done = Counter(what for one in applied for what in one.output.values())
    assert set(done) == {"unchanged"}, done
    # Flux asks the API server what an apply would change; nothing does, so none follows. Of the
    # first apply, the asking may lie before.
    assert len(writes) >= 2 * (len(applied) - 1) > 0
    assert [one for one in writes if not one.dry_run] == []
    assert told(flux)["configured"] == events["configured"]

    first = but_status(states[0])
    assert [state for state in states if but_status(state) != first] == []
    assert {entry["manager"] for entry in first["metadata"]["managedFields"]} == {KUSTOMIZE}
    assert first["spec"]["model"] == delivery.spec_in_git()["model"]
    assert all(is_true(state, "RolledBack") and is_true(state, "Stalled") for state in states)
    assert scene.names("deployments,services") == children
    ready = Counter(condition(status, "Ready")["status"] for status in statuses)
    assert ready["False"] > 0
    assert ready["True"] == 0, ready
    return {
        "watchedSeconds": WATCH_SECONDS,
        "applies": len(applied),
        "outputs": dict(done),
        "dryRuns": len(writes),
        "writesByFlux": 0,
        "statusWritesByOperator": len(states) - 1,
        "kustomizationReady": dict(ready),
    }


def undo_by_hand(delivery: Delivery) -> None:
    """A person edits the cluster and Flux undoes it, which the instruments above do see."""
    scene, flux = delivery.scene, delivery.flux
    name, before = f"ModelDeployment/{scene.namespace}/{MODEL}", len(flux.applies())
    with closing(delivery.watch()) as log:
        until(lambda: len(log.states()) > 0, RECONCILE_SECONDS)
        patch = json.dumps({"spec": {"rollback": {"keepWarm": "21s"}}})
        scene.cluster.kubectl(
            "patch", "mdep", MODEL, "-n", scene.namespace, "--type=merge", "-p", patch
        )
        until(lambda: "configured" in outputs(flux, name)[before:], RECONCILE_SECONDS)
        until(lambda: kept_warm(log) == ["20s", "21s", "20s"], RECONCILE_SECONDS)


def outputs(flux: Flux, name: str) -> list[str]:
    return [one.output[name] for one in flux.applies()]


def kept_warm(log: StateLog) -> list[str]:
    """What the spec said over time, each change once."""
    said = [state["spec"]["rollback"]["keepWarm"] for state in log.states()]
    return [value for value, _ in groupby(said)]


def kustomization_log(delivery: Delivery) -> StateLog:
    group = "kustomize.toolkit.fluxcd.io/v1"
    path = f"/apis/{group}/namespaces/{delivery.scene.namespace}/kustomizations"
    return StateLog(delivery.scene.cluster, path, NAME)


def told(flux: Flux) -> Counter[str]:
    """How often Events of Flux say that it configured something."""
    counted: Counter[str] = Counter()
    for event in flux.events():
        if "configured" in event["message"]:
            counted["configured"] += int(event.get("count") or 1)
    return counted


def touches_ours(one: Asked) -> bool:
    return one.verb not in READING and one.resource.split("/")[0] in OURS


def without_namespace(manifest: str) -> str:
    document = yaml.safe_load(manifest)
    del document["metadata"]["namespace"]
    return yaml.safe_dump(document, sort_keys=False)
