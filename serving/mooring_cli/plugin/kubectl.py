"""kubectl as the plugin's way to the API server: its login, contexts and proxies are the user's.

The plugin's field manager is its own: Flux takes over fields of kubectl's managers, and would
remove what `kubectl annotate` wrote.
"""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mooring_cli.outcome import CommandFailed
from mooring_cli.plugin.view import Deployment
from mooring_model.termination import ExitCode

FIELD_MANAGER = "kubectl-mooring"
RESOURCE = "modeldeployments.mooring.dev"
EXECUTABLE = "KUBECTL"
"""Environment variable: which kubectl is called, instead of the first one on the path."""
_END_OF_DOCUMENT = "}"


@dataclass(frozen=True)
class Kubectl:
    """Calls of kubectl, all with the same cluster, namespace and name of a ModelDeployment."""

    name: str
    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""

    def get(self) -> Deployment:
        """The ModelDeployment as it is now."""
        return Deployment(json.loads(self._run("get", RESOURCE, self.name, "-o", "json")))

    def annotate(self, key: str, value: str) -> None:
        """Sets one annotation, over an earlier value."""
        said = f"{key}={value}"
        manager = f"--field-manager={FIELD_MANAGER}"
        self._run("annotate", RESOURCE, self.name, said, "--overwrite", manager)

    def pause(self, *, paused: bool) -> Deployment:
        """Sets spec.paused. Returns the ModelDeployment after that."""
        patch = json.dumps({"spec": {"paused": paused}})
        manager = f"--field-manager={FIELD_MANAGER}"
        wanted = ("patch", RESOURCE, self.name, "--type=merge", "-p", patch, manager, "-o", "json")
        return Deployment(json.loads(self._run(*wanted)))

    @contextmanager
    def watch(self, seconds: float) -> Generator[Iterator[Deployment]]:
        """The ModelDeployment now and after each of its changes, for so long at most."""
        argv = self._argv("get", RESOURCE, self.name, "-o", "json", "--watch")
        with subprocess.Popen(  # noqa: S603 - kubectl, with arguments that we made
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            timer = threading.Timer(seconds, process.terminate)
            timer.start()
            try:
                yield _documents(process.stdout or ())
            finally:
                timer.cancel()
                process.terminate()

    def _argv(self, *arguments: str) -> Sequence[str]:
        executable = os.environ.get(EXECUTABLE) or shutil.which("kubectl")
        if executable is None:
            raise CommandFailed(
                ExitCode.REFUSED,
                "kubectl is not on the path",
                f"install kubectl, or name it in the environment variable {EXECUTABLE}",
            )
        where = (
            ("--namespace", self.namespace),
            ("--context", self.context),
            ("--kubeconfig", self.kubeconfig),
        )
        return [executable, *(f"{option}={value}" for option, value in where if value), *arguments]

    def _run(self, *arguments: str) -> str:
        argv = self._argv(*arguments)
        try:
            done = subprocess.run(  # noqa: S603 - kubectl, with arguments that we made
                argv, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise CommandFailed(
                ExitCode.REFUSED,
                f"{argv[0]} cannot be run: {error.strerror}",
                f"install kubectl, or name it in the environment variable {EXECUTABLE}",
            ) from error
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"kubectl ended with {done.returncode}"
            raise CommandFailed(_code(said), said, _remedy(said))
        return done.stdout


def _documents(lines: Iterator[str] | Sequence[str]) -> Iterator[Deployment]:
    """The JSON documents of a watch: kubectl indents them, so that each ends in a lone brace."""
    text: list[str] = []
    for line in lines:
        text.append(line)
        if line.rstrip("\n") == _END_OF_DOCUMENT:
            yield Deployment(json.loads("".join(text)))
            text = []


def _code(said: str) -> ExitCode:
    """What is refused stays refused; everything else is worth another try."""
    final = ("NotFound", "Forbidden", "doesn't have a resource type", "does not exist", "invalid")
    return ExitCode.REFUSED if any(word in said for word in final) else ExitCode.UNAVAILABLE


def _remedy(said: str) -> str:
    if "NotFound" in said:
        return "look at `kubectl get mdep -A`, and name the namespace with -n"
    if "Forbidden" in said:
        return "ask whoever runs the cluster for the verb that the message names"
    if "doesn't have a resource type" in said:
        return "install Mooring's CRDs in this cluster, or choose another one with --context"
    return "run the same with kubectl alone to see whether the cluster answers"
