"""serve, train: commands that run until they are done or told to stop."""

from pathlib import Path

import typer

from mooring_cli.outcome import reported


def serve(
    directory: Path,
    host: str,
    http_port: int,
    health_port: int,
    forward_port: int | None,
    grpc_port: int,
    workers: int | None,
) -> None:
    """Serves until SIGTERM."""
    from mooring_serving.command import run
    from mooring_serving.options import AskedPorts

    with reported(None):
        asked = AskedPorts(http_port, health_port, forward_port, grpc_port)
        code = run(directory, host, asked, workers)
    raise typer.Exit(code)


def train() -> None:
    """Runs one training Job."""
    from mooring_training.command import run

    raise typer.Exit(run())
