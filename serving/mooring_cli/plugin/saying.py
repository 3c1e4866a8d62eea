"""Saying a verb: write the annotation, wait for the operator's answer, and for the end."""

import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from mooring_cli.outcome import CommandFailed
from mooring_cli.plugin.asks import HANDLED, Ask
from mooring_cli.plugin.kubectl import Kubectl
from mooring_cli.plugin.view import Deployment, inside
from mooring_model.termination import ExitCode

ANSWER_SECONDS = 30.0
"""How long the operator's answer is waited for."""
_HELD = ("UserPaused", "AwaitingApproval")


def token_of(ask: Ask, now: datetime) -> str:
    """The revision and the time: the same verb can be said again."""
    return f"{ask.target.revision}@{now:%Y%m%dT%H%M%S%fZ}"


def say(kubectl: Kubectl, ask: Ask, token: str, *, wait: bool, seconds: float) -> None:
    """Writes the annotation and waits.

    Args:
        kubectl: calls about the deployment.
        ask: the verb.
        token: the annotation's value.
        wait: until what is asked for has happened; else the operator's answer is enough.
        seconds: how long at most.

    Raises:
        CommandFailed: the operator ignored it, did not answer, or it ended otherwise.
    """
    tell(f"{ask.will}.")
    kubectl.annotate(ask.annotation, token)
    tell(f"{ask.annotation}={token} is written; waiting for the operator.")
    with kubectl.watch(seconds if wait else min(seconds, ANSWER_SECONDS)) as seen:
        answered = _await_answer(seen, ask, token)
        if wait:
            _await_end(chain((answered,), seen), ask)


def pause(kubectl: Kubectl, *, paused: bool) -> None:
    """Sets spec.paused, and waits until the operator has seen it.

    Raises:
        CommandFailed: the operator did not look at it in time.
    """
    if kubectl.get().paused == paused:
        tell(f"spec.paused is {str(paused).lower()} already.")
        return
    written = kubectl.pause(paused=paused).generation
    value = str(paused).lower()
    tell(f"spec.paused is {value} now. Git must say the same, or its next sync sets it back.")
    with kubectl.watch(ANSWER_SECONDS) as seen:
        for now in seen:
            if now.observed and now.generation >= written:
                tell(f"{now.standing.reason}: {now.standing.message}")
                return
    raise _silent()


def tell(text: str) -> None:
    """A line for the person who waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _await_answer(seen: Iterator[Deployment], ask: Ask, token: str) -> Deployment:
    for now in seen:
        handled = inside(now.status, "handled")
        if handled.get(HANDLED[ask.annotation]) != token:
            continue
        last = now.last_verb
        ours = last.get("token") == token and last.get("verb") == ask.annotation
        if ours and last.get("outcome") == "Ignored":
            raise CommandFailed(ExitCode.REFUSED, str(last["message"]), "kubectl mooring status")
        tell(str(last["message"]) if ours else "The operator has looked at it.")
        return now
    raise _silent()


def _await_end(seen: Iterator[Deployment], ask: Ask) -> None:
    """Tells each new standing until what was asked for is reached, or cannot be any more."""
    told = ""
    for now in seen:
        standing = now.standing
        if ask.reached(now):
            tell(f"{standing.reason}: {standing.message}")
            return
        if standing.reason != told:
            tell(f"{standing.reason}: {standing.message}")
            told = standing.reason
        if standing.type == "Stalled" or standing.reason in _HELD:
            raise CommandFailed(
                ExitCode.REFUSED, f"it ended as {standing.reason}", "kubectl mooring why"
            )
    raise CommandFailed(
        ExitCode.UNAVAILABLE,
        "it has not ended in time; the operator goes on without this command",
        "kubectl mooring status, or a longer --timeout",
    )


def _silent() -> CommandFailed:
    return CommandFailed(
        ExitCode.UNAVAILABLE,
        "the operator has not answered in time",
        "look whether it runs: kubectl get pods -A -l app.kubernetes.io/component=operator",
    )
