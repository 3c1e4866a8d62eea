"""LitServe with one worker: `litserve_server.py PORT`; `BATCH` turns its batching on."""

import importlib
import os
import sys
from typing import Any

import numpy as np
import rival_models

_litserve: Any = importlib.import_module("litserve")


def _matrix(request: Any) -> Any:
    tensor = request["inputs"][0]
    return np.array(tensor["data"], dtype=np.float64).reshape(tensor["shape"])


class Api(_litserve.LitAPI):
    """Takes the same protocol body as the others, since LitServe accepts any JSON."""

    def setup(self, device: str) -> None:
        self._predict = rival_models.load()

    def decode_request(self, request) -> Any:  # pyright: ignore  # an annotation changes its parsing
        return _matrix(request)

    def batch(self, inputs: list[Any]) -> Any:
        self._rows = [len(each) for each in inputs]
        return np.concatenate(inputs)

    def predict(self, x: Any) -> Any:
        return self._predict(x)

    def unbatch(self, output: Any) -> list[Any]:
        cuts = np.cumsum(self._rows)[:-1]
        return list(zip(*(np.split(values, cuts) for values in output), strict=True))

    def encode_response(self, output: Any) -> Any:
        label, probability = output
        return {
            "outputs": [
                {"name": "label", "datatype": "INT64", "data": label.tolist()},
                {"name": "probability", "datatype": "FP64", "data": probability.tolist()},
            ]
        }


if __name__ == "__main__":
    batching: dict[str, Any] = {}
    if os.environ.get("BATCH"):
        batching = {"max_batch_size": int(os.environ["BATCH"]), "batch_timeout": 0.002}
    server = _litserve.LitServer(
        Api(**batching), accelerator="cpu", workers_per_device=1, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
