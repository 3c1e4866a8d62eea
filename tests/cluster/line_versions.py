"""Versions of one model for rollouts under load: three good lines, and code that misbehaves."""

from collections.abc import Iterable
from pathlib import Path

from tests.builders.misbehaving import bad_package, good_package
from tests.cluster.small_model import MODEL
from tests.cluster_tools.cluster import Cluster
from tests.demo.resources import Version
from tests.demo.setting import open_store, publish

GOOD = {"v1": 2.0, "v2": 2.5, "v3": 3.0}
"""Slopes by the version's name."""


def publish_lines(cluster: Cluster, folder: Path, moods: Iterable[str]) -> list[Version]:
    """The good ones and one of each mood, which is its name; packaged and uploaded."""
    _, outside = open_store(cluster)
    paths = {
        name: good_package(folder / name, name=MODEL, slope=slope) for name, slope in GOOD.items()
    }
    paths |= {mood: bad_package(folder / mood, name=MODEL, mood=mood) for mood in moods}
    return [publish(path, outside, name=name) for name, path in paths.items()]
