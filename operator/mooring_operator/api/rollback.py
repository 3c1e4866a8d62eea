"""When a revision is taken back, by whom, how often, and what is kept for that."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mooring_operator.api.base import SET_LIST, ApiModel, Duration, RevisionText

MOST_ROLLBACKS = 20
"""Automatic rollbacks whose times are remembered; no budget is larger."""
Share = Annotated[float, Field(ge=0, le=1)]


class AutomaticTrigger(StrEnum):
    """What takes a revision back without a person."""

    STARTUP = "Startup"
    """A candidate whose pods do not start."""
    RUNTIME = "Runtime"
    """A stable revision that fails requests, or whose pods cannot run."""
    QUALITY = "Quality"
    """A stable revision whose labelled loss became too high."""
    DRIFT = "Drift"
    """A drift that the stable revision copes with worse than the one before."""


class Probe(ApiModel):
    """How it is found out whether the revision before does better on the same traffic."""

    weight: Annotated[int, Field(ge=1, le=50)] = 20
    """Percent of requests that the older revision answers while labels are compared."""
    max_duration: Duration = "6h"
    """Longest time without proof; where labels are compared, their maturity is added."""


class RollbackBudget(ApiModel):
    """How many automatic rollbacks a deployment may have before it waits for a person."""

    count: Annotated[int, Field(ge=1, le=MOST_ROLLBACKS)] = 3
    per: Duration = "24h"
    """In any time of this length."""


class Rollback(ApiModel):
    """When a promoted revision is left for the one before, and what is kept for that."""

    triggers: Annotated[list[AutomaticTrigger], Field(max_length=4, json_schema_extra=SET_LIST)] = (
        list(AutomaticTrigger)
    )
    window: Duration = "72h"
    """How long after its promotion a revision is left by itself; later the world has changed."""
    soak: Duration = "1h"
    """How long it must serve without a fault to be known as good."""
    keep_warm: Duration = "1h"
    """How long the former stable revision keeps its pods after a promotion, 2 s at least."""
    max_errors: Share = 0.05
    """Share of failed requests, invalid outputs included, that Runtime takes for a fault."""
    probe: Probe = Probe()
    quarantine_ttl: Annotated[Duration | None, Field(alias="quarantineTTL")] = None
    """How long a revision that was taken back stays out. Without it until a person says so, or the
    spec asks for another revision."""
    keep_failed: Duration = "0s"
    """How long one pod of a revision that could not start, or could not run any more, is kept
    without traffic for people to look at; at most a day."""
    cooldown: Duration = "30m"
    """How long a new candidate waits after an automatic rollback; twice as long after each further
    one in a row, 24 h at most. A soak that a promotion survives ends the row."""
    budget: RollbackBudget = RollbackBudget()


class BudgetStatus(ApiModel):
    """What automatic rollbacks have cost so far; all that cooldown and budget are decided by."""

    consecutive_rollbacks: Annotated[int, Field(ge=0)] = 0
    """Since a promotion survived its soak."""
    rolled_back_at: Annotated[list[datetime], Field(max_length=MOST_ROLLBACKS)] = []
    """When they ended, newest first."""
    cooldown_until: datetime | None = None
    """No new candidate starts before; told for people, by the newest time and the spec."""
    exhausted_until: datetime | None = None
    """When the window lets one go; told while there are as many in it as the budget has."""
    admitted: RevisionText | None = None
    """The revision that a person lets in all the same, until its rollout begins."""
