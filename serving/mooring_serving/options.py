"""What `mooring serve` is told, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mooring_serving.limits import EngineLimits
from mooring_serving.settings import ServerSettings
from mooring_serving.workers.spec import Peer

EXIT_DRAINED = 0
EXIT_FAILED = 1
"""The model, the log or a port cannot be used, or workers do not stay alive; the process' log says
which and what to do."""
EXIT_SETTINGS = 2
"""An environment variable cannot be used."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that are open; `forward` and `grpc` are None where none was asked for."""

    http: int
    management: int
    forward: int | None
    grpc: int | None = None


def _no_report(ports: Ports) -> None:
    """Nobody wants to know the ports."""


@dataclass(frozen=True, slots=True)
class AskedPorts:
    """The ports to open; 0 takes a free one, None opens none."""

    http: int
    health: int
    forward: int | None = None
    grpc: int | None = None


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Everything that one server needs to know.

    Attributes:
        directory: The model package.
        host: Address to listen on.
        http_port: Port for clients; 0 takes a free one (so for the others).
        health_port: Management port.
        forward_port: Port for other pods of the deployment, None for none.
        settings: The environment's settings.
        limits: All limits.
        grpc_port: Port for gRPC clients, None for none.
        peer: Where all forwards go; None: to the Services of this deployment.
        workers: Processes that answer; with one there is no supervisor.
        on_open: Called once with the open ports.
    """

    directory: Path
    host: str
    http_port: int
    health_port: int
    forward_port: int | None
    settings: ServerSettings
    limits: EngineLimits = field(default_factory=EngineLimits)
    grpc_port: int | None = None
    peer: Peer | None = None
    workers: int = 1
    on_open: Callable[[Ports], None] = _no_report
