"""Images and leftover containers of the embedded node, through containerd's own client."""

from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools.commands import run, succeeds, wait_until
from tests.cluster_tools.configuration import Configuration
from tests.cluster_tools.processes import Process, find_by_argument, stop
from tests.cluster_tools.provider import INPUTS_LABEL, parse_image_list


@dataclass(frozen=True)
class Containers:
    """What runs and lies in one embedded node's containerd."""

    configuration: Configuration

    def wait_ready(self) -> None:
        """Return when containerd answers."""
        wait_until(self.answers, what="containerd", timeout=30)

    def answers(self) -> bool:
        """Whether containerd answers on its socket."""
        socket = self.configuration.layout.containerd_socket
        return socket.exists() and succeeds(self._ctr("version"), timeout=5)

    def image_inputs(self) -> dict[str, str]:
        """Image name -> the input hash that it was imported with ("" when without one)."""
        return parse_image_list(run(self._ctr("images", "list")))

    def import_image(self, archive: Path, *, name: str = "", inputs: str = "") -> None:
        """Import an OCI or Docker archive.

        Args:
            archive: the file.
            name: the image to label with `inputs`; nothing is labelled when empty.
            inputs: a hash over what the image was made from.
        """
        before = self._image_digests()
        run(self._ctr("images", "import", "--local", archive), timeout=300)
        if name:
            run(self._ctr("images", "label", name, f"{INPUTS_LABEL}={inputs}"))
        self._forget_replaced(before)

    def _forget_replaced(self, before: dict[str, str]) -> None:
        # The kubelet's own references would keep a replaced image's layers for ever.
        after = self._image_digests()
        replaced = {before[name] for name in before if after.get(name) != before[name]}
        kept = {digest for name, digest in after.items() if not name.startswith("sha256:")}
        for name, digest in after.items():
            if name.startswith("sha256:") and digest in replaced - kept:
                succeeds(self._ctr("images", "remove", name))

    def _image_digests(self) -> dict[str, str]:
        lines = run(self._ctr("images", "list")).splitlines()[1:]
        return {words[0]: words[2] for words in (line.split() for line in lines)}

    def remove_all(self) -> None:
        """Kill and remove every container, and end every shim that outlived its containerd."""
        if self.answers():
            tasks = run(self._ctr("tasks", "list", "--quiet")).split()
            if tasks:
                # Several at once: one that ended meanwhile makes the command fail for nothing.
                succeeds(self._ctr("tasks", "delete", "--force", *tasks), timeout=60)
            names = run(self._ctr("containers", "list", "--quiet")).split()
            if names:
                succeeds(self._ctr("containers", "delete", *names), timeout=60)
            if not run(self._ctr("containers", "list", "--quiet")).split():
                self.configuration.layout.containerd_clean.touch()
        self.stop_shims()

    def stop_shims(self) -> None:
        """End the shims that were started for our socket."""
        for shim in self.shims():
            stop(shim, grace=2)

    def shims(self) -> tuple[Process, ...]:
        """The shims that run for our socket."""
        return find_by_argument(str(self.configuration.layout.containerd_socket))

    def _ctr(self, *arguments: str | Path) -> list[str | Path]:
        return self.configuration.ctr(*arguments)
