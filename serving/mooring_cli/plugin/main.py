"""The entry of `kubectl mooring`: kubectl runs `kubectl-mooring` from the path."""

import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from mooring_cli.outcome import CommandFailed, report_unexpected
from mooring_cli.plugin import asks, overview
from mooring_cli.plugin.asks import Ask
from mooring_cli.plugin.explain import explain
from mooring_cli.plugin.kubectl import Kubectl
from mooring_cli.plugin.saying import pause, say, tell, token_of
from mooring_cli.plugin.view import Deployment

app = typer.Typer(
    name="kubectl mooring",
    help="Decide about rollouts of ModelDeployments, and see why they stand where they stand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Name = Annotated[str, typer.Argument(help="The ModelDeployment.", show_default=False)]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Its namespace; else the context's.")
]
Context = Annotated[str, typer.Option(help="The context of the kubeconfig.")]
Kubeconfig = Annotated[str, typer.Option(help="The kubeconfig file.")]
Wanted = Annotated[
    str,
    typer.Option("--revision", help="Refuse unless it is about this version, or this hash."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until it has happened, not only for the answer.")
]
Timeout = Annotated[str, typer.Option(help="How long to wait at most: 90s, 10m, 1h.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


Asking = Callable[[Deployment, str], Ask]


def _add_verb(name_: str, ask: Asking, description: str) -> None:
    """Adds the command of a verb that is about one revision."""

    def command(
        name: Name,
        namespace: Namespace = "",
        context: Context = "",
        kubeconfig: Kubeconfig = "",
        revision: Wanted = "",
        wait: Wait = False,
        timeout: Timeout = "10m",
    ) -> None:
        kubectl = Kubectl(name, namespace, context, kubeconfig)
        _say(kubectl, ask, revision, wait=wait, seconds=_seconds(timeout))

    app.command(name_, help=description)(command)


_add_verb("promote", asks.promote, "Promote the candidate without the rest of its analysis.")
_add_verb("abort", asks.abort, "Drop the candidate and quarantine it.")
_add_verb(
    "retry", asks.retry, "Let in what is asked for: out of quarantine, or before its wait ends."
)
_add_verb("approve", asks.approve, "Let the revision that waits for approval in.")


@app.command()
def rollback(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    to: Annotated[
        str, typer.Option(help="A version, a hash or a number of the history; else the one before.")
    ] = "",
    wait: Wait = False,
    timeout: Timeout = "10m",
) -> None:
    """Leave the stable revision for an older one."""
    kubectl = Kubectl(name, namespace, context, kubeconfig)
    _say(kubectl, asks.roll_back, to, wait=wait, seconds=_seconds(timeout))


@app.command("pause")
def pause_(
    name: Name, namespace: Namespace = "", context: Context = "", kubeconfig: Kubeconfig = ""
) -> None:
    """Set spec.paused: what goes forward is held, what goes back is not."""
    pause(Kubectl(name, namespace, context, kubeconfig), paused=True)


@app.command()
def resume(
    name: Name, namespace: Namespace = "", context: Context = "", kubeconfig: Kubeconfig = ""
) -> None:
    """Unset spec.paused."""
    pause(Kubectl(name, namespace, context, kubeconfig), paused=False)


@app.command()
def status(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Show one deployment on one screen."""
    seen = Kubectl(name, namespace, context, kubeconfig).get()
    tell(_json(dict(seen.status)) if as_json else overview.status(seen))


@app.command()
def history(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Show the rollouts that have ended, newest first."""
    seen = Kubectl(name, namespace, context, kubeconfig).get()
    tell(_json(list(seen.history)) if as_json else overview.history(seen))


@app.command()
def why(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Explain why it stands where it stands: what happened, by what evidence, what can be done."""
    told = explain(Kubectl(name, namespace, context, kubeconfig).get())
    tell(_json(told.document()) if as_json else told.text())


def main() -> None:
    """Runs a command. Exit codes: 10 refused, 11 worth another try, 2 bad usage, 1 unexpected."""
    try:
        app()
    except CommandFailed as failure:
        sys.stderr.write(f"mooring: {failure.message}\n")
        if failure.remedy:
            sys.stderr.write(f"  remedy: {failure.remedy}\n")
        sys.exit(failure.code)
    except BaseException:
        sys.excepthook = report_unexpected  # here, since typer sets its own
        raise


def _say(kubectl: Kubectl, ask: Asking, wanted: str, *, wait: bool, seconds: float) -> None:
    asked = ask(kubectl.get(), wanted)
    token = token_of(asked, datetime.fromtimestamp(time.time(), tz=UTC))
    say(kubectl, asked, token, wait=wait, seconds=seconds)


def _seconds(timeout: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6})([smh])", timeout)
    if match is None:
        raise typer.BadParameter(f"--timeout {timeout}: write a time like 90s, 10m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def _json(document: object) -> str:
    return json.dumps(document, indent=2)
