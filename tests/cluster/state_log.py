"""Every state of one object that the API server told of, from its making on."""

import json
from typing import Any

from tests.cluster.kubectl_watch import KubectlWatch
from tests.cluster_tools.cluster import Cluster
from tests.demo.world import Object


class StateLog:
    """A watch on one object. Close it with `close`.

    Args:
        cluster: where it is.
        path: of the collection, e.g. `/apis/mooring.dev/v1alpha1/namespaces/here/models`.
        name: of the object, which exists.
    """

    def __init__(self, cluster: Cluster, path: str, name: str) -> None:
        address = f"{path}?watch=true&timeoutSeconds=7200&fieldSelector=metadata.name%3D{name}"
        self._watch = KubectlWatch(cluster, "--raw", address)

    def close(self) -> None:
        """Ends the watch."""
        self._watch.close()

    def states(self) -> list[Object]:
        """The state at the start, then one after each write; the watch has not broken.

        Raises:
            AssertionError: it has, or something else than writes was told of.
        """
        assert not self._watch.broken, "the watch ended early"
        events: list[dict[str, Any]] = [json.loads(line) for line in self._watch.lines()]
        kinds = {event["type"] for event in events}
        assert kinds <= {"ADDED", "MODIFIED"}, kinds
        return [event["object"] for event in events]


def but_status(state: Object) -> Object:
    """What others than a writer of status decide: spec, metadata and who owns which field of it."""
    metadata = {k: v for k, v in state["metadata"].items() if k != "resourceVersion"}
    metadata["managedFields"] = [
        entry for entry in metadata["managedFields"] if entry.get("subresource") != "status"
    ]
    return {"metadata": metadata, "spec": state["spec"]}
