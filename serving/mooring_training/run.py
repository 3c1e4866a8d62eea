"""One training run, step by step: champion, snapshot, tuning, challenger, comparison, upload.

The shell of the room: it reads the clock, the stores and a scratch folder, and calls the pure
parts. Running the same run again finds the snapshot that was frozen, and so ends the same.
"""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mooring_model.errors import PackageRefused
from mooring_model.load import LoadedModel, load_package
from mooring_model.manifest import package_digest
from mooring_model.storage import fetch, upload
from mooring_training.challenger import (
    build_challenger,
    compare_on_later_rows,
    recorded_parameters,
    trained_until,
)
from mooring_training.comparison import Comparison, Verdict
from mooring_training.errors import RefusalReason, Refused
from mooring_training.log import read_logs
from mooring_training.places import open_place
from mooring_training.settings import TrainingSettings
from mooring_training.snapshot import Snapshot, assemble, load, modelling_table, store
from mooring_training.tuning import Choice, Estimator, champion_trial, fit, trials, tune

log = logging.getLogger("mooring.train")
SMALLEST_INTERVAL_DIGITS = 6


def train(
    settings: TrainingSettings, scratch: Path, *, allow_file: bool = False
) -> dict[str, object]:
    """Makes a challenger and compares it; uploads it when it wins.

    Args:
        settings: the run.
        scratch: an empty folder for packages on their way.
        allow_file: whether packages may lie in file: (a laptop, tests).

    Returns:
        The verdict as the termination message of contract §7.

    Raises:
        Refused: no verdict can be had of this data.
        PackageRefused: the challenger cannot be packaged.
        StoreUnavailable: a store did not answer; worth another try.
    """
    folder = scratch / "champion"
    champion = _champion(settings, folder, allow_file=allow_file)
    snapshot = _snapshot(settings, champion, folder)
    log.info("snapshot %s: %s rows", snapshot.record.digest, dict(snapshot.record.rows))
    choice, estimator = _best(settings, snapshot, champion, folder)
    log.info("chose %s after %s trials", choice.trial, choice.trials)
    out = scratch / "challenger"
    challenger = build_challenger(
        estimator, snapshot, champion.schema, choice=choice, settings=settings, out=out
    )
    comparison = compare_on_later_rows(champion, challenger, snapshot, settings)
    result = _told(settings, snapshot, comparison)
    if comparison is not None and comparison.verdict is Verdict.ACCEPTED:
        uri = f"{settings.output.uri.rstrip('/')}/{settings.run}"
        upload(out, f"{uri}/package", allow_file=allow_file)
        digest = package_digest(challenger.manifest)
        result |= {"version": settings.run, "uri": f"{uri}/package", "digest": digest}
    return result


def _champion(settings: TrainingSettings, folder: Path, *, allow_file: bool) -> LoadedModel:
    try:
        fetch(settings.champion.uri, settings.champion.digest, folder, allow_file=allow_file)
        return load_package(folder)
    except PackageRefused as error:
        raise Refused(
            RefusalReason.CHAMPION_UNAVAILABLE,
            f"champion {settings.champion.version}: {error.reason}: {error.message}",
            remedy=error.remedy,
        ) from error


def _snapshot(settings: TrainingSettings, champion: LoadedModel, folder: Path) -> Snapshot:
    """The rows that an earlier attempt froze, or those of the log as it is now."""
    output = open_place(settings.output.uri)
    frozen = load(output, settings.run)
    if frozen is not None:
        return frozen
    logs = read_logs(
        open_place(settings.log.uri),
        f"{settings.namespace}/{settings.deployment}",
        [spec.name for spec in champion.schema.inputs],
    )
    fresh = assemble(
        logs,
        champion.schema,
        settings.data,
        trained_until=trained_until(folder),
        now=datetime.now(UTC).replace(microsecond=0),  # noqa: TID251 - the Job's only clock
    )
    store(fresh, output, settings.run)
    return fresh


def _best(
    settings: TrainingSettings, snapshot: Snapshot, champion: LoadedModel, folder: Path
) -> tuple[Choice, Estimator]:
    """The hyperparameters that did best on later training rows, fitted to all of them."""
    seed = settings.seed or 0
    table = modelling_table(snapshot.train, champion.schema)
    deadline = time.monotonic() + settings.tuning.timeout.total_seconds()
    candidates = trials(
        champion_trial(recorded_parameters(folder)),
        limit=settings.tuning.max_trials,
        rng=np.random.default_rng(seed),
    )
    choice = tune(
        table,
        champion.schema,
        candidates,
        embargo=settings.data.embargo,
        seed=seed,
        time_is_up=lambda: time.monotonic() >= deadline,
    )
    return choice, fit(table, champion.schema, choice.trial, seed=seed)


def _told(
    settings: TrainingSettings, snapshot: Snapshot, comparison: Comparison | None
) -> dict[str, object]:
    """The termination message, without the package."""
    rows = {"train": len(snapshot.train), "test": len(snapshot.test)}
    base: dict[str, object] = {"snapshotDigest": snapshot.record.digest, "rows": rows}
    if comparison is None:
        message = "no labelled rows lie after the training rows and the embargo"
        return base | {"verdict": Verdict.INCONCLUSIVE.value, "blocks": 0, "message": message}
    return base | {
        "verdict": comparison.verdict.value,
        "blocks": comparison.blocks,
        "metric": comparison.metric.value,
        "champion": _rounded(comparison.champion),
        "challenger": _rounded(comparison.challenger),
        "effect": _rounded(comparison.effect),
        "lower": _rounded(comparison.lower),
        "upper": _rounded(comparison.upper),
        "message": _sentence(settings, comparison),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, SMALLEST_INTERVAL_DIGITS)


def _sentence(settings: TrainingSettings, comparison: Comparison) -> str:
    """What a person reads of the comparison."""
    figures = (
        f"{comparison.metric} {comparison.challenger:.4f} against the champion's"
        f" {comparison.champion:.4f} on {comparison.rows} later rows in {comparison.blocks} blocks"
    )
    if comparison.lower is None or comparison.upper is None:
        return f"{figures}; no interval from so few blocks"
    percent = 100 * (1 - settings.evaluation.alpha)
    return (
        f"{figures}; improvement {comparison.effect:+.4f},"
        f" {percent:g}% interval {comparison.lower:+.4f} to {comparison.upper:+.4f}"
    )
