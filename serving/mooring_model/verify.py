"""What a verification Job does: check the files without loading, then load once and replay."""

import resource
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mooring_model.content import check_format
from mooring_model.documents import read_typed
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.load import LoadedModel, load_package, read_profile
from mooring_model.manifest import (
    Format,
    Manifest,
    check_code_allowed,
    package_digest,
    verify_files,
)
from mooring_model.prediction import Array, Columns, PredictionFailed
from mooring_model.samples import Samples, read_samples
from mooring_model.schema import ModelSchema, read_inference, read_schema

METRICS = "metrics.json"
LATENCY_CALLS = 200
WARM_CALLS = 5
LATENCY_SECONDS = 5.0
"""Longest time for measuring the latency, however slow the model."""
_MAX_METRICS = 8
"""In a report, which must fit into a termination message."""
_DOCUMENTS = frozenset(
    (
        "card.md", "datasets.json", "environment.lock", "inference.json", "metrics.json",
        "parameters.json", "profile.json", "samples.json", "schema.json",
    )
)  # fmt: skip
"""Of every package, beside the model's file."""
_Number = Annotated[float, Field(allow_inf_nan=False)]


class MetricEntry(BaseModel):
    """One figure of metrics.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64)]
    dataset: Annotated[str, Field(max_length=64)]
    value: _Number
    lower: _Number | None
    upper: _Number | None
    n: Annotated[int, Field(ge=0)]


_METRICS = TypeAdapter(Annotated[list[MetricEntry], Field(max_length=1000)])


@dataclass(frozen=True)
class VerificationReport:
    """What verification found; contract §3."""

    manifest: Manifest
    task: str
    features: int
    replayed_rows: int
    max_absolute_difference: float
    p50_ms: float
    p99_ms: float
    peak_memory_bytes: int
    metrics: tuple[MetricEntry, ...]

    def to_json(self) -> dict[str, object]:
        """The termination message."""
        return {
            "verdict": "Verified",
            "digest": package_digest(self.manifest),
            "format": self.manifest.format.value,
            "task": self.task,
            "features": self.features,
            "replayedRows": self.replayed_rows,
            "maxAbsoluteDifference": self.max_absolute_difference,
            "latencyMs": {"p50": self.p50_ms, "p99": self.p99_ms},
            "peakMemoryBytes": self.peak_memory_bytes,
            "metrics": [
                entry.model_dump(mode="json", exclude={"dataset", "n"}) for entry in self.metrics
            ],
        }


def check(directory: Path, digest: str | None, *, allow_code: bool = False) -> Manifest:
    """Files, digest, format by content, documents. Loads no model.

    Args:
        directory: the package.
        digest: the digest that it must have; None accepts any.
        allow_code: whether a package of format python is accepted.

    Raises:
        PackageRefused: naming what is wrong.
    """
    manifest = verify_files(directory, digest)
    check_code_allowed(manifest, where=str(directory), allowed=allow_code)
    listed = {entry.path for entry in manifest.files}
    missing = sorted(_DOCUMENTS - listed)
    if missing:
        raise PackageRefused(
            RefusalReason.FILE_MISSING,
            f"{directory}: a package holds {missing[0]}, and the manifest lists none",
            "package the model again with `mooring package`",
        )
    check_format(directory, manifest)
    read_inference(directory)
    schema = read_schema(directory)
    _check_meaning(directory, manifest, schema)
    read_samples(directory, schema)
    profiled = [feature.name for feature in read_profile(directory).features]
    if profiled != [spec.name for spec in schema.inputs]:
        raise PackageRefused(
            RefusalReason.SCHEMA_INVALID,
            f"{directory}: profile.json and schema.json do not speak of the same features",
            "package the model again with `mooring package`",
        )
    _metrics(directory)
    return manifest


def _check_meaning(directory: Path, manifest: Manifest, schema: ModelSchema) -> None:
    """What can be told of rules and graphs without running them."""
    path = directory / manifest.format.file
    if manifest.format is Format.RULES:
        from mooring_model.rules.document import read_rules
        from mooring_model.runtimes.rules import check_rules

        check_rules(path, read_rules(path), schema)
    elif manifest.format is Format.COMPOSITE:
        from mooring_model.composite.check import node_directory
        from mooring_model.composite.document import read_composite
        from mooring_model.composite.graph import check_graph

        document = read_composite(path)
        places = {node.name: node_directory(directory, node.name) for node in document.nodes}
        for node in document.nodes:
            check(places[node.name], node.digest)
        schemas = {name: read_schema(place) for name, place in places.items()}
        check_graph(path, document, schemas, schema)


def replay(directory: Path, *, allow_code: bool = False) -> VerificationReport:
    """Loads the model once, replays the samples, measures latency and memory.

    Args:
        directory: the package.
        allow_code: whether a package of format python is loaded.

    Raises:
        PackageRefused: LoadFailed, or ReplayMismatch with the first difference.
    """
    loaded = load_package(directory, allow_code=allow_code)
    with closing(loaded):
        return _replayed(directory, loaded)


def _replayed(directory: Path, loaded: LoadedModel) -> VerificationReport:
    samples = read_samples(directory, loaded.schema)
    try:
        answers = loaded.predict(samples.inputs).outputs
        p50, p99 = _latency(loaded, samples.inputs)
    except PredictionFailed as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{directory}: the model loads but does not answer its samples: {error}",
            "package the model again in the environment that serves it (see environment.lock)",
        ) from error
    difference = max(
        _difference(directory, samples, name, answers[name]) for name in samples.outputs
    )
    return VerificationReport(
        manifest=loaded.manifest,
        task=loaded.schema.task.value,
        features=len(loaded.schema.inputs),
        replayed_rows=len(next(iter(samples.outputs.values()))),
        max_absolute_difference=difference,
        p50_ms=p50,
        p99_ms=p99,
        peak_memory_bytes=_peak_memory_bytes()
        + (0 if loaded.process is None else loaded.process.peak_memory_bytes),
        metrics=_metrics(directory),
    )


def _difference(directory: Path, samples: Samples, name: str, given: Array) -> float:
    """Largest difference of an output; a label must be equal."""
    wanted = samples.outputs[name]
    if given.shape != wanted.shape:
        raise _mismatch(directory, name, 0, f"of shape {given.shape}, expected {wanted.shape}")
    if given.dtype.kind != "f":
        for row in np.flatnonzero(given != wanted).tolist():
            raise _mismatch(directory, name, row, f"{given[row]!r}, expected {wanted[row]!r}")
        return 0.0
    gaps = np.abs(given - wanted)
    worst, tolerance = float(gaps.max()), samples.tolerance_of(name)
    if not worst <= tolerance:
        row = int(np.argmax(gaps.reshape(len(wanted), -1).max(axis=1)))
        raise _mismatch(directory, name, row, f"off by {worst:.3g}, tolerance {tolerance:g}")
    return worst


def _mismatch(directory: Path, name: str, row: int, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.REPLAY_MISMATCH,
        f"{directory}: samples.json row {row}: output {name} is {what}",
        "package the model again in the environment that serves it (see environment.lock)",
    )


def _latency(loaded: LoadedModel, columns: Columns) -> tuple[float, float]:
    """Median and 99th percentile of single-row predictions, in ms."""
    rows = len(next(iter(columns.values())))
    times: list[float] = []
    end = time.perf_counter() + LATENCY_SECONDS
    for call in range(WARM_CALLS + LATENCY_CALLS):
        row = call % rows
        one = {name: values[row : row + 1] for name, values in columns.items()}
        begun = time.perf_counter()
        loaded.predict(one)
        times.append((time.perf_counter() - begun) * 1000)
        if begun > end and call >= WARM_CALLS:
            break
    times = times[WARM_CALLS:]
    p50, p99 = np.percentile(times, [50, 99])
    return round(float(p50), 3), round(float(p99), 3)


def _peak_memory_bytes() -> int:
    """Of this process; on Linux without that of the program which it was started from."""
    try:
        status = Path("/proc/self/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _metrics(directory: Path) -> tuple[MetricEntry, ...]:
    """The figures of metrics.json: those of the test table where there is one."""
    listed = read_typed(directory / METRICS, _METRICS)
    later = [entry for entry in listed if entry.dataset == "test"]
    return tuple(later or listed)[:_MAX_METRICS]
