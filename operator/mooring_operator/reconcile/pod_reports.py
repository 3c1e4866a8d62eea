"""What pods say about themselves in their status: why they cannot start, what they answered.

Pure. Pods come from the cache, newest last.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from mooring_operator.core.decision import Manifest
from mooring_operator.io.fields import mapping_at, number_at, objects_at, text_at, value_at

_HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of waiting that name a fault, after Kubernetes' own retries where it makes any."""
_LONGEST = 400


@dataclass(frozen=True)
class Ending:
    """How the last container that ran in a pod ended.

    Attributes:
        container: its name.
        exit_code: its exit code.
        message: the JSON object in its termination message, if it is one.
        words: what a person should read about it: reason, exit code, last output.
    """

    container: str
    exit_code: int
    message: Mapping[str, Any] | None
    words: str


def is_ready(pod: Manifest) -> bool:
    """Whether the pod serves: Ready, with an address, and not on its way out."""
    ready = any(
        text_at(item, "type") == "Ready" and text_at(item, "status") == "True"
        for item in objects_at(pod, "status", "conditions")
    )
    going = bool(text_at(pod, "metadata", "deletionTimestamp"))
    return ready and not going and bool(text_at(pod, "status", "podIP"))


def failure_of(pods: Iterable[Manifest]) -> str | None:
    """Why pods of a revision cannot start, in words; None when no fault is known.

    A pod that serves shows that the revision can start, so it outweighs the others.
    """
    words: str | None = None
    for pod in pods:
        if is_ready(pod):
            return None
        words = _fault(pod) or words
    return words


def ending_of(pod: Manifest) -> Ending | None:
    """How the last container that ran ended; None when none ended yet."""
    last: Ending | None = None
    for status in _containers(pod):
        ended = mapping_at(status, "state", "terminated")
        if ended:
            last = _ending(text_at(status, "name"), ended)
    return last


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    """Container statuses in the order in which the containers run."""
    return [
        *objects_at(pod, "status", "initContainerStatuses"),
        *objects_at(pod, "status", "containerStatuses"),
    ]


def _fault(pod: Manifest) -> str | None:
    for status in _containers(pod):
        waiting = mapping_at(status, "state", "waiting")
        reason = text_at(waiting, "reason")
        ended = mapping_at(status, "state", "terminated") or mapping_at(
            status, "lastState", "terminated"
        )
        name = text_at(status, "name")
        if ended and number_at(ended, "exitCode") != 0:
            return _cut(_ending(name, ended).words)
        if reason in _HOPELESS:
            return _cut(f"container {name}: {reason}: {text_at(waiting, 'message')}")
    return None


def _ending(container: str, ended: Mapping[str, Any]) -> Ending:
    text = text_at(ended, "message").strip()
    message = _json_object(text)
    code = number_at(ended, "exitCode")
    if message is not None:
        told = [text_at(message, key) for key in ("reason", "message", "remedy")]
        said = ": ".join(part for part in told if part)
    else:
        said = text.splitlines()[-1] if text else ""
    why = text_at(ended, "reason") or "ended"
    words = f"container {container}: {why} (exit code {code})"
    return Ending(container, code, message, f"{words}: {said}" if said else words)


def _json_object(text: str) -> Mapping[str, Any] | None:
    """The JSON object that a termination message is, or that its last line is."""
    for candidate in (text, *text.splitlines()[-1:]):
        try:
            document: object = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(document, dict):
            return cast("dict[str, Any]", document)
    return None


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"


def restarts_of(pod: Manifest) -> int:
    """Restarts of the pod's containers: a rise means that counters began again."""
    return sum(number_at(item, "restartCount") for item in _containers(pod))


def has_label(pod: Manifest, label: str, value: str) -> bool:
    """Whether a label has this value."""
    return value_at(pod, "metadata", "labels", label) == value
