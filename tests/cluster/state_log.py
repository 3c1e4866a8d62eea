"""Every state of one object that the API server told of, from entering on."""

import json
import subprocess
import threading
from types import TracebackType
from typing import Any, Self

from tests.cluster_tools.cluster import Cluster
from tests.demo.world import Object


class StateLog:
    """A watch on one object.

    Args:
        cluster: where it is.
        path: of the collection, e.g. `/apis/mooring.dev/v1alpha1/namespaces/here/models`.
        name: of the object, which exists.
    """

    def __init__(self, cluster: Cluster, path: str, name: str) -> None:
        address = f"{path}?watch=true&timeoutSeconds=7200&fieldSelector=metadata.name%3D{name}"
        get = [cluster.kubectl_path, f"--kubeconfig={cluster.kubeconfig}", "get", "--raw", address]
        self._command = [str(word) for word in get]
        self._states: list[Object] = []
        self._kinds: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def states(self) -> list[Object]:
        """The state at the start, then one after each write; the watch has not broken.

        Raises:
            AssertionError: it has, or something else than writes was told of.
        """
        assert self._process.poll() is None, "the watch ended early"
        assert all(kind in ("ADDED", "MODIFIED") for kind in self._kinds), self._kinds
        return list(self._states)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            self._states.append(event["object"])
            self._kinds.append(event["type"])


def but_status(state: Object) -> Object:
    """What others than a writer of status decide: spec, metadata and who owns which field of it."""
    metadata = {k: v for k, v in state["metadata"].items() if k != "resourceVersion"}
    metadata["managedFields"] = [
        entry for entry in metadata["managedFields"] if entry.get("subresource") != "status"
    ]
    return {"metadata": metadata, "spec": state["spec"]}
