"""A real Gateway divides the requests: Traefik, through promotions, an abort and a bad candidate.

Every request goes through Traefik's port. Bounded here, and only where Traefik is built already,
which takes minutes; `make prove-gateway` (MOORING_PROOF=full) builds it and plays more rounds.
"""

import json
import os
import time
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager

from tests.builders.misbehaving import request
from tests.cluster.line_versions import publish_lines
from tests.cluster.operator_process import until
from tests.cluster.revision_log import RevisionLog, answered_in_quarantine, seconds, time_away
from tests.cluster.scene import Scene
from tests.cluster.small_model import MODEL, deployment_manifest, model_manifest
from tests.cluster.steady_load import SteadyLoad
from tests.cluster.traefik import GATEWAY, HOST, gateway_api, run_traefik
from tests.cluster_tools.cluster import Cluster
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.toolchain import TRAEFIK, ensure_programs, is_built
from tests.demo.world import Object, condition, is_true

FULL = os.environ.get("MOORING_PROOF") == "full"
RATE = 60.0
ROUNDS = 3 if FULL else 1
BAD = "garbage"
ROWS = 500 if FULL else 120
STEPS = [
    {"shadow": 100, "minRows": 60},
    {"weight": 25, "minRows": ROWS},
    {"weight": 50, "minRows": ROWS},
]
LONG = [{"weight": 50, "minRows": 1_000_000}]
TOLERANCE = 4.0
"""Percentage points between asked-for and achieved weight. Traefik divides in turn, not by chance;
what is left is requests that were under way when a phase began."""
PATH = f"/v2/models/{MODEL}"
GROUP = "gateway.networking.k8s.io"
RESULT = Path(__file__).parents[2] / "build" / "gateway.json"
whole = pytest.mark.skipif(not FULL, reason="make prove-gateway: it takes a minute to be found")
pytestmark = pytest.mark.timeout(2400 if FULL else 420)


@dataclass
class Story:
    """A deployment behind Traefik, under load."""

    scene: Scene
    edge: str
    """The namespace of the Gateway."""
    load: SteadyLoad
    log: RevisionLog
    steps: list[Object] = field(default_factory=list[Object])
    """What each step with weight came to."""
    shadowed: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    """Revisions, and from when until when no client was to reach each, wall-clock seconds."""

    def deploy(self, version: str, steps: list[dict[str, int]]) -> None:
        """Asks for a version; one that is in quarantine is tried again."""
        self.scene.world.apply(manifest(self.scene, self.edge, version, steps))
        self.scene.retry_quarantined(version)

    def promote(self, version: str) -> None:
        """A good candidate goes all the way; what the status says of each step is kept."""
        asked = time.time()
        self.deploy(version, STEPS)
        seen: dict[int, Object] = {}

        def arrived(now: Object) -> bool:
            trying = now["status"].get("candidate", {})
            if trying.get("version") == version and trying.get("stage") == "Analysing":
                seen[trying.get("step", 0)] = trying
            return is_true(now, "Ready") and now["status"].get("version") == version

        self.scene.wait(arrived, f"Ready with {version}")
        self.shadowed.append((seen[1]["revision"], asked, seconds(seen[1]["stepStartedAt"])))
        for number, wanted in enumerate(STEPS):
            if "weight" in wanted:
                told = {name: seen[number].get(name) for name in ("weightAchieved", "routed")}
                self.steps.append({"version": version, "weight": wanted["weight"]} | told)

    def abort(self, version: str) -> None:
        """A person drops a good candidate that gets half of the requests."""
        self.deploy(version, LONG)
        trying = self.scene.wait(
            lambda seen: seen["status"].get("candidate", {}).get("weightAchieved") is not None,
            "an achieved weight",
        )
        self.scene.say("abort", trying["status"]["candidate"]["revision"])
        self.scene.wait_rolled_back()

    def refuse(self, version: str) -> None:
        """A bad candidate is rolled back by its shadow."""
        asked = time.time()
        self.deploy(version, STEPS)
        self.scene.wait_rolled_back()
        left = self.scene.mdep()["status"]["lastRollback"]["fromRevision"]
        self.shadowed.append((left, asked, time.time()))

    def weights(self) -> tuple[int, ...]:
        """What the HTTPRoute says."""
        route = self.scene.world.get(f"httproutes.{GROUP}", MODEL, self.scene.namespace)
        return tuple(backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"])


def manifest(scene: Scene, edge: str, version: str, steps: list[dict[str, int]]) -> str:
    """A deployment behind the Gateway that decides by errors and outputs, within seconds."""
    gateway = {
        "name": GATEWAY,
        "namespace": edge,
        "hostnames": [HOST],
        "pathPrefix": PATH,
    }
    analysis = {
        "metrics": ["errors", "invalidOutputs"],
        "margins": {"errors": 0.2, "invalidOutputs": 0.2},
    }
    return deployment_manifest(
        scene.namespace,
        {"version": version},
        traffic={"mode": "Gateway", "gateway": gateway},
        rollout={"steps": steps, "analysis": analysis, "progressDeadline": "60s"},
        rollback={"keepWarm": "5s", "cooldown": "0s", "budget": {"count": 20, "per": "1s"}},
        monitoring={"interval": "1s"},
        predictionLog=None,
    )


@pytest.fixture
def api(cluster: Cluster, definitions: Path) -> Generator[None]:
    """An API server that has the Gateway API."""
    with gateway_api(cluster, definitions):
        yield


@pytest.fixture(scope="session")
def program(request: pytest.FixtureRequest) -> Path:
    """Traefik, built."""
    layout = default_layout()
    if not FULL and not is_built(TRAEFIK, layout):
        pytest.skip("Traefik is not built: make prove-gateway builds it")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    shown = isinstance(capture, CaptureManager) and capture.global_and_fixture_disabled()
    with shown or nullcontext():
        return ensure_programs((TRAEFIK,), layout, Progress())["traefik"]


@pytest.fixture
def edge(cluster: Cluster, namespace: str) -> Generator[str]:
    """The namespace of the Gateway, another than the deployment's."""
    name = f"{namespace}-edge"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def story(program: Path, api: None, scene: Scene, edge: str, tmp_path: Path) -> Iterator[Story]:
    """v1 serves behind the Gateway, once its listener admits the route."""
    cluster, namespace = scene.cluster, scene.namespace
    cluster.kubectl("label", "namespace", namespace, "mooring.dev/allow-code=true")
    scene.world.apply(model_manifest(namespace, publish_lines(cluster, tmp_path, (BAD,))))
    with run_traefik(cluster, edge, program, tmp_path) as traefik:
        scene.world.apply(manifest(scene, edge, "v1", STEPS))
        refused = wait_standing(scene, "Stalled", "RouteNotAccepted")
        assert "NotAllowedByListeners" in condition(refused, "Stalled")["message"]
        traefik.admit("All")
        scene.wait_ready("v1")
        until(lambda: traefik.status(PATH) == 200, 20, scene.operator)
        assert traefik.status("/v2") == 404, "no other path is led to the deployment"
        load = SteadyLoad(f"{traefik.url}{PATH}/infer", request(), rate=RATE, connections=8)
        load.start()
        with closing(RevisionLog(cluster, namespace, MODEL)) as log:
            yield Story(scene, edge, load, log)
        load.stop()


def wait_standing(scene: Scene, type_: str, reason: str) -> Object:
    return scene.wait(lambda seen: condition(seen, type_).get("reason") == reason, reason)


def test_route_of_somebody_else_is_left_alone(api: None, scene: Scene) -> None:
    kind, place = f"httproutes.{GROUP}", ("-n", scene.namespace)
    theirs = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": MODEL, "namespace": scene.namespace},
        "spec": {"parentRefs": [{"name": "theirs"}], "hostnames": ["theirs.example.com"]},
    }
    scene.cluster.kubectl("create", "-f", "-", input=json.dumps(theirs))
    before = scene.world.get(kind, MODEL, scene.namespace)
    scene.declare("v1")
    scene.world.apply(manifest(scene, "nowhere", "v1", STEPS))
    conflict = wait_standing(scene, "Stalled", "NameConflict")
    assert f"HTTPRoute {MODEL}" in condition(conflict, "Stalled")["message"]
    assert scene.world.get(kind, MODEL, scene.namespace) == before
    scene.cluster.kubectl("delete", kind, MODEL, *place)
    waiting = wait_standing(scene, "Reconciling", "AwaitingGateway")
    assert f"Gateway nowhere/{GATEWAY}" in condition(waiting, "Reconciling")["message"]
    ours = scene.world.get(kind, MODEL, scene.namespace)
    assert ours["metadata"]["ownerReferences"][0]["kind"] == "ModelDeployment"


@whole
def test_gateway_api_that_is_installed_later_is_found(definitions: Path, scene: Scene) -> None:
    scene.declare("v1")
    scene.world.apply(manifest(scene, "nowhere", "v1", STEPS))
    missing = wait_standing(scene, "Stalled", "GatewayApiMissing")
    assert "install the CRDs" in condition(missing, "Stalled")["message"]
    with gateway_api(scene.cluster, definitions):
        wait_standing(scene, "Reconciling", "AwaitingGateway")


def play(story: Story) -> None:
    """One round: a promotion, an abort at half of the requests, a bad candidate in the shadow."""
    for number in range(ROUNDS):
        serving, following = (f"v{1 + (number + ahead) % 3}" for ahead in (1, 2))
        story.promote(serving)
        story.abort(following)
        story.deploy(serving, STEPS)
        story.scene.wait_ready(serving)
        story.refuse(BAD)
        story.deploy(serving, STEPS)
        story.scene.wait_ready(serving)


def test_real_gateway_divides_as_asked_and_no_request_fails(story: Story) -> None:
    until(lambda: story.load.outcomes().answered > 60, 30)
    play(story)
    assert story.weights() == (100, 0)
    retired = story.scene.retired_answers()
    outcomes, answers = story.load.stop(), story.load.answers()
    verdicts = story.log.verdicts()
    document = {
        "outcomes": asdict(outcomes),
        "rounds": ROUNDS,
        "steps": story.steps,
        "answeredInQuarantine": sum(answered_in_quarantine(v, answers) for v in verdicts),
        "retiredAnswers": retired,
        "answeredFromTheShadow": sum(
            answer.revision == revision and begun < answer.sent and answer.received < ended
            for answer in answers
            for revision, begun, ended in story.shadowed
        ),
        "secondsFromVerdictToLastAnswer": {
            verdict.kind: round(time_away(verdict, answers), 3) for verdict in verdicts
        },
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1))
    print(json.dumps(document, indent=1), flush=True)
    assert outcomes.failed == 0, outcomes
    assert outcomes.answered > ROUNDS * RATE * 30
    assert document["answeredInQuarantine"] == 0
    assert document["answeredFromTheShadow"] == 0
    assert retired == 0
    assert len(story.steps) == 2 * ROUNDS
    for step in story.steps:
        assert step["routed"]["weight"] == step["weight"], step
        assert abs(step["weightAchieved"] - step["weight"]) <= TOLERANCE, step
    kinds = [verdict.kind for verdict in verdicts]
    assert kinds.count("RollingBack") == 2 * ROUNDS
    assert kinds.count("Flip") == ROUNDS
