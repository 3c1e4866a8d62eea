"""One real server process for tests: `python -m tests.serving.server_process DIR …`.

Prints its ports as one JSON line when it is ready. `--peer` stands in for the Services that a pod
forwards to, since there are no Services on loopback.
"""

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from mooring_serving.command import serve
from mooring_serving.http.client import Address
from mooring_serving.limits import EngineLimits, read_limits
from mooring_serving.options import Ports, ServeOptions
from mooring_serving.settings import read_settings
from mooring_serving.workers.spec import Peer


def announce(ports: Ports) -> None:
    """Tell the test which ports are open."""
    print(
        json.dumps(
            {
                "http": ports.http,
                "management": ports.management,
                "forward": ports.forward,
                "grpc": ports.grpc,
            }
        ),
        flush=True,
    )


def main() -> int:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--peer", type=int, action="append", default=[])
    parser.add_argument("--http", type=json.loads, default={})
    parser.add_argument("--work", type=json.loads, default={})
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    limits = read_limits()
    addresses = tuple(Address("127.0.0.1", port) for port in options.peer)
    return serve(
        ServeOptions(
            directory=options.directory,
            host="127.0.0.1",
            http_port=0,
            health_port=0,
            forward_port=0,
            grpc_port=0,
            settings=read_settings(),
            limits=EngineLimits(
                http=replace(limits.http, **options.http),
                tensors=limits.tensors,
                work=replace(limits.work, **options.work),
                grpc=limits.grpc,
            ),
            peer=Peer(addresses),
            workers=options.workers,
            on_open=announce,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
