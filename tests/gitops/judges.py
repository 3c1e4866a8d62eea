"""What GitOps tools say of our statuses: the rules that manifests/ ships, and who judges by them.

The judge is one Go program of the tools' own packages (`cluster_tools/modules/judges`).
"""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from mooring_operator.api.group import API_VERSION, GROUP, Kind

ROOT = Path(__file__).parents[2]
ARGOCD = ROOT / "manifests" / "argocd"
FLUX = ROOT / "manifests" / "flux"
HEALTH = "resource.customizations.health."
ACTIONS = "resource.customizations.actions."


class Profile(StrEnum):
    """The two readings that manifests/ offers."""

    STRICT = "strict"
    """Healthy: what Git asks for serves."""
    SERVING = "serving"
    """Healthy also while stable pods answer and a candidate is being let in."""


@dataclass(frozen=True)
class Action:
    """An action of Argo CD on an object, as offered, and what it would change."""

    disabled: bool
    annotations: Mapping[str, str]
    elsewhere: bool
    """Whether anything but annotations would change."""
    error: str


@dataclass(frozen=True)
class Answers:
    """What every tool says of one object."""

    kstatus: str
    flux_kstatus: str
    health: Mapping[Profile, str]
    messages: Mapping[Profile, str]
    expressions: Mapping[Profile, str]
    actions: Mapping[str, Action]


def argocd_settings(profile: Profile) -> dict[str, str]:
    """The keys of argocd-cm under a profile: the serving one overlays the strict one."""
    files = [ARGOCD / "strict" / "argocd-cm.yaml"]
    if profile is Profile.SERVING:
        files.append(ARGOCD / "serving" / "argocd-cm.yaml")
    settings: dict[str, str] = {}
    for path in files:
        settings |= yaml.safe_load(path.read_text())["data"]
    return settings


def flux_expressions(profile: Profile) -> dict[str, dict[str, str]]:
    """Health check expressions by kind."""
    name = {Profile.STRICT: "models.yaml", Profile.SERVING: "models-serving.yaml"}[profile]
    spec = yaml.safe_load((FLUX / name).read_text())["spec"]
    return {
        entry["kind"]: {field: entry[field] for field in ("inProgress", "failed", "current")}
        for entry in spec["healthCheckExprs"]
    }


def rules() -> dict[str, Any]:
    """All that manifests/ tells the tools."""
    strict = argocd_settings(Profile.STRICT)
    return {
        "profiles": {
            profile: {
                "health": _by_kind(argocd_settings(profile), HEALTH),
                "expressions": flux_expressions(profile),
            }
            for profile in Profile
        },
        "actions": {
            kind: _actions(yaml.safe_load(text)) for kind, text in _by_kind(strict, ACTIONS).items()
        },
    }


def judge(
    program: Path, objects: Iterable[Mapping[str, Any]], by: Mapping[str, Any] | None = None
) -> list[Answers]:
    """The answers of all tools, in the objects' order; by other rules than ours, if given."""
    lines = [json.dumps(one, separators=(",", ":")) for one in (by or rules(), *objects)]
    done = subprocess.run(
        [program], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [_answers(json.loads(line)) for line in done.stdout.splitlines()]


def an_object(
    kind: Kind, status: Mapping[str, Any] | None, *, generation: int, **fields: Any
) -> dict[str, Any]:
    """An object as the API server shows it."""
    metadata = {"name": "one", "namespace": "here", "uid": "u", "generation": generation}
    shown = {"apiVersion": API_VERSION, "kind": kind.value, "metadata": metadata, **fields}
    return shown if status is None else shown | {"status": dict(status)}


def _by_kind(settings: Mapping[str, str], prefix: str) -> dict[str, str]:
    start = f"{prefix}{GROUP}_"
    return {
        key.removeprefix(start): text for key, text in settings.items() if key.startswith(start)
    }


def _actions(document: Mapping[str, Any]) -> dict[str, Any]:
    definitions = {entry["name"]: entry["action.lua"] for entry in document["definitions"]}
    return {"discovery": document["discovery.lua"], "definitions": definitions}


def _answers(wire: Mapping[str, Any]) -> Answers:
    return Answers(
        kstatus=wire["kstatus"],
        flux_kstatus=wire["fluxKstatus"],
        health={Profile(name): one["status"] for name, one in wire["health"].items()},
        messages={Profile(name): one["message"] for name, one in wire["health"].items()},
        expressions={Profile(name): one for name, one in wire["expressions"].items()},
        actions={
            name: Action(
                one["disabled"], one.get("annotations", {}), one["elsewhere"], one.get("error", "")
            )
            for name, one in wire["actions"].items()
        },
    )
