"""KServe's Python server with a custom model, REST and gRPC: `kserve_server.py --http_port N …`."""

import importlib
from typing import Any

import rival_models

_kserve: Any = importlib.import_module("kserve")


class Predictor(_kserve.Model):
    """A custom predictor as KServe's documentation builds it."""

    def __init__(self) -> None:
        _kserve.Model.__init__(self, rival_models.MODEL_NAME)
        self.load()

    def load(self) -> bool:
        self._predict = rival_models.load()
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        label, probability = self._predict(payload.inputs[0].as_numpy())
        outputs: list[Any] = []
        for name, values in (("label", label), ("probability", probability)):
            datatype = "INT64" if name == "label" else "FP64"
            output = _kserve.InferOutput(name=name, shape=list(values.shape), datatype=datatype)
            wide = values.astype("int64" if name == "label" else "float64")
            output.set_data_from_numpy(wide, binary_data=payload.use_binary_outputs)
            outputs.append(output)
        return _kserve.InferResponse(
            response_id=payload.id or "none",
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


if __name__ == "__main__":
    _kserve.ModelServer(workers=1).start([Predictor()])
