"""The simulated Gateway: a controller that accepts an HTTPRoute, and a proxy that follows later.

It knows nothing of decisions. The route is read by the operator's own parser, so that what
decisions write is what they read.
"""

from dataclasses import dataclass
from typing import Any

from mooring_operator.core.observation import RouteObservation, RouteShape
from mooring_operator.reconcile.observe_route import observe_route

REFUSAL = "Accepted is False, NotAllowedByListeners"


@dataclass
class Gateway:
    """One Gateway, and the HTTPRoute of the deployment."""

    installed: bool = True
    """Whether the API server has the Gateway API."""
    answers: bool = True
    """Whether the controller runs."""
    refusal: str = ""
    """Why it does not accept the route; empty: it does."""
    shape: RouteShape | None = None
    """The route as it was applied; None: there is none."""
    accepted: RouteShape | None = None
    """The route that the controller accepted last."""
    weight: int = 0
    """Percent that the proxy gives to the candidate's Service."""

    def turn(self) -> None:
        """One tick: the proxy takes what was accepted in the last one, then the controller looks.

        A proxy whose controller is away goes on as it is.
        """
        if not self.answers:
            return
        self.weight = 0 if self.accepted is None else self.accepted.weight
        if self.refusal or not self.installed:
            self.accepted = None
        else:
            self.accepted = self.shape

    def apply(self, manifest: dict[str, Any]) -> RouteShape:
        """What a manifest would make of the route."""
        return observe_route(manifest).shape

    def observe(self) -> RouteObservation | None:
        """What the API server tells of the route."""
        if self.shape is None or not self.installed:
            return None
        accepted = self.accepted == self.shape and not self.refusal
        return RouteObservation(self.shape, accepted, self.refusal if self.answers else "")

    def turn_to(self, fault: str) -> None:
        """From now on it is so; what somebody takes away, the operator may bring back."""
        self.installed, self.answers = fault != "no API", fault != "silent"
        self.refusal = REFUSAL if fault == "refuses" else ""
        if fault in ("no route", "no API"):
            self.shape = self.accepted = None
