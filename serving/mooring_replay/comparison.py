"""Replays the comparison of two revisions over windows: what would it have said, and when?

`mooring compare replay` prints and writes it. Errors are judged window by window
(`mooring_profile.windows`), so are answers slower than stable's own quantile
(`mooring_profile.latency`), losses by their totals (`mooring_profile.compare`), and counts of arms
against the announced share (`mooring_profile.ratio`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mooring_profile import (
    ArmTotals,
    Comparison,
    ErrorBudget,
    LatencyWindow,
    MeanStratum,
    ProportionWindow,
    RatioVerdict,
    Verdict,
    WindowTest,
    check_sample_ratio,
    compare_means,
    slow_answers,
)
from mooring_profile.latency import NOTHING
from mooring_replay.counted import CountedWindow
from mooring_replay.errors import ReplayRefused

ERRORS, LATENCY, LOSS = "errors", "latency", "loss"
DIGITS = 6


@dataclass(frozen=True)
class CompareSettings:
    """What the verdicts rest on.

    Attributes:
        alpha: limit on the chance of ever giving a wrong verdict, all metrics together.
        margin: difference of the shares of errors that nobody cares about.
        loss_margin: difference of the mean losses that nobody cares about.
        latency_margin: difference of the shares of slow answers that nobody cares about.
        latency_quantile: an answer is slow above this quantile of stable's answers so far.
        weight: announced share of the candidate, for windows that do not say theirs.
        ratio_alpha: limit on the chance of blaming shares that are kept; a budget of its own.
    """

    alpha: float = 0.01
    margin: float = 0.002
    loss_margin: float = 0.02
    latency_margin: float = 0.02
    latency_quantile: float = 0.95
    weight: float | None = None
    ratio_alpha: float = 0.0005

    def __post_init__(self) -> None:
        for option, value in (
            ("--alpha", self.alpha),
            ("--ratio-alpha", self.ratio_alpha),
            ("--latency-quantile", self.latency_quantile),
        ):
            if not 0 < value < 1:
                raise ReplayRefused(f"{option} is {value}", f"give {option} between 0 and 1")
        for option, value in (
            ("--margin", self.margin),
            ("--loss-margin", self.loss_margin),
            ("--latency-margin", self.latency_margin),
        ):
            if not -1 <= value <= 1:
                raise ReplayRefused(f"{option} is {value}", f"give {option} within -1 and 1")
        if self.weight is not None and not 0 < self.weight < 1:
            raise ReplayRefused(f"--weight is {self.weight}", "give --weight between 0 and 1")


@dataclass(frozen=True)
class MetricLook:
    """One metric after one window."""

    alpha: float
    margin: float
    found: Comparison
    hits: tuple[float, float]
    """Errors, slow answers or the sum of losses, of stable and candidate so far."""

    def to_json(self) -> dict[str, object]:
        """The look as a JSON object."""
        return {
            "verdict": self.found.verdict.value,
            "estimate": _rounded(self.found.estimate),
            "lower": round(self.found.lower, DIGITS),
            "upper": round(self.found.upper, DIGITS),
            "stable": {"n": self.found.n_stable, "sum": round(self.hits[0], DIGITS)},
            "candidate": {"n": self.found.n_candidate, "sum": round(self.hits[1], DIGITS)},
            "logEvidence": round(self.found.log_evidence, DIGITS),
            "alpha": self.alpha,
            "margin": self.margin,
        }


@dataclass(frozen=True)
class CompareReplay:
    """What was found.

    Attributes:
        settings: what it rests on.
        verdict: of the whole: `FAIL` with any metric's, `PASS` with all of them.
        window: the window of that decision, from 1; None while undecided.
        looks: each metric after each window.
        mismatch: the first window after which the arms' counts contradict the announced shares;
            None: none does, or none was announced.
    """

    settings: CompareSettings
    verdict: Verdict
    window: int | None
    looks: tuple[dict[str, MetricLook], ...]
    mismatch: int | None

    def to_json(self) -> dict[str, object]:
        """The document of `--json`."""
        at = len(self.looks) if self.window is None else self.window
        return {
            "formatVersion": 1,
            "verdict": self.verdict.value,
            "window": self.window,
            "alpha": self.settings.alpha,
            "margin": self.settings.margin,
            "metrics": {name: look.to_json() for name, look in self.looks[at - 1].items()},
            "sampleRatio": {
                "weight": self.settings.weight,
                "mismatchWindow": self.mismatch,
                "alpha": self.settings.ratio_alpha,
            },
            "windows": [
                {"window": number} | {name: look.to_json() for name, look in looks.items()}
                for number, looks in enumerate(self.looks, 1)
            ],
        }


def replay_comparison(windows: Sequence[CountedWindow], settings: CompareSettings) -> CompareReplay:
    """Judges after every window; the first verdict stands.

    Args:
        windows: at least one, in their order.
        settings: see there.

    Raises:
        ReplayRefused: no window tells errors, latency or losses.
    """
    metrics = _metrics(windows)
    if not metrics:
        raise ReplayRefused(
            "no window tells errors, latency or losses", "write one of them in each"
        )
    budget = ErrorBudget.even(settings.alpha, metrics)
    judges = {
        ERRORS: lambda: _error_looks(windows, settings, budget.part(ERRORS)),
        LATENCY: lambda: _latency_looks(windows, settings, budget.part(LATENCY)),
        LOSS: lambda: _loss_looks(windows, settings, budget.part(LOSS)),
    }
    series: list[Iterator[MetricLook]] = [judges[name]() for name in metrics]
    looks = tuple(dict(zip(metrics, row, strict=True)) for row in zip(*series, strict=True))
    verdict, window = Verdict.UNDECIDED, None
    for number, look in enumerate(looks, 1):
        verdict = _overall([item.found.verdict for item in look.values()])
        if verdict is not Verdict.UNDECIDED:
            window = number
            break
    return CompareReplay(settings, verdict, window, looks, _mismatch(windows, settings))


def _metrics(windows: Sequence[CountedWindow]) -> list[str]:
    told: dict[str, Callable[[CountedWindow], object]] = {
        ERRORS: lambda window: window.stable.errors,
        LATENCY: lambda window: window.stable.latency,
        LOSS: lambda window: window.stable.loss_sum,
    }
    return [name for name, get in told.items() if any(get(item) is not None for item in windows)]


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if set(verdicts) == {Verdict.PASS} else Verdict.UNDECIDED


def _error_looks(
    windows: Sequence[CountedWindow], settings: CompareSettings, alpha: float
) -> Iterator[MetricLook]:
    counted = (
        ProportionWindow(item.stable.n, item.stable.errors, item.candidate.n, item.candidate.errors)
        if item.stable.errors is not None and item.candidate.errors is not None
        else NOTHING
        for item in windows
    )
    return _window_looks(counted, alpha, settings.margin)


def _latency_looks(
    windows: Sequence[CountedWindow], settings: CompareSettings, alpha: float
) -> Iterator[MetricLook]:
    told = [item.stable.latency for item in windows if item.stable.latency is not None]
    nothing = (0,) * len(told[0][1])
    counted = [
        LatencyWindow(
            nothing if item.stable.latency is None else item.stable.latency[1],
            nothing if item.candidate.latency is None else item.candidate.latency[1],
        )
        for item in windows
    ]
    slow = slow_answers(counted, quantile=settings.latency_quantile)
    return _window_looks((window for window, _ in slow), alpha, settings.latency_margin)


def _window_looks(
    windows: Iterable[ProportionWindow], alpha: float, margin: float
) -> Iterator[MetricLook]:
    test = WindowTest.begin(alpha=alpha, margin=margin)
    stable = candidate = 0
    for window in windows:
        stable += window.stable_k
        candidate += window.candidate_k
        test = test.after(window)
        yield MetricLook(alpha, margin, test.comparison(), (stable, candidate))


def _loss_looks(
    windows: Sequence[CountedWindow], settings: CompareSettings, alpha: float
) -> Iterator[MetricLook]:
    # Each announced share is a stratum.
    strata: dict[float | None, MeanStratum] = {}
    for item in windows:
        stable, candidate = item.stable, item.candidate
        weight = settings.weight if item.weight is None else item.weight
        if (
            stable.loss_sum is not None
            and stable.loss_squares is not None
            and candidate.loss_sum is not None
            and candidate.loss_squares is not None
        ):
            before = strata.get(weight, MeanStratum(0, 0.0, 0.0, 0, 0.0, 0.0, weight))
            strata[weight] = MeanStratum(
                before.stable_n + stable.n,
                before.stable_sum + stable.loss_sum,
                before.stable_squared_sum + stable.loss_squares,
                before.candidate_n + candidate.n,
                before.candidate_sum + candidate.loss_sum,
                before.candidate_squared_sum + candidate.loss_squares,
                weight,
            )
        totals = tuple(strata.values())
        found = compare_means(totals, alpha=alpha, margin=settings.loss_margin)
        sums = (
            sum(item.stable_sum for item in totals),
            sum(item.candidate_sum for item in totals),
        )
        yield MetricLook(alpha, settings.loss_margin, found, sums)


def _mismatch(windows: Sequence[CountedWindow], settings: CompareSettings) -> int | None:
    steps: dict[float, ArmTotals] = {}
    for number, item in enumerate(windows, 1):
        weight = settings.weight if item.weight is None else item.weight
        if weight is None:
            continue
        before = steps.get(weight, ArmTotals(0, 0, weight))
        steps[weight] = ArmTotals(
            before.stable_n + item.stable.n, before.candidate_n + item.candidate.n, weight
        )
        found = check_sample_ratio(tuple(steps.values()), alpha=settings.ratio_alpha)
        if found.verdict is RatioVerdict.MISMATCHED:
            return number
    return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
