"""Prometheus metrics, made from the counters when they are scraped (docs/metrics.md).

Nothing is counted twice and the request path touches no Prometheus object. Labels are bounded:
`model`, `version`, `revision`, `environment`, `track`, and closed vocabularies. No metric names a
client. With worker processes every number is the sum over all of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mooring_serving.arms import Outcome, Role
from mooring_serving.lifecycle import State
from mooring_serving.totals import Totals, cumulate
from mooring_serving.workers.layout import BATCH_BOUNDS, LATENCY_BOUNDS_MS, Cell

_BASE = ("model", "version", "revision", "environment", "track")

_TRACKS = {Role.STABLE: "stable", Role.CANDIDATE: "candidate", Role.RETIRED: "retired"}

_COUNTERS: tuple[tuple[str, Cell, str], ...] = (
    ("rows", Cell.ROWS, "Rows of the requests that this pod's model answered."),
    ("retired_answers", Cell.RETIRED_ANSWERS, "Answers of the model of a retired pod."),
    ("record_dropped_rows", Cell.DROPPED_ROWS, "Rows not in the sketches: see docs/metrics.md."),
    ("batched_rows", Cell.BATCHED_ROWS, "Rows predicted in batches."),
    ("requests_shed", Cell.SHED, "Requests refused since too much work waited."),
    ("requests_late", Cell.LATE, "Requests whose deadline passed before they were predicted."),
    ("requests_over_memory", Cell.OVER_MEMORY, "Requests refused above the memory limit."),
    ("worker_deaths", Cell.DEATHS, "Worker processes that ended without having been told to."),
    ("workers_replaced", Cell.REPLACED, "Worker processes replaced for their memory."),
    ("requests_lost", Cell.REQUESTS_LOST, "Requests that those workers had begun to answer."),
    ("model_process_ends", Cell.MODEL_ENDS, "Crashes and hangs of a python model's process."),
    ("connections_lost", Cell.CONNECTIONS_LOST, "Connections that were open at those deaths."),
)
_GAUGES: tuple[tuple[str, Cell, str], ...] = (
    ("requests_in_flight", Cell.IN_FLIGHT, "Requests received and not yet answered."),
    ("connections", Cell.CONNECTIONS, "Open connections of clients and of other pods."),
    ("inference_in_flight", Cell.PREDICTING, "Batches that are predicted on threads."),
    ("queue_length", Cell.QUEUED, "Requests that wait for a batch."),
    ("resident_memory_bytes", Cell.MEMORY, "Resident memory, without what processes share."),
    ("workers_over_memory", Cell.REFUSING, "Processes that refuse work for their memory."),
    ("workers_ready", Cell.READY, "Processes that accept and answer."),
)


@dataclass(frozen=True, slots=True)
class MetricLabels:
    """Values of the labels that every metric has; `track` comes from the role."""

    model: str
    version: str
    revision: str
    environment: str
    role: Role

    def values(self) -> tuple[str, ...]:
        """In the order of the labels' names."""
        track = _TRACKS[self.role]
        return (self.model, self.version, self.revision, self.environment, track)


@dataclass(frozen=True, slots=True)
class Scrape:
    """Everything that a scrape reads.

    Attributes:
        labels: What every metric is labelled with.
        totals: The counts.
        sketched_rows: Rows in the sketches.
        state: The server's state.
        loop_lag_seconds: How late the latest event loop is.
        log_sample: Share of requests that are logged; None without a log.
    """

    labels: MetricLabels
    totals: Totals
    sketched_rows: int
    state: State
    loop_lag_seconds: float
    log_sample: float | None = None


class ServerMetrics(Collector):
    """The pod's metrics.

    Args:
        read: Reads everything that a scrape needs.
    """

    def __init__(self, read: Callable[[], Scrape]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Called by the registry at a scrape."""
        return _Families(self._read()).all()


class _Families:
    """The metric families of one scrape."""

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape
        self._totals = scrape.totals
        self._own = scrape.labels.values()

    def all(self) -> list[Metric]:
        totals = self._totals
        counters = [self._counter(name, text, totals[cell]) for name, cell, text in _COUNTERS]
        gauges = [self._gauge(name, text, totals[cell]) for name, cell, text in _GAUGES]
        return [*self._answers(), *counters, *self._outcomes(), *self._logs(), *gauges]

    def _answers(self) -> list[Metric]:
        totals = self._totals
        latency = self._histogram(
            "request_latency_seconds",
            "Time inside this server of requests that its own model answered.",
            [bound / 1000 for bound in LATENCY_BOUNDS_MS],
            totals.latency_counts,
            totals.latency_sum_ms / 1000,
        )
        batches = self._histogram(
            "batch_requests",
            "Requests that were predicted together.",
            BATCH_BOUNDS,
            totals.batch_counts,
            totals[Cell.BATCHED_REQUESTS],
        )
        return [
            self._counter(
                "requests", "Live requests answered by this pod's model.", totals.requests
            ),
            latency,
            batches,
        ]

    def _outcomes(self) -> list[Metric]:
        totals = self._totals
        forwards, shadows = totals.forwards, totals.shadows
        labels = {
            "rejected": totals[Cell.LABELS_REJECTED],
            "duplicate": totals[Cell.LABELS_DUPLICATE],
            "counted_rows": totals[Cell.LABELLED_ROWS],
        }
        return [
            self._counters(
                "responses",
                "Answers by class of status: predictions, forwarded ones included, and refusals.",
                "code",
                self._by_class(),
            ),
            self._counters(
                "refusals",
                "Requests answered with a 4xx or 5xx that is not the model's, by status.",
                "status",
                {str(status): count for status, count in totals.refusals.items()},
            ),
            self._counters(
                "requests_refused",
                "The same requests, by reason.",
                "reason",
                {reason.value: count for reason, count in totals.refused.items()},
            ),
            self._counters(
                "faults",
                "Live requests on which this pod's model failed, by kind.",
                "kind",
                totals.faults,
            ),
            self._counters(
                "forwards",
                "Requests forwarded to another pod, by how that ended.",
                "outcome",
                {outcome.value: count for outcome, count in forwards.items()},
            ),
            self._counters(
                "shadows",
                "Requests mirrored to the candidate, by how that ended.",
                "outcome",
                {outcome.value: count for outcome, count in shadows.items()},
            ),
            self._counters("labels", "Labels by what became of them.", "outcome", labels),
        ]

    def _by_class(self) -> dict[str, int]:
        totals = self._totals
        classes = {"2xx": totals.requests + totals.forwards[Outcome.ANSWERED], "4xx": 0}
        classes["5xx"] = totals[Cell.ERRORS]
        for status, count in totals.refusals.items():
            classes[f"{status // 100}xx"] += count
        return classes

    def _logs(self) -> list[Metric]:
        scrape = self._scrape
        states = {state.value: float(state is scrape.state) for state in State}
        return [
            self._counter("sketched_rows", "Rows counted in the sketches.", scrape.sketched_rows),
            self._logged(),
            self._counters(
                "payload_events",
                "Payload events by what became of them.",
                "outcome",
                self._totals.events,
            ),
            self._gauge(
                "prediction_log_sample",
                "Share of requests that are logged.",
                scrape.log_sample or 0,
            ),
            self._gauges(
                "prediction_log_waiting_rows",
                "Rows on their way to the store, in memory and on the pod's disk.",
                "log",
                self._totals.log_waiting,
            ),
            self._gauge("loop_lag_seconds", "How late the event loop is.", scrape.loop_lag_seconds),
            self._gauges("state", "1 for the state that the server is in.", "state", states),
        ]

    def _logged(self) -> Metric:
        family = CounterMetricFamily(
            "mooring_prediction_log_rows",
            "Rows of the logs by what became of them.",
            labels=(*_BASE, "log", "outcome"),
        )
        for log, outcomes in self._totals.log_rows.items():
            for outcome, rows in outcomes.items():
                family.add_metric((*self._own, log, outcome), rows)
        return family

    def _counter(self, name: str, text: str, number: float) -> Metric:
        family = CounterMetricFamily(f"mooring_{name}", text, labels=_BASE)
        family.add_metric(self._own, number)
        return family

    def _counters(self, name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
        family = CounterMetricFamily(f"mooring_{name}", text, labels=(*_BASE, label))
        for value, number in values.items():
            family.add_metric((*self._own, value), number)
        return family

    def _gauge(self, name: str, text: str, number: float) -> Metric:
        family = GaugeMetricFamily(f"mooring_{name}", text, labels=_BASE)
        family.add_metric(self._own, number)
        return family

    def _gauges(self, name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
        family = GaugeMetricFamily(f"mooring_{name}", text, labels=(*_BASE, label))
        for value, number in values.items():
            family.add_metric((*self._own, value), number)
        return family

    def _histogram(
        self, name: str, text: str, bounds: Sequence[float], counts: list[int], total: float
    ) -> Metric:
        family = HistogramMetricFamily(f"mooring_{name}", text, labels=_BASE)
        names = [*(str(float(bound)) for bound in bounds), "+Inf"]
        buckets = list(zip(names, map(float, cumulate(counts)), strict=True))
        family.add_metric(self._own, buckets=buckets, sum_value=total)
        return family
