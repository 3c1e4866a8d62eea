"""The operator's own Prometheus metrics. Names follow controller-runtime, so dashboards work."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

MONITORING = {
    "mooring_coverage": "Recorded / answered rows of the last window that had any.",
    "mooring_drift_judged_rows": "Rows judged against the reference profile in this watch.",
    "mooring_drift_judged_windows": "Windows judged in this watch.",
    "mooring_drift_log_evidence": "Log evidence of the stream that is nearest to its alarm.",
    "mooring_drift_log_threshold": "Log evidence at which that stream alarms.",
    "mooring_drift_alarm": "Streams of inputs and scores in alarm, latched.",
    "mooring_quality_loss": "Mean loss of labelled, matured predictions, in [0, 1].",
    "mooring_quality_label_coverage": "Labels / predictions of the last mature cohort.",
    "mooring_quality_expected_loss": "Mean loss expected from the scores of the last window.",
    "mooring_quality_value_per_row": "What a row is worth by the value matrix, in its unit.",
    "mooring_data_quality_alarm": "Streams of missing, invalid and unseen values in alarm.",
}
"""Series of each deployment that is watched. No label names a feature or a value of one: their
number is not bounded, and a value may be sensitive."""


_DEPLOYMENT = ("namespace", "deployment")


@dataclass(frozen=True, slots=True)
class DeploymentSeries:
    """What Prometheus is told of one deployment. What is not known has no series.

    Attributes:
        rows: rows that its pods told of, by outcome.
        retired_answers: requests that its retired pods answered themselves.
        monitoring: by the names of `MONITORING`.
    """

    rows: Mapping[str, int] = field(default_factory=dict[str, int])
    retired_answers: int | None = None
    monitoring: Mapping[str, float | None] = field(default_factory=dict[str, float | None])


class DeploymentGauges:
    """The gauges of all deployments, as plain numbers.

    The library's own take a kibibyte for each series: with thousands of deployments and a dozen
    series of each, a third of what the operator may take.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], DeploymentSeries] = {}

    def tell(self, namespace: str, deployment: str, series: DeploymentSeries) -> None:
        """Takes in what holds of a deployment from now on."""
        self._told[namespace, deployment] = series

    def forget(self, namespace: str, deployment: str) -> None:
        """Drops the series of a deployment that is no more."""
        self._told.pop((namespace, deployment), None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All series, as the registry asks for them."""
        rows = GaugeMetricFamily(
            "mooring_deployment_rows",
            "Rows that the pods of a deployment told of since this process leads: answered, "
            "sketched (in the drift counts) and dropped (in none).",
            labels=(*_DEPLOYMENT, "outcome"),
        )
        retired = GaugeMetricFamily(
            "mooring_deployment_retired_answers",
            "Requests that retired pods of a deployment answered themselves since this process "
            "leads: they should forward them all.",
            labels=_DEPLOYMENT,
        )
        monitoring = {
            name: GaugeMetricFamily(name, told, labels=_DEPLOYMENT)
            for name, told in MONITORING.items()
        }
        for key, series in self._told.items():
            for outcome, count in series.rows.items():
                rows.add_metric((*key, outcome), count)
            if series.retired_answers is not None:
                retired.add_metric(key, series.retired_answers)
            for name, value in series.monitoring.items():
                if value is not None:
                    monitoring[name].add_metric(key, value)
        yield from (rows, retired, *monitoring.values())


class OperatorMetrics:
    """All metrics of one process, in a registry of its own. Label values are bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._queues()
        self._watching()
        self.reconciles = self._counter(
            "controller_reconcile",
            "Reconciliations by outcome: success, requeue, conflict, error, poison.",
            "controller",
            "result",
        )
        self.reconcile_time = self._histogram(
            "controller_reconcile_time_seconds", "Time of one reconciliation.", "controller"
        )
        self.leader = self._gauge(
            "leader_election_master_status", "1 while this process leads.", "name"
        )
        self.requests = self._counter(
            "rest_client_requests",
            "Requests to the API server; code `error` for those without an answer.",
            "code",
            "method",
        )
        self.loop_lag = self._gauge(
            "event_loop_lag_seconds", "How late the event loop was at last look."
        )
        self.sync_answers = self._counter(
            "mooring_sync_answers",
            "Answers of pods to sync messages: ok, refused, unreachable.",
            "result",
        )
        self.sync_round_time = self._histogram(
            "mooring_sync_round_seconds", "Time of one sync round over the pods of a deployment."
        )
        self.deployments = DeploymentGauges()
        self.registry.register(self.deployments)
        self.events = self._counter(
            "mooring_events",
            "Events for people: posted, aggregated, or dropped by the rate limit or an error.",
            "result",
        )
        self.events_waiting = self._gauge(
            "mooring_events_waiting", "Events for people that wait to be posted."
        )

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)

    def _queues(self) -> None:
        self.queue_depth = self._gauge("workqueue_depth", "Keys waiting for a worker.", "name")
        self.queue_adds = self._counter("workqueue_adds", "Keys added.", "name")
        self.queue_retries = self._counter(
            "workqueue_retries", "Keys that are tried again after a failure.", "name"
        )
        self.queue_wait = self._histogram(
            "workqueue_queue_duration_seconds", "Time that a key waits for a worker.", "name"
        )
        self.queue_work = self._histogram(
            "workqueue_work_duration_seconds", "Time that a worker spends on a key.", "name"
        )

    def _watching(self) -> None:
        self.watch_last_event = self._gauge(
            "watch_last_event_timestamp_seconds",
            "Unix time of the last watch event of a kind.",
            "kind",
        )
        self.cache_objects = self._gauge("cache_objects", "Objects in the cache.", "kind")
        self.synthetic_deletes = self._counter(
            "resync_synthetic_deletes",
            "Deletions that no watch told of, found by a list.",
            "kind",
        )
        self.watch_restarts = self._counter(
            "watch_restarts", "Times that the watching shell was started again."
        )

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(name, told, labels, registry=self.registry)

    def _gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(name, told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, *labels: str) -> Histogram:
        return Histogram(name, told, labels, registry=self.registry, buckets=_SECONDS)
