"""What an administrator can set, read once from the environment and frozen.

Every variable is `MOORING_` and the upper-case field name. Only `__main__` reads the environment;
everything below gets this value passed down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, get_type_hints

PREFIX = "MOORING_"


class SettingInvalid(ValueError):
    """An environment variable cannot be read; the message names it and shows an example."""


@dataclass(frozen=True)
class OperatorSettings:
    """Settings of one operator process. Durations are in seconds in the environment."""

    serving_image: str = "ghcr.io/mooring-dev/serving:0.1.0"
    """Image of new revisions, verification and training. Pinned in each revision when it is made,
    so that changing it moves no pod."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of those pods. `Never` where images are loaded by hand."""
    namespace: str = "mooring-system"
    """Where the Lease, the sync key and the operator itself live."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to serve, separated by commas. Empty: the whole cluster. Above some twenty, one
    stream per namespace and kind costs more than watching everything."""
    leader_election: bool = True
    """Off only for a single process, such as one under a debugger: two would both act."""
    identity: str = ""
    """Name of this process in the Lease. Empty: host name and a random part."""
    lease_name: str = "mooring-operator"
    """Name of the Lease. Two operators with different names would both act."""
    lease_seconds: float = 15.0
    """A leader that did not renew for this long is replaced. Lower: faster failover, more writes,
    less patience with a slow API server."""
    renew_seconds: float = 10.0
    """A leader that could not renew for this long gives up. Below `lease_seconds`, so that the
    old leader has stopped before the new one starts."""
    retry_seconds: float = 2.0
    """Pause between attempts to get or renew the Lease."""
    workers: int = 16
    """Objects reconciled at the same time. They wait for the API server most of the time."""
    sync_workers: int = 32
    """Deployments whose pods are asked for their counters at the same time."""
    pod_connections: int = 128
    """Open connections to pods, over all deployments."""
    api_rate: float = 100.0
    """Requests a second to the API server, in the long run; it has its own fairness on top. A
    change of a spec takes three, and two Events: a quarter of the rate is the most that Events may
    take."""
    api_burst: int = 200
    """Requests that may be made at once before `api_rate` holds."""
    reconcile_rate: float = 500.0
    """Reconciliations a second, in the long run. Bounds the processor time of an event storm: one
    that finds nothing to do takes one or two milliseconds. A new leader looks at everything, three
    times for a deployment and its Model together, so this also bounds how soon it has."""
    reconcile_burst: int = 500
    """Reconciliations that may start at once before `reconcile_rate` holds."""
    resync_interval: timedelta = timedelta(seconds=600)
    """Time between complete lists (with 20 % jitter), which find what a watch gap lost."""
    stream_patience: timedelta = timedelta(seconds=120)
    """How long a watch may owe an object that a list has shown, before the process is restarted.
    Above kopf's 70 s of silence after which it reconnects."""
    sync_ttl: timedelta = timedelta(seconds=60)
    """After this long without a message, pods set weight and shadow to 0 by themselves."""
    drain: timedelta = timedelta(seconds=20)
    """Time for reconciliations under way to end after SIGTERM. Below the pod's grace period."""
    metrics_port: int = 8080
    """Port of /metrics; 0 switches it off."""
    probe_port: int = 8081
    """Port of /livez and /readyz; 0 switches it off."""
    listen: str = ""
    """Address to listen on. Empty: all, which pods need."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "OperatorSettings":
        """Reads `MOORING_*` variables.

        Raises:
            SettingInvalid: a value is not of its type, or two do not go together.
        """
        hints = get_type_hints(cls)
        given: dict[str, Any] = {
            field.name: _read(name, hints[field.name], environment[name])
            for field in fields(cls)
            if (name := PREFIX + field.name.upper()) in environment
        }
        settings = cls(**given)
        if not settings.retry_seconds < settings.renew_seconds < settings.lease_seconds:
            raise SettingInvalid(
                "MOORING_RETRY_SECONDS < MOORING_RENEW_SECONDS < MOORING_LEASE_SECONDS must hold,"
                f" not {settings.retry_seconds} < {settings.renew_seconds}"
                f" < {settings.lease_seconds}"
            )
        return settings


Setting = bool | int | float | str | timedelta | tuple[str, ...]


def _read(name: str, kind: object, text: str) -> Setting:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.strip().lower()]
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
        if kind is timedelta:
            return timedelta(seconds=float(text))
    except (KeyError, ValueError) as error:
        example = "true or false" if kind is bool else "a number"
        raise SettingInvalid(f"{name}={text!r} cannot be read; write {example}") from error
    if kind is str:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())
