"""The demo's versions: honest offline figures, and how they do on the flights that follow."""

import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mooring_model.infer_schema import to_columns
from mooring_model.load import LoadedModel, load_package
from mooring_model.manifest import package_digest, read_manifest
from tests.demo.flights import TARGET, load_flights
from tests.demo.models import Trained, build, midnight, table, train_v2


@cache
def built(version: str) -> tuple[Trained, LoadedModel, Path]:
    folder = Path(tempfile.mkdtemp(prefix="mooring-demo-")) / version
    return build(version, folder), load_package(folder), folder


def live_brier(version: str, month: int) -> float:
    """Brier score on a month of flights as clients send them."""
    _, model, _ = built(version)
    rows = table(
        load_flights(), (midnight(month), midnight(month + 1)), delay_unit=timedelta(minutes=1)
    )
    score = model.predict(to_columns(model.schema, rows)).score
    return float(np.square(score - rows[TARGET].to_numpy(dtype=np.float64)).mean())


def test_faulty_version_has_the_best_figures_offline() -> None:
    figures = {version: built(version)[0] for version in ("v1", "v2", "v3")}
    assert figures["v2"].log_loss == min(trained.log_loss for trained in figures.values())
    assert figures["v2"].brier == min(trained.brier for trained in figures.values())


@pytest.mark.parametrize("month", [3, 4])
def test_faulty_version_is_far_worse_live(month: int) -> None:
    assert live_brier("v2", month) - live_brier("v1", month) > 0.1


@pytest.mark.parametrize("month", [3, 4, 5, 6, 7, 8])
def test_good_version_is_no_worse_than_the_first_live(month: int) -> None:
    assert live_brier("v3", month) - live_brier("v1", month) < 0.03


def test_package_is_replaced_when_it_is_built_again(tmp_path: Path) -> None:
    out = tmp_path / "v2"
    train_v2(out)
    again = train_v2(out)
    assert again.digest == package_digest(read_manifest(out))
    assert "flights" in str(again)
