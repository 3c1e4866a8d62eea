"""The demo's eyes and hands in the cluster: kubectl, and waiting for what a user would see."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cluster_tools.cluster import Cluster

Object = dict[str, Any]
POLL_SECONDS = 0.5


class StoryStuck(RuntimeError):
    """Something that the story needs did not happen in time; the message shows the object."""


@dataclass(frozen=True)
class World:
    """A cluster, looked at as a user looks at it."""

    cluster: Cluster

    def get(self, kind: str, name: str, namespace: str) -> Object:
        """One object, as JSON."""
        text = self.cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json")
        loaded: Object = json.loads(text)
        return loaded

    def apply(self, manifests: str) -> str:
        """`kubectl apply` of YAML text, with strict field validation."""
        return self.cluster.kubectl("apply", "--validate=strict", "-f", "-", input=manifests)

    def wait(
        self,
        kind: str,
        name: str,
        namespace: str,
        *,
        until: Callable[[Object], bool],
        what: str,
        seconds: float,
    ) -> Object:
        """The object, once `until` holds of it.

        Raises:
            StoryStuck: it did not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        seen = self.get(kind, name, namespace)
        while not until(seen):
            if time.monotonic() > deadline:
                conditions = json.dumps(seen.get("status", {}), indent=1)
                raise StoryStuck(
                    f"{kind} {namespace}/{name}: {what} not within {seconds:.0f} s\n{conditions}"
                )
            time.sleep(POLL_SECONDS)
            seen = self.get(kind, name, namespace)
        return seen


def condition(seen: Object, type_: str) -> Object:
    """The condition of this type; empty when absent."""
    for entry in seen.get("status", {}).get("conditions", []):
        if entry["type"] == type_:
            return entry
    return {}


def is_true(seen: Object, type_: str) -> bool:
    """Whether the condition is True for the present generation."""
    found = condition(seen, type_)
    return (
        found.get("status") == "True"
        and found.get("observedGeneration") == seen["metadata"]["generation"]
    )
