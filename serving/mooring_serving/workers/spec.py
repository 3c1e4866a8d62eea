"""What a worker is told when it starts: everything that it needs, as one JSON document."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import orjson

from mooring_serving.forward import Addresses, service_addresses
from mooring_serving.http.client import Address
from mooring_serving.limits import EngineLimits, GrpcLimits, HttpLimits, TensorLimits, WorkLimits
from mooring_serving.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Peer:
    """Where all forwards go instead of to the Services, one after the other; none leads nowhere."""

    addresses: tuple[Address, ...]


def resolve_addresses(peer: Peer | None, settings: ServerSettings) -> Addresses:
    """Where forwards go: to the peer, or to the Services of the deployment."""
    if peer is None:
        return service_addresses(settings.deployment, settings.namespace)
    return lambda _: peer.addresses


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Numbers of inherited descriptors.

    Attributes:
        slot: The worker's counters.
        sketches: The worker's sketches.
        board: What all share.
        http: The clients' listening socket.
        forward: The other pods' listening socket, None without one.
        grpc: The gRPC clients' listening socket, None without one.
    """

    slot: int
    sketches: int
    board: int
    http: int
    forward: int | None
    grpc: int | None

    def all(self) -> list[int]:
        """Those that there are."""
        numbers = (self.slot, self.sketches, self.board, self.http, self.forward, self.grpc)
        return [number for number in numbers if number is not None]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker.

    Attributes:
        index: Its place, from 0.
        workers: How many there are.
        directory: The model package.
        settings: The environment's settings.
        limits: All limits.
        peer: Where forwards go, None for the Services.
        memory: Its soft limit in bytes, None for none.
        sketch_cells: Cells of the profile's sketches.
        descriptors: What it inherits.
    """

    index: int
    workers: int
    directory: Path
    settings: ServerSettings
    limits: EngineLimits
    peer: Peer | None
    memory: int | None
    sketch_cells: int
    descriptors: Descriptors

    def encode(self) -> bytes:
        """As JSON; it holds the receipts' key, so it goes over the channel only."""
        return orjson.dumps(
            {
                "index": self.index,
                "workers": self.workers,
                "directory": str(self.directory),
                "settings": self.settings.model_dump_json(
                    by_alias=True, exclude_none=True, round_trip=True
                ),
                "limits": dataclasses.asdict(self.limits),
                "peer": None if self.peer is None else dataclasses.asdict(self.peer),
                "memory": self.memory,
                "sketchCells": self.sketch_cells,
                "descriptors": dataclasses.asdict(self.descriptors),
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> "WorkerSpec":
        """What `encode` wrote."""
        document = orjson.loads(raw)
        peer, limits = document["peer"], document["limits"]
        addresses = () if peer is None else [Address(**address) for address in peer["addresses"]]
        return cls(
            index=document["index"],
            workers=document["workers"],
            directory=Path(document["directory"]),
            settings=ServerSettings.model_validate_json(document["settings"]),
            limits=EngineLimits(
                http=HttpLimits(**limits["http"]),
                tensors=TensorLimits(**limits["tensors"]),
                work=WorkLimits(**limits["work"]),
                grpc=GrpcLimits(**limits["grpc"]),
            ),
            peer=None if peer is None else Peer(tuple(addresses)),
            memory=document["memory"],
            sketch_cells=document["sketchCells"],
            descriptors=Descriptors(**document["descriptors"]),
        )
