"""The existing provider: the cluster that the current kubeconfig context points to.

Nothing is done to it before a person confirms, and `down` leaves it alone.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools.commands import run, succeeds
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import CONFIRM_VARIABLE, ProviderName


@dataclass(frozen=True)
class Existing:
    """Uses a cluster that is there.

    Attributes:
        progress: told what happens.
        confirmed: whether the person agreed on the command line already.
        kubectl: the kubectl to use.
    """

    progress: Progress
    confirmed: bool
    kubectl: Path
    name: ProviderName = ProviderName.EXISTING

    @property
    def kubeconfig(self) -> Path:
        """The first file of `KUBECONFIG`, else the user's own."""
        first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(first) if first else Path.home() / ".kube" / "config"

    def kubectl_path(self) -> Path:
        return self.kubectl

    def up(self) -> None:
        """Check that the cluster answers, after confirmation.

        Raises:
            ClusterError: there is no context, the person did not agree, or it does not answer.
        """
        context = self._context()
        self._confirm(context)
        if not self.healthy():
            raise ClusterError(f"the cluster of context {context!r} does not answer on /readyz")
        self.progress.say(f"using the cluster of context {context!r}")

    def down(self, *, purge: bool = False) -> None:
        """Leave the cluster alone."""
        self.progress.say("the existing cluster is left as it is")

    def healthy(self) -> bool:
        return succeeds([*self._kubectl(), "get", "--raw", "/readyz"])

    def status(self) -> list[str]:
        healthy = "healthy" if self.healthy() else "not healthy"
        return [f"context: {self._context()}", f"cluster: {healthy}"]

    def load_image(self, archive: Path, *, name: str = "", inputs: str = "") -> None:
        """Refuse: only a registry brings images to a cluster that is not ours.

        Raises:
            ClusterError: always.
        """
        raise ClusterError(
            f"cannot put {archive.name} on an existing cluster: push the image to a registry that "
            f"it pulls from, and name that image in the manifests"
        )

    def image_inputs(self) -> dict[str, str]:
        return {}

    def _context(self) -> str:
        try:
            return run([*self._kubectl(), "config", "current-context"]).strip()
        except ClusterError as error:
            raise ClusterError(
                f"{self.kubeconfig} has no current context: set one with `kubectl config "
                f"use-context NAME`, or use another provider"
            ) from error

    def _confirm(self, context: str) -> None:
        if self.confirmed or os.environ.get(CONFIRM_VARIABLE) == "1":
            return
        if not sys.stdin.isatty():
            raise ClusterError(
                f"this would install Mooring and run tests in the cluster of context "
                f"{context!r}: confirm with --yes or {CONFIRM_VARIABLE}=1"
            )
        sys.stderr.write(
            f"Install Mooring and run tests in the cluster of context {context!r}? [y/N] "
        )
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise ClusterError("not confirmed; nothing was done")

    def _kubectl(self) -> list[str | Path]:
        return [self.kubectl, f"--kubeconfig={self.kubeconfig}"]


def find_kubectl() -> Path:
    """The kubectl of this machine.

    Raises:
        ClusterError: there is none.
    """
    found = shutil.which("kubectl")
    if not found:
        raise ClusterError(
            "kubectl is not on the PATH: install it (https://kubernetes.io/docs/tasks/tools/)"
        )
    return Path(found)
