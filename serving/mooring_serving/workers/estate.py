"""What the supervisor owns: memory, sockets, the desk, and the package's documents (not its model).

Opened once before the first worker, from files that are read here and verified by each worker.
"""

import os
import shutil
import socket
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from mooring_model.load import read_profile
from mooring_model.manifest import verify_files
from mooring_model.schema import read_inference, read_schema
from mooring_profile.document import ReferenceProfile
from mooring_profile.sketch import cell_count
from mooring_serving.feedback import FeedbackDesk, FeedbackIntake
from mooring_serving.loading import build_rule
from mooring_serving.log.logs import PredictionLogs, open_logs
from mooring_serving.options import ServeOptions
from mooring_serving.pod import Pod
from mooring_serving.protocol.signature import build_signature
from mooring_serving.settings import ServerSettings
from mooring_serving.workers.allowance import memory_per_worker
from mooring_serving.workers.board import BOARD_CELLS, Board
from mooring_serving.workers.layout import SketchLayout, SlotLayout
from mooring_serving.workers.member import Place
from mooring_serving.workers.memory import SketchMemory, SlotMemory, create_shared
from mooring_serving.workers.spec import Descriptors, WorkerSpec

_BACKLOG = 1024
_NONE_YET = -1


@dataclass(slots=True)
class Estate:
    """Everything that outlives a worker.

    Attributes:
        model: The protocol's model name.
        profile: The reference profile.
        places: The workers' places.
        board: What all workers see.
        desk: Takes labels.
        logs: Of which the supervisor writes the labels'.
        http: The clients' listening socket.
        forward: The other pods', None without one.
        grpc: The gRPC clients', None without one.
        scratch: A folder for journals that ends with the pod.
        opened: Whether the pod has been ready.
    """

    model: str
    profile: ReferenceProfile
    places: tuple[Place, ...]
    board: Board
    desk: FeedbackIntake
    logs: PredictionLogs
    http: socket.socket
    forward: socket.socket | None
    grpc: socket.socket | None
    scratch: Path | None = None
    opened: bool = False

    @property
    def http_port(self) -> int:
        """The clients' port."""
        return _port(self.http)

    @property
    def forward_port(self) -> int | None:
        """The other pods' port."""
        return None if self.forward is None else _port(self.forward)

    @property
    def grpc_port(self) -> int | None:
        """The gRPC clients' port."""
        return None if self.grpc is None else _port(self.grpc)

    def close_sockets(self) -> None:
        """Leave the listening sockets to the workers that still accept from them."""
        for listening in (self.http, self.forward, self.grpc):
            if listening is not None:
                listening.close()

    def close(self) -> None:
        """Let go of what the process' end would free anyway."""
        self.close_sockets()
        for place in self.places:
            descriptors = place.spec.descriptors
            os.close(descriptors.slot)
            os.close(descriptors.sketches)
        if self.places:
            os.close(self.places[0].spec.descriptors.board)
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)


def open_estate(options: ServeOptions, pod: Pod) -> Estate:
    """Read the package's documents and open memory and sockets.

    Raises:
        PackageRefused: A document cannot be used.
        LogInvalid: The prediction log cannot be written.
        OSError: A port cannot be opened, or there is no memory.
    """
    directory, limits = options.directory, options.limits
    settings, scratch = _with_journal(options.settings)
    manifest = verify_files(directory)
    schema, inference = read_schema(directory), read_inference(directory)
    profile = read_profile(directory)
    model = settings.model or manifest.model
    signature = build_signature(schema.inputs, schema.outputs, max_rows=inference.max_batch_rows)
    logs = open_logs(
        settings, signature, pod.clock, limits.work, worker=0, workers=options.workers + 1
    )
    desk = FeedbackDesk(
        build_rule(schema, profile, inference.threshold),
        pod.counters,
        logs.labels,
        model=model,
        key=settings.receipt_key.encode() if settings.receipt_key else None,
        memory=limits.work.receipts,
    )
    http = _open_socket(options.host, options.http_port)
    forward = _listen(options.host, options.forward_port)
    grpc = _listen(options.host, options.grpc_port)
    board = create_shared(BOARD_CELLS, "mooring-board")
    common = WorkerSpec(
        index=0,
        workers=options.workers,
        directory=directory,
        settings=settings,
        limits=limits,
        peer=options.peer,
        memory=settings.memory_per_worker or memory_per_worker(options.workers),
        sketch_cells=cell_count(profile),
        descriptors=Descriptors(
            slot=_NONE_YET,
            sketches=_NONE_YET,
            board=board,
            http=http.fileno(),
            forward=None if forward is None else forward.fileno(),
            grpc=None if grpc is None else grpc.fileno(),
        ),
    )
    return Estate(
        model=model,
        profile=profile,
        places=tuple(_open_place(common, index) for index in range(options.workers)),
        board=Board.shared(board),
        desk=FeedbackIntake(desk, limit=limits.work.labels_per_request, clock=pod.clock),
        logs=logs,
        http=http,
        forward=forward,
        grpc=grpc,
        scratch=scratch,
    )


def _with_journal(settings: ServerSettings) -> tuple[ServerSettings, Path | None]:
    """Settings with a folder for journals, so that a worker's successor finds what waited.

    Returns:
        The settings, and the folder when it was made here.
    """
    if settings.prediction_log_uri is None or settings.prediction_log_journal is not None:
        return settings, None
    scratch = Path(tempfile.mkdtemp(prefix="mooring-log-"))
    return settings.model_copy(update={"prediction_log_journal": scratch}), scratch


def _open_place(common: WorkerSpec, index: int) -> Place:
    """A worker's place with memory of its own."""
    layout = SlotLayout.of(common.limits.work.phases)
    sketches = SketchLayout(common.sketch_cells)
    slot = create_shared(layout.cells, f"mooring-slot-{index}")
    sketched = create_shared(sketches.cells, f"mooring-sketches-{index}")
    descriptors = replace(common.descriptors, slot=slot, sketches=sketched)
    spec = replace(common, index=index, descriptors=descriptors)
    return Place(spec, SlotMemory.shared(layout, slot), SketchMemory.shared(sketches, sketched))


def _listen(host: str, port: int | None) -> socket.socket | None:
    """A listening socket where a port was asked for."""
    return None if port is None else _open_socket(host, port)


def _open_socket(host: str, port: int) -> socket.socket:
    """One listening socket for all workers: its queue outlives each of them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listening.settimeout(0)
    return listening


def _port(listening: socket.socket) -> int:
    address: tuple[str, int] = listening.getsockname()
    return address[1]
