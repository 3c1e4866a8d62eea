"""A message that differs from an earlier one in its raw numbers alone is read around them."""

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from mooring_serving.grpc.fields import varint
from mooring_serving.grpc.proto import open_inference_pb2 as pb
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.protocol.repeated import MatrixFrame, Memory
from mooring_serving.protocol.signature import MATRIX_NAME, Signature

_RAW_FIELD: Final = b"\x3a"
"""The tag of `raw_input_contents`: field 7, with a length."""
_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class _Start:
    """All of a message before the bytes of its one matrix.

    Attributes:
        data: These bytes.
        frame: What they say.
        pinned: Whether they name a version.
    """

    data: bytes
    frame: MatrixFrame
    pinned: bool


class MessageMemory:
    """Remembers how messages with one raw matrix start; owned by the event loop."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._memory = Memory()
        self._starts: dict[int, _Start] = {}

    def recall(self, message: bytes) -> tuple[InferenceRequest, bool] | None:
        """The request of a message that starts like one before, and whether it names a version.

        None when it does not, or needs a closer look.
        """
        start = self._starts.get(len(message))
        if start is None or not message.startswith(start.data):
            return None
        request = start.frame.fill_raw(message, len(start.data))
        if request is None:
            return None
        self._memory.repeated()
        return request, start.pinned

    def learn(
        self, message: bytes, document: pb.ModelInferRequest, request: InferenceRequest
    ) -> None:
        """Remember how a message that was decoded starts, if it ends with the one matrix.

        Args:
            message: The message.
            document: The same, parsed; it names this server's model and version.
            request: The same, decoded.
        """
        inputs, raw = document.inputs, document.raw_input_contents
        if len(inputs) != 1 or len(raw) != 1 or inputs[0].name != MATRIX_NAME:
            return
        if not self._memory.learns:
            return
        frame = MatrixFrame.of(request, inputs[0].datatype, self._signature)
        end = len(message) - len(raw[0])
        head = _RAW_FIELD + varint(len(raw[0]))
        if frame is None or not message.startswith(head, end - len(head)):
            return
        try:
            # What can be read by itself ends where a field ends: so the next one is the matrix.
            pb.ModelInferRequest.FromString(message[: end - len(head)])
        except DecodeError:
            return
        if len(self._starts) >= _REMEMBERED:
            self._starts.clear()
        pinned = document.model_version != ""
        self._starts[len(message)] = _Start(message[:end], frame, pinned)
