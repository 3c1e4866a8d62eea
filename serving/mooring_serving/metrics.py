"""Prometheus metrics, made from the counters when they are scraped.

Nothing is counted twice and the request path touches no Prometheus object. Labels are bounded:
`model`, `version`, `revision`, `environment`, and closed vocabularies. No metric names a client.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mooring_serving.arms import Outcome, ShadowOutcome
from mooring_serving.counters import LATENCY_BOUNDS_MS, Counters, Totals, cumulate
from mooring_serving.lifecycle import State
from mooring_serving.refusals import Refusal

_BASE = ("model", "version", "revision", "environment")


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is read from other places than the counters at a scrape.

    Attributes:
        state: The server's state.
        recorder_rows: Rows sketched, and rows dropped by the recorder.
        log_rows: For each log its rows written, waiting and dropped.
        in_flight: Predictions that run or wait on the inference threads.
        loop_lag_seconds: How late the event loop is.
    """

    state: State
    recorder_rows: tuple[int, int]
    log_rows: Mapping[str, tuple[int, int, int]]
    in_flight: int
    loop_lag_seconds: float


class ServerMetrics(Collector):
    """The pod's metrics.

    Args:
        counters: The pod's counters.
        gauges: Reads the rest.
        identity: Reads the values of the labels model, version, revision, environment.
    """

    def __init__(
        self,
        counters: Counters,
        gauges: Callable[[], Gauges],
        *,
        identity: Callable[[], tuple[str, str, str, str]],
    ) -> None:
        self._counters = counters
        self._gauges = gauges
        self._read_identity = identity
        self._identity = identity()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Called by the registry at a scrape."""
        self._identity = self._read_identity()
        yield from self._counters.read(self._collect_totals)
        yield from self._collect_gauges(self._gauges())

    def _counter(
        self, name: str, text: str, values: Mapping[str, float], label: str | None = None
    ) -> Metric:
        labels = _BASE if label is None else (*_BASE, label)
        family = CounterMetricFamily(f"mooring_{name}", text, labels=labels)
        for value, number in values.items():
            own = self._identity if label is None else (*self._identity, value)
            family.add_metric(own, number)
        return family

    def _gauge(
        self, name: str, text: str, values: Mapping[str, float], label: str | None = None
    ) -> Metric:
        labels = _BASE if label is None else (*_BASE, label)
        family = GaugeMetricFamily(f"mooring_{name}", text, labels=labels)
        for value, number in values.items():
            own = self._identity if label is None else (*self._identity, value)
            family.add_metric(own, number)
        return family

    def _collect_totals(self, totals: Totals) -> list[Metric]:
        latency = HistogramMetricFamily(
            "mooring_request_latency_seconds",
            "Time inside this server of requests that its own model answered.",
            labels=_BASE,
        )
        bounds = [str(bound / 1000) for bound in LATENCY_BOUNDS_MS] + ["+Inf"]
        sums = cumulate(totals.latency.counts)
        latency.add_metric(
            self._identity,
            buckets=list(zip(bounds, map(float, sums), strict=True)),
            sum_value=totals.latency.sum_ms / 1000,
        )
        labels = {
            "rejected": totals.labels_rejected,
            "duplicate": totals.labels_duplicate,
            "counted_rows": totals.labelled.n,
        }
        return [
            self._counter(
                "requests", "Live requests answered by this pod's model.", {"": totals.requests}
            ),
            self._counter("rows", "Rows of those requests.", {"": totals.rows}),
            latency,
            self._counter(
                "refusals",
                "Requests answered with a 4xx or 503, by status.",
                {str(status): n for status, n in sorted(totals.refusals.items())},
                "status",
            ),
            self._counter(
                "requests_refused",
                "The same requests, by reason.",
                {reason.value: totals.refused[reason] for reason in Refusal},
                "reason",
            ),
            self._counter(
                "faults",
                "Live requests on which this pod's model failed, by kind.",
                dict(sorted(totals.faults.items())),
                "kind",
            ),
            self._counter(
                "forwards",
                "Requests forwarded to another pod, by how that ended.",
                {outcome.value: totals.forwards[outcome] for outcome in Outcome},
                "outcome",
            ),
            self._counter(
                "shadows",
                "Requests mirrored to the candidate, by how that ended.",
                {outcome.value: totals.shadows[outcome] for outcome in ShadowOutcome},
                "outcome",
            ),
            self._counter("labels", "Labels received, by what became of them.", labels, "outcome"),
        ]

    def _collect_gauges(self, gauges: Gauges) -> list[Metric]:
        sketched, dropped = gauges.recorder_rows
        logs = gauges.log_rows
        return [
            self._counter("sketched_rows", "Rows counted in the sketches.", {"": sketched}),
            self._counter(
                "record_dropped_rows", "Rows not counted: the recorder was full.", {"": dropped}
            ),
            self._counter(
                "log_rows",
                "Rows written, by log.",
                {name: rows[0] for name, rows in logs.items()},
                "log",
            ),
            self._gauge(
                "log_waiting_rows",
                "Rows waiting to be written, by log.",
                {name: rows[1] for name, rows in logs.items()},
                "log",
            ),
            self._counter(
                "log_dropped_rows",
                "Rows not logged: the queue was full or the store unreachable.",
                {name: rows[2] for name, rows in logs.items()},
                "log",
            ),
            self._gauge(
                "inference_in_flight",
                "Predictions that run or wait on the inference threads.",
                {"": gauges.in_flight},
            ),
            self._gauge(
                "loop_lag_seconds", "How late the event loop is.", {"": gauges.loop_lag_seconds}
            ),
            self._gauge(
                "state",
                "1 for the state that the server is in.",
                {state.value: float(state is gauges.state) for state in State},
                "state",
            ),
        ]
