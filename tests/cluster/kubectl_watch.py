"""`kubectl get` that goes on, and each line that it printed."""

import subprocess
import threading

from tests.cluster_tools.cluster import Cluster


class KubectlWatch:
    """A `kubectl get` that does not end by itself. Close it with `close`.

    Args:
        cluster: where it looks.
        arguments: what follows `get`.
    """

    def __init__(self, cluster: Cluster, *arguments: str) -> None:
        get = [cluster.kubectl_path, f"--kubeconfig={cluster.kubeconfig}", "get", *arguments]
        command = [str(word) for word in get]
        self._lines: list[str] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def broken(self) -> bool:
        """Whether it ended."""
        return self._process.poll() is not None

    def lines(self) -> list[str]:
        """Each line so far."""
        return list(self._lines)

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait(10)
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
