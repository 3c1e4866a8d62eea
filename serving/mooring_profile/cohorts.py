"""Quality by labels that come late: each cohort of predictions is judged once, when it is mature.

A cohort holds the predictions of one hour or day with the labels that came for them so far,
whenever they came. Labels that come fast are not like those that come slowly (a fraud is known at
once, a repaid loan after years), so a cohort is compared with the reference only when the maturity
horizon has passed since its end and enough of its labels are there. Pure; the state is a value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mooring_profile.calibration import CalibrationMap
from mooring_profile.confusion import Confusion
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import Fields
from mooring_profile.quality import QualityVerdict
from mooring_profile.risk import LossTotals, RiskPolicy, RiskState, advance, log_e_of_totals

LEAST_LABELS = 200


@dataclass(frozen=True)
class Cohort:
    """Predictions of one stretch of time and the labels that came for them.

    Attributes:
        start: of the half-open interval, aware.
        end: of the interval, aware, after `start`.
        predicted: rows predicted in it.
        losses: of the rows that have a label, at most `predicted`.
        confusion: of the labelled rows of a binary model; None for others.
    """

    start: datetime
    end: datetime
    predicted: int
    losses: LossTotals
    confusion: Confusion | None = None

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.start >= self.end:
            raise CountsInvalid(
                f"A cohort runs from {self.start} to {self.end}; give aware times, the end later"
            )
        if not 0 <= self.losses.n <= self.predicted:
            raise CountsInvalid(
                f"The cohort of {self.start.isoformat()} has {self.losses.n:.0f} labels for "
                f"{self.predicted} predictions; count each prediction and each label once"
            )

    @property
    def coverage(self) -> float:
        """Share of predictions that have a label; 0 without predictions."""
        return self.losses.n / self.predicted if self.predicted else 0.0

    def merge(self, other: "Cohort") -> "Cohort":
        """Adds what another pod counted of the same cohort.

        Raises:
            CountsInvalid: the other one is of another time.
        """
        if (self.start, self.end) != (other.start, other.end):
            raise CountsInvalid(f"Cohorts of {self.start} and {other.start} cannot be added")
        known = self.confusion is not None and other.confusion is not None
        return Cohort(
            self.start,
            self.end,
            self.predicted + other.predicted,
            self.losses.merge(other.losses),
            self.confusion.merge(other.confusion)
            if known and self.confusion is not None and other.confusion is not None
            else None,
        )


@dataclass(frozen=True)
class CohortPolicy:
    """When a cohort counts, and what is too much.

    Attributes:
        maturity: from the end of a cohort until nearly all of its labels have come.
        risk: tolerated risk and announced interval between false alarms, in cohorts. Where several
            segments are watched, multiply the interval by their number to announce it for all.
        least_coverage: a mature cohort with a smaller share of labels is passed over, 0 to 1.
        design_effect: rows that weigh as one independent row, >= 1.
    """

    maturity: timedelta
    risk: RiskPolicy = field(default_factory=RiskPolicy)
    least_coverage: float = 0.5
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        if self.maturity < timedelta(0):
            raise CountsInvalid(f"maturity is {self.maturity}; it must not be below 0")
        if not 0 <= self.least_coverage <= 1:
            raise CountsInvalid(f"least_coverage is {self.least_coverage}; it must be in [0, 1]")
        if not self.design_effect >= 1:
            raise CountsInvalid(f"design_effect is {self.design_effect}; it must be 1 or more")


@dataclass(frozen=True)
class CohortState:
    """What was judged so far: a value, to be stored.

    Attributes:
        risk: evidence; None before the first call, or while no limit could be named.
        until: end of the last cohort that was judged or passed over; None before any.
        labelled: labels in judged cohorts.
        judged: cohorts judged.
        passed_over: mature cohorts passed over for want of labels.
        coverage: of the last mature cohort; None before any.
    """

    risk: RiskState | None = None
    until: datetime | None = None
    labelled: int = 0
    judged: int = 0
    passed_over: int = 0
    coverage: float | None = None

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "risk": None if self.risk is None else self.risk.to_json(),
            "until": None if self.until is None else self.until.isoformat(),
            "labelled": self.labelled,
            "judged": self.judged,
            "passedOver": self.passed_over,
            "coverage": self.coverage,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object] | object) -> "CohortState":
        """Reads the JSON form.

        Raises:
            CountsInvalid: a field is absent or out of its range.
        """
        fields = Fields.of(document, "cohorts", CountsInvalid)
        risk = None if fields.raw("risk") is None else RiskState.from_fields(fields.nested("risk"))
        return cls(
            risk=risk,
            until=_time(fields, "until"),
            labelled=fields.count("labelled"),
            judged=fields.count("judged"),
            passed_over=fields.count("passedOver"),
            coverage=fields.optional_number("coverage"),
        )


@dataclass(frozen=True)
class CohortReport:
    """The verdict of labels.

    Attributes:
        verdict: Degraded stays until the evidence has fallen again.
        message: one sentence for people.
        loss: mean loss of the rows since `since`, or of the last judged cohort; None before one.
        limit: the mean loss that is tolerated; None where the reference is too small for one.
        evidence: R; Degraded from the announced interval on.
        since: start of the cohort from which the risk seems too high; None while it does not.
        labelled: labels in judged cohorts.
        coverage: of the last mature cohort; None before any.
        passed_over: mature cohorts passed over for want of labels.
        immature: cohorts that wait for their labels.
    """

    verdict: QualityVerdict
    message: str
    loss: float | None
    limit: float | None
    evidence: float
    since: str | None
    labelled: int
    coverage: float | None
    passed_over: int
    immature: int


def reference_losses(calibration: CalibrationMap) -> LossTotals:
    """Returns the losses of the labelled reference rows, which cohorts are compared with."""
    rows, mean = calibration.rows, calibration.loss
    squares = float(rows @ (calibration.loss_variance + mean**2))
    return LossTotals(float(rows.sum()), float(rows @ mean), min(squares, float(rows @ mean)))


def judge_cohorts(
    state: CohortState,
    cohorts: Iterable[Cohort],
    *,
    now: datetime,
    reference: LossTotals,
    policy: CohortPolicy,
) -> tuple[CohortState, CohortReport]:
    """Judges the cohorts that became mature since the last call, in their order of time.

    While the mean loss of each cohort's labelled rows is at most the limit, whatever the cohorts
    before showed, the expected number of cohorts to a false `DEGRADED` is at least
    `policy.risk.false_alarm_every`, however often this is called. The limit is the 99 % upper
    limit of the reference's loss and the tolerance, or the ceiling if that is lower. A cohort is
    judged once: labels that come afterwards change nothing, so that none is counted twice.

    Args:
        state: after the last call; `CohortState()` at first.
        cohorts: merged over pods, in any order; those before `state.until` are left alone. Parts
            of one cohort are added.
        now: aware.
        reference: losses of labelled reference rows.
        policy: when a cohort counts, and what is too much.
    """
    merged = _in_order(cohorts)
    horizon = now - policy.maturity
    limit = policy.risk.limit(reference.upper_limit(policy.design_effect))
    risk = state.risk
    if limit is None:
        risk = None
    elif risk is None or abs(risk.limit - limit) > 1e-9:
        risk = RiskState(limit)
    state = replace(state, risk=risk)
    for cohort in merged:
        if cohort.end <= horizon and (state.until is None or cohort.start >= state.until):
            state = _judged(state, cohort, policy)
    waiting = sum(cohort.end > horizon and cohort.predicted > 0 for cohort in merged)
    return state, _report(state, waiting, policy)


def _judged(state: CohortState, cohort: Cohort, policy: CohortPolicy) -> CohortState:
    state = replace(state, until=cohort.end)
    if cohort.predicted == 0:
        return state
    state = replace(state, coverage=cohort.coverage)
    if cohort.losses.n == 0 or cohort.coverage < policy.least_coverage:
        return replace(state, passed_over=state.passed_over + 1)
    risk = state.risk
    if risk is not None:
        log_e = log_e_of_totals(cohort.losses, risk.limit) / policy.design_effect
        top = policy.risk.false_alarm_every
        risk = advance(risk, cohort.start.isoformat(), cohort.losses, log_e, top)
    labelled = state.labelled + int(cohort.losses.n)
    return replace(state, risk=risk, labelled=labelled, judged=state.judged + 1)


def _report(state: CohortState, waiting: int, policy: CohortPolicy) -> CohortReport:
    risk = state.risk
    verdict, message = _verdict(state, waiting, policy)
    return CohortReport(
        verdict=verdict,
        message=message,
        loss=None if risk is None else risk.losses.mean,
        limit=None if risk is None else risk.limit,
        evidence=0.0 if risk is None else risk.evidence,
        since=None if risk is None else risk.since,
        labelled=state.labelled,
        coverage=state.coverage,
        passed_over=state.passed_over,
        immature=waiting,
    )


def _verdict(state: CohortState, waiting: int, policy: CohortPolicy) -> tuple[QualityVerdict, str]:
    risk, coverage = state.risk, state.coverage
    if risk is not None and risk.evidence >= policy.risk.false_alarm_every:
        announced = f"announced: {policy.risk.false_alarm_every:.0f} cohorts between false alarms"
        return QualityVerdict.DEGRADED, (
            f"mean loss {risk.losses.mean or 0.0:.4g} over {risk.losses.n:.0f} labels since "
            f"{risk.since}, above {risk.limit:.4g}; {announced}"
        )
    if coverage is None:
        return QualityVerdict.IMMATURE, (
            f"no cohort is older than the maturity of {policy.maturity}; {waiting} wait for labels"
        )
    if coverage < policy.least_coverage or coverage == 0:
        return QualityVerdict.INSUFFICIENT, (
            f"{coverage:.1%} of the last mature cohort have labels, {policy.least_coverage:.0%} "
            "are needed: send the missing labels in time, or raise the maturity"
        )
    if risk is None:
        return QualityVerdict.INSUFFICIENT, (
            "the labelled reference rows are too few to say what a normal loss is: package the "
            "model with a larger held-out table"
        )
    effective = state.labelled / policy.design_effect
    if effective < LEAST_LABELS:
        return QualityVerdict.INSUFFICIENT, (
            f"{effective:.0f} independent labels so far, {LEAST_LABELS} are needed"
        )
    return QualityVerdict.HEALTHY, (
        f"mean loss {risk.losses.mean or 0.0:.4g}, tolerated {risk.limit:.4g}; {state.judged} "
        f"cohorts with {state.labelled} labels judged, {waiting} wait"
    )


def _in_order(cohorts: Iterable[Cohort]) -> list[Cohort]:
    merged: dict[datetime, Cohort] = {}
    for cohort in cohorts:
        known = merged.get(cohort.start)
        merged[cohort.start] = cohort if known is None else known.merge(cohort)
    return [merged[start] for start in sorted(merged)]


def _time(fields: Fields, key: str) -> datetime | None:
    if fields.raw(key) is None:
        return None
    text = fields.text(key)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise fields.refuse(key, text, "a time in ISO 8601") from error
    if found.tzinfo is None:
        raise fields.refuse(key, text, "a time with its offset")
    return found
