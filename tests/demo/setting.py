"""Sets the stage of the demo: cluster, images, operator, store, models, namespaces."""

import json
from base64 import b64decode
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from os import environ
from pathlib import Path
from typing import Any

from mooring_model.manifest import package_digest, read_manifest
from mooring_model.storage import upload
from mooring_model.stores.s3 import filesystem
from tests.cluster_tools.cluster import Cluster, connect, open_provider
from tests.cluster_tools.images import ensure_images
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import chosen_provider
from tests.demo.flights import between, load_flights, to_label, to_request
from tests.demo.narrator import Narrator
from tests.demo.replay import Departure
from tests.demo.resources import ENVIRONMENTS, Store, Version
from tests.demo.world import World

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "build" / "demo" / "packages"
STORE_NAMESPACE = "storage"
STORE_PORT = 7070
INSTALL_SECONDS = 180


@dataclass(frozen=True)
class Stage:
    """What the story plays on."""

    world: World
    store: Store
    """As pods reach it."""
    outside: Store
    """As this process reaches it, by the Service's address."""


def raise_cluster(narrator: Narrator) -> Cluster:
    """A running Kubernetes with both images on its node."""
    progress = Progress(narrator.out)
    provider = open_provider(chosen_provider(None), progress)
    provider.up()
    ensure_images(provider, progress)
    cluster = connect(provider)
    narrator.say(str(cluster.versions()))
    return cluster


def clear(narrator: Narrator, cluster: Cluster) -> None:
    """Removes what an earlier demo left: the story starts from nothing."""
    names = [environment.namespace for environment in ENVIRONMENTS] + [STORE_NAMESPACE]
    found = cluster.kubectl("get", "namespace", *names, "--ignore-not-found", "-o", "name").split()
    if found:
        narrator.say(f"removing {', '.join(found)} of an earlier demo")
        cluster.kubectl("delete", *found, "--wait", timeout=INSTALL_SECONDS)


def install(narrator: Narrator, cluster: Cluster) -> None:
    """The operator, as a user installs it."""
    operator = ("deployment/mooring-operator", "-n", "mooring-system")
    there = cluster.kubectl("get", *operator, "--ignore-not-found", "-o", "name")
    narrator.say("kubectl apply --server-side -k manifests/install")
    cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "manifests" / "install"))
    if there:
        # The image's tag is the same each time; its content may have been built anew.
        cluster.kubectl("rollout", "restart", *operator)
    cluster.kubectl(
        "rollout", "status", *operator,
        f"--timeout={INSTALL_SECONDS}s", timeout=INSTALL_SECONDS + 10,
    )  # fmt: skip


def open_store(cluster: Cluster) -> tuple[Store, Store]:
    """The S3 server in the cluster, with its buckets; as pods and as this process reach it."""
    cluster.kubectl("apply", "-f", str(ROOT / "tests" / "cluster_tools" / "manifests" / "s3.yaml"))
    cluster.kubectl(
        "rollout", "status", "deployment/s3", "-n", STORE_NAMESPACE,
        f"--timeout={INSTALL_SECONDS}s", timeout=INSTALL_SECONDS + 10,
    )  # fmt: skip
    secret = json.loads(
        cluster.kubectl("get", "secret", "s3-root", "-n", STORE_NAMESPACE, "-o", "json")
    )
    access, key = (_decoded(secret, name) for name in ("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"))
    address = _cluster_ip(cluster, "s3", STORE_NAMESPACE)
    inside = Store(f"http://s3.{STORE_NAMESPACE}.svc:{STORE_PORT}", access, key)
    outside = Store(f"http://{address}:{STORE_PORT}", access, key)
    with environment(outside.environment()):
        for bucket in ("models", "logs"):
            make_bucket(bucket)
    return inside, outside


def make_bucket(name: str) -> None:
    """Makes the bucket where it is absent."""
    s3 = filesystem()
    if not s3.exists(name):
        # `mkdir` names the region as a constraint, which S3 refuses for its default region.
        s3.call_s3("create_bucket", Bucket=name)


def publish(package: Path, outside: Store, *, name: str) -> Version:
    """Uploads a package, by its digest, and says how a Model declares it."""
    manifest = read_manifest(package)
    digest = package_digest(manifest)
    uri = f"s3://models/{manifest.model}/{name}-{digest[7:19]}"
    with environment(outside.environment()):
        upload(package, uri)
    return Version(name=name, uri=uri, digest=digest)


def departures(*, every: int, start: datetime, end: datetime) -> list[Departure]:
    """Every `every`-th flight of the stretch as requests, in the order of departure."""
    rows = between(load_flights(), start, end).iloc[::every]
    return [
        Departure(
            event_time=row.event_time.to_pydatetime(),
            body=json.dumps(to_request(row)).encode(),
            label=to_label(row),
            label_time=None if to_label(row) is None else row.label_time.to_pydatetime(),
        )
        for row in rows.itertuples()
    ]


def day(month: int, day_of_month: int) -> datetime:
    """Midnight UTC of a day of 2013."""
    return datetime(2013, month, day_of_month, tzinfo=UTC)


def service_url(cluster: Cluster, name: str, namespace: str) -> str:
    """The address of a Service, reachable from the node."""
    return f"http://{_cluster_ip(cluster, name, namespace)}"


def _cluster_ip(cluster: Cluster, name: str, namespace: str) -> str:
    found = cluster.kubectl(
        "get", "service", name, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}"
    )
    return found.strip()


def _decoded(secret: Mapping[str, Any], name: str) -> str:
    return b64decode(secret["data"][name]).decode()


@contextmanager
def environment(values: Mapping[str, str]) -> Generator[None]:
    """The process environment with these variables, restored afterwards."""
    before = {name: environ.get(name) for name in values}
    environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value
