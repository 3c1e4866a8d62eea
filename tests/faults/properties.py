"""What must hold at every moment of every run, whatever goes wrong (P1 to P9 as observable here).

P1 (no spec is written) is in `journal.py`, P5 (every run ends the same) in `oracle.py`, P9 (a
revert ends Ready) in its scenario. Here: P2 a quarantined revision gets no traffic, P3 at most one
candidate, P4 weight only with ready pods, P7 rollbacks are as many as the script provokes (counted
by the oracle's history), P8 every status reads as kstatus expects.
"""

from collections.abc import Callable
from typing import Any

from mooring_operator.api.group import Label
from tests.contract.kstatus_rules import (
    ALWAYS_ON_DEPLOYMENT,
    kstatus,
    violations,
)
from tests.faults.api import Object
from tests.faults.mirror import Namespace

_ALWAYS_ON = {
    "ModelDeployment": ALWAYS_ON_DEPLOYMENT,
    "Model": ("Ready", "Verified"),
    "RetrainPolicy": ("Ready", "Running"),
}
_EXPECTED = {"Ready": "Current", "Reconciling": "InProgress", "Stalled": "Failed"}


class Properties:
    """Watches one run and remembers what was broken."""

    def __init__(self, room: Namespace, ready: Callable[[str], int]) -> None:
        self._room, self._ready = room, ready
        self._routes: dict[str, dict[str, Any]] = {}
        self.broken: list[str] = []
        room.subscribe(self._changed)

    def routed(self, pod: Object, route: dict[str, Any]) -> None:
        """A pod takes a route."""
        self._routes[pod["metadata"]["uid"]] = route
        self._room.stir()
        if not route["weightPercent"] and not route["shadowPercent"]:
            return
        candidate = route["candidateRevision"]
        quarantined = self._quarantined(pod["metadata"]["labels"][Label.DEPLOYMENT])
        if candidate in quarantined:
            self._broke(f"P2: {candidate} is in quarantine and gets traffic")
        if not self._ready(candidate):
            self._broke(f"P4: {candidate} gets traffic and has no ready pod")

    def weighted(self, candidate: str) -> bool:
        """Whether some pod forwards to the candidate, by the last route that it took."""
        return any(
            route["candidateRevision"] == candidate and route["weightPercent"]
            for route in self._routes.values()
        )

    def _quarantined(self, deployment: str) -> set[str]:
        item = self._room.get("ModelDeployment", deployment) or {}
        return {entry["revision"] for entry in item.get("status", {}).get("quarantine", [])}

    def _changed(self, type_: str, item: Object) -> None:
        kind = item["kind"]
        if type_ == "DELETED":
            if kind == "Pod":
                self._routes.pop(item["metadata"]["uid"], None)
            return
        if kind in _ALWAYS_ON:
            self._check_status(kind, item)
        elif kind == "Service":
            self._check_flip(item)
        candidates = {
            route["candidateRevision"] for route in self._routes.values() if route["weightPercent"]
        }
        if len(candidates) > 1:
            self._broke(f"P3: {candidates} get traffic")

    def _check_status(self, kind: str, item: Object) -> None:
        status, generation = item.get("status", {}), item["metadata"]["generation"]
        if status.get("observedGeneration", -1) == -1:
            return
        name = f"{kind} {item['metadata']['name']}"
        for line in violations(status, generation, _ALWAYS_ON[kind]):
            self._broke(f"P8: {name}: {line}")
        if status["observedGeneration"] != generation:
            return
        standing = next(
            (c["type"] for c in status["conditions"] if _says(c) and c["type"] in _EXPECTED), "-"
        )
        computed = kstatus(status, generation)
        if computed != _EXPECTED.get(standing):
            self._broke(f"P8: {name}: {standing} is {computed} to kstatus")

    def _check_flip(self, service: Object) -> None:
        """The Service that clients use leads to a revision that serves and is not in quarantine."""
        revision = service["spec"].get("selector", {}).get(Label.REVISION, "")
        deployment = service["metadata"]["name"]
        item = self._room.get("ModelDeployment", deployment)
        stable = (item or {}).get("status", {}).get("stable")
        if item is None or stable is None:
            return
        if revision in self._quarantined(deployment):
            self._broke(f"P2: Service {deployment} leads to {revision}, which is in quarantine")
        if not self._ready(revision):
            self._broke(f"P4: Service {deployment} leads to {revision}, which has no ready pod")

    def _broke(self, line: str) -> None:
        if line not in self.broken:
            self.broken.append(line)


def _says(condition: dict[str, Any]) -> bool:
    return condition["status"] == "True"
