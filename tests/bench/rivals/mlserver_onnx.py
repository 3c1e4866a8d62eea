"""MLServer's documented way for a runtime of one's own: a subclass of its `MLModel`."""

import importlib
from pathlib import Path
from typing import Any

import rival_models

_mlserver: Any = importlib.import_module("mlserver")
_codecs: Any = importlib.import_module("mlserver.codecs")
_types: Any = importlib.import_module("mlserver.types")


class OnnxModel(_mlserver.MLModel):
    """Serves the ONNX file that the model's settings name."""

    async def load(self) -> bool:
        self._predict = rival_models.load_onnx(Path(self.settings.parameters.uri).parent)
        return True

    async def predict(self, payload: Any) -> Any:
        label, probability = self._predict(_codecs.NumpyRequestCodec.decode_request(payload))
        outputs = [
            _codecs.NumpyCodec.encode_output("label", label),
            _codecs.NumpyCodec.encode_output("probability", probability),
        ]
        return _types.InferenceResponse(
            model_name=self.name, model_version=self.version, id=payload.id, outputs=outputs
        )
