"""A training Job from its environment to its termination message, on real files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_model.load import load_package
from mooring_model.manifest import package_digest, read_manifest
from mooring_model.verify import check, replay
from mooring_training.command import run
from tests.builders.retraining import (
    BINARY,
    FEATURES,
    MULTICLASS,
    REGRESSION,
    champion,
    forget_result,
    task,
    traffic,
    write_log,
)


def answer(root: Path, environment: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """The exit code and the termination message."""
    log = root / "termination-log"
    log.write_text("")
    code = run(environment, log)
    data = log.read_bytes()
    assert len(data) <= 4096
    document: dict[str, Any] = json.loads(data)
    return code, document


def files(root: Path) -> dict[str, bytes]:
    """Every file of the output."""
    out = root / "out"
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")}


def changed_traffic(root: Path, *, target: str, slope: float = -1.0) -> None:
    write_log(root / "log", traffic(0, 24, slope=slope, seed=2), target=target)


@pytest.mark.parametrize("target", [BINARY, MULTICLASS, REGRESSION])
def test_challenger_is_accepted_when_the_world_has_changed(tmp_path: Path, target: str) -> None:
    changed_traffic(tmp_path, target=target)
    code, said = answer(tmp_path, task(tmp_path, target=target))
    assert code == 0
    assert said["verdict"] == "Accepted"
    assert said["version"] == "run-1"
    assert said["metric"] == ("mae" if target == REGRESSION else "logLoss")
    assert said["champion"] - said["challenger"] == pytest.approx(said["effect"])
    assert 0 < said["lower"] < said["effect"] < said["upper"]
    assert said["blocks"] == 7
    assert said["rows"]["test"] == 7 * 80
    package = tmp_path / "out" / "run-1" / "package"
    assert said["uri"] == f"file://{package}"
    assert said["digest"] == package_digest(read_manifest(package))
    check(package, said["digest"])
    replay(package)


def test_better_hyperparameters_are_chosen_when_more_trials_are_allowed(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    answer(tmp_path, task(tmp_path, target=BINARY, tuning={"maxTrials": 3, "timeout": "60s"}))
    answer(tmp_path, task(tmp_path, target=BINARY, run="run-2"))
    three, one = (
        json.loads((tmp_path / "out" / run / "package" / "parameters.json").read_text())
        for run in ("run-1", "run-2")
    )
    assert three["parameters"]["trials"] == 3
    assert three["parameters"]["validationLoss"] < one["parameters"]["validationLoss"]


def test_package_names_its_parent_and_keeps_the_champions_promises(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    environment = task(tmp_path, target=BINARY)
    _, said = answer(tmp_path, environment)
    folder = tmp_path / "out" / "run-1" / "package"
    lineage = json.loads((folder / "parameters.json").read_text())
    parent = json.loads(environment["MOORING_TRAINING"])["champion"]["digest"]
    assert lineage["parents"] == [parent]
    assert lineage["seed"] == 3
    assert lineage["parameters"]["snapshotDigest"] == said["snapshotDigest"]
    challenger, before = load_package(folder), load_package(champion(BINARY))
    promised = [(spec.name, spec.datatype, spec.nullable) for spec in before.schema.inputs]
    kept = [(spec.name, spec.datatype, spec.nullable) for spec in challenger.schema.inputs]
    assert kept == promised
    empty = challenger.predict(
        {
            "carrier": np.array(["UA", "never seen"], dtype=object),
            "delay": np.array([0.5, 0.5]),
            "wind": np.array([np.nan, np.nan]),
        }
    )
    assert np.isfinite(empty.score).all()


def test_challenger_is_not_published_when_its_world_has_passed(tmp_path: Path) -> None:
    write_log(tmp_path / "log", traffic(0, 16, slope=-1.0, seed=2), target=BINARY)
    back = traffic(16, 8, slope=1.0, seed=4)
    back.index = back.index + 100_000
    write_log(tmp_path / "log", back, target=BINARY, pod="pod-b")
    code, said = answer(tmp_path, task(tmp_path, target=BINARY))
    assert code == 0
    assert said["verdict"] == "Rejected"
    assert said["upper"] < 0
    assert said["uri"] is None
    assert said["digest"] is None
    assert not (tmp_path / "out" / "run-1" / "package").exists()
    assert (tmp_path / "out" / "run-1" / "snapshot" / "record.json").is_file()


def test_challenger_is_rejected_when_it_gains_less_than_was_asked(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    wanted = {"alpha": 0.05, "minEffect": 1.0e3, "block": "1d", "minBlocks": 5}
    _, said = answer(tmp_path, task(tmp_path, target=BINARY, evaluation=wanted))
    assert said["verdict"] == "Rejected"


def test_verdict_is_inconclusive_when_there_are_too_few_blocks(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    wanted = {"alpha": 0.05, "minEffect": 0.0, "block": "1d", "minBlocks": 20}
    code, said = answer(tmp_path, task(tmp_path, target=BINARY, evaluation=wanted))
    assert code == 0
    assert said["verdict"] == "Inconclusive"
    assert "7 of 20 blocks" in said["message"]


def test_run_repeats_its_verdict_and_writes_nothing_when_it_is_run_again(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    first = answer(tmp_path, task(tmp_path, target=BINARY))
    before = files(tmp_path)
    write_log(tmp_path / "log", traffic(24, 4, slope=3.0, seed=5), target=BINARY, pod="pod-b")
    assert answer(tmp_path, task(tmp_path, target=BINARY)) == first
    assert files(tmp_path) == before


def test_run_goes_on_with_its_snapshot_when_it_was_killed_and_the_log_grew(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    _, first = answer(tmp_path, task(tmp_path, target=BINARY))
    forget_result(tmp_path, "result.json", "package")
    write_log(tmp_path / "log", traffic(24, 4, slope=3.0, seed=5), target=BINARY, pod="pod-b")
    _, again = answer(tmp_path, task(tmp_path, target=BINARY))
    for field in ("verdict", "snapshotDigest", "rows", "effect", "lower", "upper"):
        assert again[field] == first[field]


def test_published_package_is_kept_when_the_run_was_killed_before_its_verdict(
    tmp_path: Path,
) -> None:
    changed_traffic(tmp_path, target=BINARY)
    _, first = answer(tmp_path, task(tmp_path, target=BINARY))
    before = files(tmp_path)
    forget_result(tmp_path, "result.json")
    _, again = answer(tmp_path, task(tmp_path, target=BINARY))
    assert again == first
    assert files(tmp_path) == before


def test_run_is_done_from_scratch_alike_when_another_run_has_the_same_rows(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    _, one = answer(tmp_path, task(tmp_path, target=BINARY))
    _, other = answer(tmp_path, task(tmp_path, target=BINARY, run="run-2"))
    for field in ("snapshotDigest", "effect", "lower", "upper"):
        assert other[field] == one[field]


def test_run_is_refused_when_the_champion_is_another_one(tmp_path: Path) -> None:
    changed_traffic(tmp_path, target=BINARY)
    other = {"version": "v1", "uri": f"file://{champion(BINARY)}", "digest": "sha256:" + "0" * 64}
    code, said = answer(tmp_path, task(tmp_path, target=BINARY, champion=other))
    assert code == 10
    assert said["reason"] == "ChampionUnavailable"
    assert said["remedy"]


def test_run_is_refused_when_there_is_no_log(tmp_path: Path) -> None:
    code, said = answer(tmp_path, task(tmp_path, target=BINARY))
    assert (code, said["verdict"], said["reason"]) == (10, "Refused", "NoLog")


def test_run_is_refused_when_a_setting_is_bad(tmp_path: Path) -> None:
    environment = task(tmp_path, target=BINARY, tuning={"maxTrials": 2, "timeout": "soon"})
    code, said = answer(tmp_path, environment)
    assert (code, said["reason"]) == (10, "SettingsInvalid")
    assert "tuning.timeout" in said["message"]


def test_run_is_worth_a_retry_when_the_store_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    environment = task(tmp_path, target=BINARY, output={"uri": "s3://models/retrained"})
    code, said = answer(tmp_path, environment)
    assert (code, said["verdict"], said["reason"]) == (11, "Unavailable", "StoreUnreachable")


def test_features_of_the_traffic_are_those_of_the_champion() -> None:
    assert tuple(s.name for s in load_package(champion(BINARY)).schema.inputs) == FEATURES
