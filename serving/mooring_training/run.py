"""One training run from its settings to its verdict; safe to repeat at any point.

Each stage commits with its last write: the snapshot with `record.json`, the package with
`manifest.json`, the run with `result.json`. A Job that is retried takes up after the last commit,
so a run gives one snapshot and one package, whatever was killed and however the log grew.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from mooring_model.errors import PackageRefused
from mooring_model.load import LoadedModel, load_package
from mooring_model.manifest import MANIFEST, package_digest, parse_manifest
from mooring_model.schema import Task
from mooring_model.storage import fetch, upload
from mooring_training import outcome as outcomes
from mooring_training import snapshot as snapshots
from mooring_training.challenger import (
    build_challenger,
    compare_on_later_rows,
    recorded_parameters,
    trained_until,
)
from mooring_training.comparison import Metric, Verdict
from mooring_training.errors import RefusalReason, Refused
from mooring_training.log import read_logs
from mooring_training.outcome import Outcome, Published
from mooring_training.places import Place, open_place
from mooring_training.settings import TrainingSettings
from mooring_training.snapshot import Snapshot, modelling_table
from mooring_training.tuning import champion_trial, fit, trials, tune

_LOG = logging.getLogger(__name__)

RESULT = "result.json"
PACKAGE = "package"


@dataclass(frozen=True)
class Surroundings:
    """What a run needs of the world beside its stores.

    Attributes:
        now: The wall clock, aware UTC; for `createdAt` alone.
        monotonic: Seconds; for the tuning timeout.
        scratch: An empty folder.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    scratch: Path


def execute(settings: TrainingSettings, world: Surroundings) -> Outcome:
    """Train and judge a challenger, or repeat the verdict that this run already has.

    Raises:
        Refused: No verdict is possible; retrying will not help.
        StoreUnavailable: A store did not answer; retry.
    """
    output = open_place(settings.output.uri)
    kept = output.read([f"{settings.run}/{RESULT}"]).get(f"{settings.run}/{RESULT}")
    if kept is not None:
        _LOG.info("run %s already has its verdict", settings.run)
        return _decode(kept, settings)
    folder = world.scratch / "champion"
    champion = _champion(settings, folder)
    snapshot = _snapshot(settings, champion, folder, output, world)
    challenger, published = _challenger(settings, champion, folder, snapshot, output, world)
    comparison = compare_on_later_rows(champion, challenger, snapshot, settings)
    if comparison is None or comparison.verdict is not Verdict.ACCEPTED:
        published = None
    elif published is None:
        published = _publish(settings, world.scratch / PACKAGE)
    regression = champion.schema.task is Task.REGRESSION
    verdict = outcomes.judged(
        settings.run,
        comparison,
        metric=Metric.MAE if regression else Metric.LOG_LOSS,
        min_blocks=settings.evaluation.min_blocks,
        record=snapshot.record,
        published=published,
    )
    output.write(f"{settings.run}/{RESULT}", outcomes.encode(verdict))
    _LOG.info("run %s: %s", settings.run, verdict.document["message"])
    return verdict


def _decode(data: bytes, settings: TrainingSettings) -> Outcome:
    try:
        return outcomes.decode(data)
    except ValueError as error:
        raise Refused(
            RefusalReason.OUTPUT_CONFLICT,
            f"{settings.output.uri}/{settings.run}/{RESULT} is not a verdict",
            remedy="remove it and trigger a new run",
        ) from error


def _champion(settings: TrainingSettings, folder: Path) -> LoadedModel:
    champion = settings.champion
    try:
        fetch(champion.uri, champion.digest, folder, allow_file=True)
        return load_package(folder)
    except PackageRefused as error:
        raise Refused(
            RefusalReason.CHAMPION_UNAVAILABLE,
            f"champion {champion.version}: {error.reason.value}: {error.message}",
            remedy=error.remedy,
        ) from error


def _snapshot(
    settings: TrainingSettings,
    champion: LoadedModel,
    folder: Path,
    output: Place,
    world: Surroundings,
) -> Snapshot:
    stored = snapshots.load(output, settings.run)
    if stored is not None:
        _LOG.info("run %s goes on with snapshot %s", settings.run, stored.record.digest)
        return stored
    features = [spec.name for spec in champion.schema.inputs]
    deployment = f"{settings.namespace}/{settings.deployment}"
    logs = read_logs(open_place(settings.log.uri), deployment, features)
    made = snapshots.assemble(
        logs,
        champion.schema,
        settings.data,
        trained_until=trained_until(folder),
        now=world.now(),
    )
    _LOG.info("run %s freezes snapshot %s", settings.run, made.record.digest)
    return snapshots.store(made, output, settings.run)


def _challenger(
    settings: TrainingSettings,
    champion: LoadedModel,
    folder: Path,
    snapshot: Snapshot,
    output: Place,
    world: Surroundings,
) -> tuple[LoadedModel, Published | None]:
    """The package of an earlier attempt where it was published, else a new one."""
    out = world.scratch / PACKAGE
    uri = _package_uri(settings)
    manifest_name = f"{settings.run}/{PACKAGE}/{MANIFEST}"
    manifest = output.read([manifest_name]).get(manifest_name)
    if manifest is not None:
        try:
            digest = package_digest(parse_manifest(manifest, where=uri))
            fetch(uri, digest, out, allow_file=True)
            return load_package(out), Published(uri, digest)
        except PackageRefused as error:
            raise Refused(
                RefusalReason.OUTPUT_CONFLICT, error.message, remedy=error.remedy
            ) from error
    return _train(settings, champion, folder, snapshot, world), None


def _train(
    settings: TrainingSettings,
    champion: LoadedModel,
    folder: Path,
    snapshot: Snapshot,
    world: Surroundings,
) -> LoadedModel:
    seed = settings.seed or 0
    schema = champion.schema
    table = modelling_table(snapshot.train, schema)
    candidates = trials(
        champion_trial(recorded_parameters(folder)),
        limit=settings.tuning.max_trials,
        rng=np.random.default_rng(seed),
    )
    deadline = world.monotonic() + settings.tuning.timeout.total_seconds()
    choice = tune(
        table,
        schema,
        candidates,
        embargo=settings.data.embargo,
        seed=seed,
        time_is_up=lambda: world.monotonic() > deadline,
    )
    _LOG.info("run %s chose %s of %d trials", settings.run, choice.trial, choice.trials)
    estimator = fit(table, schema, choice.trial, seed=seed)
    try:
        return build_challenger(
            estimator,
            snapshot,
            champion,
            choice=choice,
            settings=settings,
            out=world.scratch / PACKAGE,
        )
    except PackageRefused as error:
        raise Refused(
            RefusalReason.SCHEMA_MISMATCH,
            f"the challenger cannot be packaged: {error.message}",
            remedy=error.remedy,
        ) from error


def _publish(settings: TrainingSettings, folder: Path) -> Published:
    uri = _package_uri(settings)
    try:
        return Published(uri, package_digest(upload(folder, uri, allow_file=True)))
    except PackageRefused as error:
        raise Refused(RefusalReason.OUTPUT_CONFLICT, error.message, remedy=error.remedy) from error


def _package_uri(settings: TrainingSettings) -> str:
    return f"{settings.output.uri.rstrip('/')}/{settings.run}/{PACKAGE}"
