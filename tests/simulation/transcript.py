"""The readable log of a simulated rollout, and its comparison with the golden one.

A line says when, who, what. Lines are written only when something changed, so that a transcript
is the story of a rollout. `make sim-update` rewrites the goldens; the difference is a difference
of behaviour and is reviewed as such.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mooring_operator.core.decision import EventNote, Route
from mooring_operator.ids import Revision

if TYPE_CHECKING:
    from tests.simulation.world import World

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "MOORING_UPDATE_GOLDENS"


class Transcript:
    """Lines of one simulation."""

    def __init__(self, start: datetime) -> None:
        self.lines: list[str] = []
        self._start = start
        self._status = ""
        self._routes: dict[Revision, str] = {}

    def user(self, now: datetime, what: str, fields: Mapping[str, Any]) -> None:
        """What a person, or the world, did."""
        shown = " ".join(f"{name}={value}" for name, value in fields.items())
        self._line(now, "world", f"{what} {shown}".strip())

    def decided(self, now: datetime, world: World, events: Sequence[EventNote]) -> None:
        """The written status, where it stands otherwise than before, and its Events."""
        summary = _summary(world.status, world.standing)
        if summary != self._status:
            self._status = summary
            self._line(now, "status", summary)
        for event in events:
            self._line(now, "event", f"{event.type.value} {event.reason.value}: {event.message}")

    def child(self, now: datetime, what: str) -> None:
        """A child that was changed."""
        self._line(now, "apply", what)

    def routed(self, now: datetime, routes: Mapping[Revision, Route]) -> None:
        """Routes that differ from the ones before."""
        shown = {revision: _route(route) for revision, route in sorted(routes.items())}
        for revision, text in shown.items():
            if self._routes.get(revision) != text:
                self._line(now, "route", f"{revision} {text}")
        self._routes = shown

    def text(self) -> str:
        """The whole log."""
        return "\n".join(self.lines) + "\n"

    def _line(self, now: datetime, who: str, what: str) -> None:
        seconds = int((now - self._start).total_seconds())
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        self.lines.append(f"{clock}  {who:<7} {what}")


def check_golden(world: World, name: str) -> None:
    """Compares a world's transcript, closed by its final status, with the checked-in one."""
    check_text(world.transcript.text() + _ending(world), f"{name}.log")


def check_text(text: str, name: str) -> None:
    """Compares a text with the checked-in file of this name below `golden/`."""
    path = GOLDEN / name
    if os.environ.get(UPDATE) == "1":
        path.write_text(text)
        return
    expected = path.read_text() if path.exists() else ""
    difference = list(
        difflib.unified_diff(
            expected.splitlines(), text.splitlines(), f"golden/{name}", "this run", lineterm=""
        )
    )
    assert not difference, "\n".join(["`make sim-update` accepts this:", *difference])


def _ending(world: World) -> str:
    status = world.status
    columns = ("version", "ready", "phase", "weight", "drifted")
    values = {name: status.get(name) for name in columns}
    quality: Mapping[str, Any] = status.get("quality") or {}
    values["quality"] = quality.get("shown")
    shown = " ".join(f"{name}={value or '-'}" for name, value in values.items())
    lines = ["", f"kubectl get mdep: {shown}", "conditions:"]
    lines += [
        f"  {c['type']}={c['status']} {c['reason']}: {c.get('message', '')}".rstrip(": ")
        for c in status.get("conditions", ())
    ]
    lines.append("history, newest first:")
    lines += [
        f"  {e['seq']} {e['version']} {e['revision']} {e['outcome']}: {e['cause']}"
        for e in status.get("history", ())
    ]
    traffic = world.cluster.traffic
    lines.append(f"requests: sent={traffic.sent} failed={traffic.failed}")
    lines.append(f"by candidates: {dict(sorted(traffic.by_candidate.items()))}")
    return "\n".join(lines) + "\n"


def _summary(status: Mapping[str, Any], standing: str) -> str:
    candidate = status.get("candidate")
    shown = "-"
    if candidate is not None:
        shown = f"{candidate['version']} {candidate['stage']} step {candidate['step'] + 1}"
    parts = [
        standing,
        f"stable {_version(status.get('stable'))}",
        f"candidate {shown}",
        f"retired {_version(status.get('retired'))}",
    ]
    return " | ".join(parts)


def _version(ref: Mapping[str, Any] | None) -> str:
    return "-" if ref is None else f"{ref['version']} {ref['revision']}"


def _route(route: Route) -> str:
    if not (route.weight_percent or route.shadow_percent):
        return route.role.value
    share = (
        f"weight {route.weight_percent}%"
        if route.weight_percent
        else f"shadow {route.shadow_percent}%"
    )
    return f"{route.role.value} {share} to {route.candidate_revision} phase {route.phase}"
