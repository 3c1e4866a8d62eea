"""The operator's own Prometheus metrics. Names follow controller-runtime, so dashboards work."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class OperatorMetrics:
    """All metrics of one process, in a registry of its own. Label values are bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.queue_depth = Gauge(
            "workqueue_depth", "Keys waiting for a worker.", ["name"], registry=r
        )
        self.queue_adds = Counter("workqueue_adds", "Keys added.", ["name"], registry=r)
        self.queue_retries = Counter(
            "workqueue_retries", "Keys that are tried again after a failure.", ["name"], registry=r
        )
        self.queue_wait = Histogram(
            "workqueue_queue_duration_seconds",
            "Time that a key waits for a worker.",
            ["name"],
            buckets=_SECONDS,
            registry=r,
        )
        self.queue_work = Histogram(
            "workqueue_work_duration_seconds",
            "Time that a worker spends on a key.",
            ["name"],
            buckets=_SECONDS,
            registry=r,
        )
        self.reconciles = Counter(
            "controller_reconcile",
            "Reconciliations by outcome: success, requeue, conflict, error, poison.",
            ["controller", "result"],
            registry=r,
        )
        self.reconcile_time = Histogram(
            "controller_reconcile_time_seconds",
            "Time of one reconciliation.",
            ["controller"],
            buckets=_SECONDS,
            registry=r,
        )
        self.leader = Gauge(
            "leader_election_master_status", "1 while this process leads.", ["name"], registry=r
        )
        self.requests = Counter(
            "rest_client_requests",
            "Requests to the API server; code `error` for those without an answer.",
            ["code", "method"],
            registry=r,
        )
        self.watch_last_event = Gauge(
            "watch_last_event_timestamp_seconds",
            "Unix time of the last watch event of a kind.",
            ["kind"],
            registry=r,
        )
        self.cache_objects = Gauge("cache_objects", "Objects in the cache.", ["kind"], registry=r)
        self.synthetic_deletes = Counter(
            "resync_synthetic_deletes",
            "Deletions that no watch told of, found by a list.",
            ["kind"],
            registry=r,
        )
        self.watch_restarts = Counter(
            "watch_restarts", "Times that the watching shell was started again.", registry=r
        )
        self.loop_lag = Gauge(
            "event_loop_lag_seconds", "How late the event loop was at last look.", registry=r
        )
        self.sync_answers = Counter(
            "mooring_sync_answers",
            "Answers of pods to sync messages: ok, refused, unreachable, invalid.",
            ["result"],
            registry=r,
        )
        self.sync_round_time = Histogram(
            "mooring_sync_round_seconds",
            "Time of one sync round over all pods of a deployment.",
            buckets=_SECONDS,
            registry=r,
        )
        self.events = Counter(
            "mooring_events",
            "Events for people: posted, aggregated, or dropped by the rate limit or an error.",
            ["result"],
            registry=r,
        )

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
