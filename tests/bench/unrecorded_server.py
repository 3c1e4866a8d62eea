"""Our server without its recorder, for `bench-recording` to compare with: nothing else differs."""

import sys

from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.recorder import Recorder
from mooring_serving.served import Answer
from tests.serving.server_process import main


def offer_nothing(self: Recorder, request: InferenceRequest, answer: Answer) -> None:
    """Record nothing."""


if __name__ == "__main__":
    Recorder.offer = offer_nothing
    sys.exit(main())
