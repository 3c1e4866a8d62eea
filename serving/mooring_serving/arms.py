"""The closed vocabularies of traffic: arms, roles, and how a forward ended."""

from enum import StrEnum


class Arm(StrEnum):
    """Which side of a comparison a prediction belongs to."""

    STABLE = "stable"
    """Answered by the stable revision."""
    CANDIDATE = "candidate"
    """Answered by the candidate."""
    SHADOW = "shadow"
    """Mirrored to the candidate; nobody got this answer."""


class Role(StrEnum):
    """What the operator told this pod to be."""

    STABLE = "Stable"
    """Answers; forwards and mirrors what the route says."""
    CANDIDATE = "Candidate"
    """Answers."""
    RETIRED = "Retired"
    """Forwards everything to the stable Service and closes connections."""


class Outcome(StrEnum):
    """How a forward ended."""

    ANSWERED = "answered"
    """A usable answer in time."""
    LATE = "late"
    """Not within the deadline."""
    REFUSED = "refused"
    """No connection, or it broke."""
    FAILED = "failed"
    """A status other than 200."""
    INVALID = "invalid"
    """A 200 that is not a usable prediction, or a model fault of that kind."""
    MISROUTED = "misrouted"
    """Another revision than the candidate answered; says nothing about the candidate."""
    SHORT_CIRCUITED = "short_circuited"
    """Not tried: the circuit breaker is open."""
    OVERTAKEN = "overtaken"
    """It answered, but the route had changed meanwhile: nobody gets this answer."""

    @property
    def blames(self) -> bool:
        """Whether the outcome says something about the pod that was asked."""
        return self not in _BLAMELESS


_BLAMELESS = (Outcome.MISROUTED, Outcome.SHORT_CIRCUITED, Outcome.OVERTAKEN)


class ShadowOutcome(StrEnum):
    """How a mirrored request ended."""

    AGREED = "agreed"
    """The candidate answered like the stable model in every row."""
    DISAGREED = "disagreed"
    """It answered differently in at least one row."""
    FAILED = "failed"
    """No usable answer."""
    DROPPED = "dropped"
    """Never sent: the queue was full."""
