"""BentoML with one worker: `bentoml serve bentoml_service:Service`; `BATCH` turns batching on."""

import importlib
import os
from typing import Any

import numpy as np
import rival_models

_bentoml: Any = importlib.import_module("bentoml")
_BATCH = int(os.environ.get("BATCH") or 0)
_api: Any = (
    _bentoml.api(batchable=True, max_batch_size=_BATCH * 64, max_latency_ms=1000)
    if _BATCH
    else _bentoml.api
)


@_bentoml.service(workers=1, traffic={"timeout": 30}, logging={"access": {"enabled": False}})
class Service:
    """Takes the matrix as BentoML's own numpy argument."""

    def __init__(self) -> None:
        self._predict = rival_models.load()

    @_api
    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Probability of the positive class, [rows]."""
        return self._predict(matrix)[1]
