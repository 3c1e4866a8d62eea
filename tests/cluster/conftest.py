"""Fixtures of the cluster tests: one cluster and its images for all, a namespace for each.

The cluster comes up before the first test, outside every test's time limit, and is left as it was
found. Tests that use it carry the marker `cluster` by themselves.
"""

import json
import uuid
from collections.abc import Generator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager

from tests.cluster.operator_process import start_operator
from tests.cluster.scene import SINGLE, Scene
from tests.cluster.small_model import Fleet, build_fleet, open_namespace
from tests.cluster_tools.cluster import Cluster, borrow, open_provider
from tests.cluster_tools.images import OPERATOR, SERVING, STORE_IMAGE, ensure_images
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import ProviderName, chosen_provider
from tests.cluster_tools.toolchain import TRAEFIK, fetch_sources

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Images:
    """The full names of the images on the node."""

    serving: str
    operator: str
    store: str


_STACK = pytest.StashKey[ExitStack]()
_CLUSTER = pytest.StashKey[Cluster]()
_USERS = pytest.StashKey[set[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _uses(item, "cluster"):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    users = {item.nodeid for item in session.items if _uses(item, "cluster")}
    config.stash[_USERS] = users
    if config.option.collectonly or not users:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    shown = isinstance(capture, CaptureManager) and capture.global_and_fixture_disabled()
    with shown or nullcontext():
        progress = Progress()
        kept = config.stash[_STACK] = ExitStack()
        provider = open_provider(chosen_provider(None), progress)
        cluster = kept.enter_context(borrow(provider, default_layout().users))
        config.stash[_CLUSTER] = cluster
        progress.say(str(cluster.versions()))
        if any(_uses(item, "images") for item in session.items):
            ensure_images(provider, progress)


def pytest_unconfigure(config: pytest.Config) -> None:
    stack = config.stash.get(_STACK, None)
    if stack:
        stack.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    cluster = terminalreporter.config.stash.get(_CLUSTER, None)
    if not cluster:
        return
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    users = terminalreporter.config.stash[_USERS]
    ran = [report for report in reports if report.when == "call" and report.nodeid in users]
    terminalreporter.section("cluster")
    terminalreporter.line(f"{len(ran)} tests ran against {cluster.versions()}")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster, which is up."""
    return request.config.stash[_CLUSTER]


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> Images:
    """Our images, built from this checkout and loaded into the node."""
    return Images(SERVING.full_name("0.1.0"), OPERATOR.full_name("0.1.0"), STORE_IMAGE)


@pytest.fixture(scope="session")
def definitions() -> Path:
    """The module with the CRDs of the Gateway API."""
    return fetch_sources(TRAEFIK, "sigs.k8s.io/gateway-api", default_layout(), Progress())


@pytest.fixture
def namespace(cluster: Cluster) -> Generator[str]:
    """A fresh namespace: Pod Security `restricted`, environment `dev`; deleted afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "mooring.dev/environment": "dev",
        # An operator that is installed in this cluster keeps off; a test's own lives here.
        "mooring.dev/operator": name,
        "mooring.dev/test": "true",
    }
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(document))
    # Pods made before their service account are refused.
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def fleet(cluster: Cluster, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Three versions of a small model in a store of the cluster."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", ROOT / "crds")
    return build_fleet(cluster, tmp_path_factory.mktemp("packages"))


@pytest.fixture
def audit_log(cluster: Cluster) -> Path:
    """The log of the embedded cluster's API server."""
    if cluster.provider.name is not ProviderName.EMBEDDED:
        pytest.skip("only the embedded cluster's audit log can be read")
    path = default_layout().audit_log
    assert path.exists(), (
        "this cluster was started without an audit log, by an earlier checkout: make cluster-down"
    )
    return path


@pytest.fixture
def scene(cluster: Cluster, namespace: str, fleet: Fleet, tmp_path: Path) -> Generator[Scene]:
    """A namespace with an operator of its own."""
    open_namespace(cluster, namespace, fleet.store)
    log = tmp_path / "operator.log"
    operator = start_operator(cluster.kubeconfig, namespace, log, environment=SINGLE)
    stage = Scene(cluster, namespace, fleet, log, operator)
    yield stage
    stage.operator.kill()


def _uses(item: pytest.Item, fixture: str) -> bool:
    names: list[str] = getattr(item, "fixturenames", [])
    return fixture in names
