"""From a package on disk to a served model that has already predicted."""

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from mooring_model.load import LoadedModel, load_package
from mooring_model.python.process import ModelProcess
from mooring_model.schema import ModelSchema
from mooring_profile.document import ReferenceProfile
from mooring_serving.batching import PredictionCost
from mooring_serving.errors import RequestRefused
from mooring_serving.limits import TensorLimits
from mooring_serving.losses import LossRule, Task
from mooring_serving.protocol.codec import decode_request
from mooring_serving.protocol.messages import InferenceRequest
from mooring_serving.protocol.signature import build_signature
from mooring_serving.served import ServedModel
from mooring_serving.settings import ServerSettings

_WARM_UP_ROWS = 64
_WARM_UP_SECONDS = 2.0
"""Longest time for each of the two measurements."""


class WarmUpFailed(Exception):
    """The model loaded but does not predict its own samples."""


@dataclass(frozen=True, slots=True)
class WarmModel:
    """A model that is ready to serve.

    Attributes:
        model: The model.
        profile: Its reference profile.
        cost: What its predictions take here.
        example: A request of one row, from its samples.
        process: Of a model that is code, to be closed with the server.
    """

    model: ServedModel
    profile: ReferenceProfile
    cost: PredictionCost
    example: Mapping[str, object]
    process: ModelProcess | None = None


def load_model(directory: Path, settings: ServerSettings) -> WarmModel:
    """Load a package, verify it, and let the model predict its samples.

    Raises:
        PackageRefused: The package cannot be used (see `mooring_model.errors`).
        WarmUpFailed: It loads but does not predict.
    """
    threads = settings.threads or 1
    loaded = load_package(directory, threads=threads, allow_code=settings.allow_code)
    model = _build_served(loaded, settings)
    cost = _warm_up(model, directory, settings.warmup_requests)
    if loaded.process is not None:
        # It may hang until its deadline, however quick it was here: never on the event loop.
        cost = replace(cost, inline=False)
    example = _build_example(model, directory, 1)
    return WarmModel(model, loaded.profile, cost, example, loaded.process)


def _build_served(loaded: LoadedModel, settings: ServerSettings) -> ServedModel:
    schema = loaded.schema
    return ServedModel(
        name=settings.model or loaded.manifest.model,
        version=settings.version,
        revision=settings.revision,
        model_format=loaded.manifest.format.value,
        signature=build_signature(
            schema.inputs, schema.outputs, max_rows=loaded.inference.max_batch_rows
        ),
        rule=build_rule(schema, loaded.profile, loaded.inference.threshold),
        predictor=loaded,
    )


def build_rule(schema: ModelSchema, profile: ReferenceProfile, threshold: float | None) -> LossRule:
    """How labels of this model are compared with its predictions."""
    score = profile.score
    low = score.minimum if score is not None else None
    high = score.maximum if score is not None else None
    spread = high - low if low is not None and high is not None else 0.0
    return LossRule(
        task=Task(schema.task.value),
        classes=schema.classes or (),
        positive=schema.positive_class,
        # A model that always predicted the same number in training has no range: use 1.
        scale=spread if spread > 0 else 1.0,
        threshold=0.5 if threshold is None else threshold,
    )


def _warm_up(model: ServedModel, directory: Path, runs: int) -> PredictionCost:
    """Predict the samples, which also pays for every first call, and measure."""
    one = _read_samples(model, directory, 1)
    many_rows = min(_WARM_UP_ROWS, model.signature.max_rows)
    many = _read_samples(model, directory, many_rows)
    one_ms = _measure(model, one, runs)
    many_ms = _measure(model, many, runs)
    row_ms = max(0.0, (many_ms - one_ms) / max(1, many_rows - 1))
    return PredictionCost(base_ms=max(0.0, one_ms - row_ms), row_ms=row_ms)


def _build_example(model: ServedModel, directory: Path, rows: int) -> Mapping[str, object]:
    """A client's request with the package's sample inputs, repeated to `rows`."""
    samples = json.loads((directory / "samples.json").read_bytes())["inputs"]
    tensors = [
        {
            "name": feature.name,
            "datatype": feature.datatype,
            "shape": [rows],
            "data": [
                samples[feature.name][row % len(samples[feature.name])] for row in range(rows)
            ],
        }
        for feature in model.signature.features
    ]
    return {"inputs": tensors}


def _read_samples(model: ServedModel, directory: Path, rows: int) -> InferenceRequest:
    """The same, decoded like a client's request."""
    try:
        example = _build_example(model, directory, rows)
        return decode_request(orjson.dumps(example), model.signature, TensorLimits())
    except (OSError, KeyError, ValueError, RequestRefused) as error:
        raise WarmUpFailed(
            f"{directory}: samples.json cannot be used as a request: {error}; package the model "
            "again with `mooring package`"
        ) from error


def _measure(model: ServedModel, request: InferenceRequest, runs: int) -> float:
    """Median milliseconds of a prediction."""
    model.predict(request.columns, request.rows)
    taken: list[float] = []
    started = time.perf_counter()
    for _ in range(runs):
        before = time.perf_counter()
        model.predict(request.columns, request.rows)
        taken.append((time.perf_counter() - before) * 1000)
        if time.perf_counter() - started > _WARM_UP_SECONDS:
            break
    return statistics.median(taken)
