"""A training Job whose champion, logs and output are on a real S3 server (versitygw)."""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from mooring_model.storage import fetch, upload
from mooring_model.stores.s3 import filesystem
from mooring_training.command import run
from tests.builders.retraining import BINARY, champion, task, traffic, write_log
from tests.serving.stores import S3Server, s3_server

pytestmark = pytest.mark.s3


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[S3Server]:
    """A server with empty buckets, reached through the standard environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with s3_server(tmp_path / "data") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        for bucket in ("models", "logs"):
            filesystem().mkdir(bucket)
        yield server


def on_s3(tmp_path: Path, **changes: Any) -> dict[str, str]:
    """The task with every place on the server."""
    environment = task(tmp_path, target=BINARY)
    document = json.loads(environment["MOORING_TRAINING"])
    document["champion"]["uri"] = "s3://models/champion"
    document |= {
        "log": {"uri": "s3://logs/predictions"},
        "output": {"uri": "s3://models/retrained"},
    }
    return {"MOORING_TRAINING": json.dumps(document | changes)}


def answer(tmp_path: Path, environment: dict[str, str]) -> tuple[int, dict[str, Any]]:
    log = tmp_path / "termination-log"
    log.write_text("")
    code = run(environment, log)
    return code, json.loads(log.read_text())


def test_job_reads_and_writes_the_object_store_alone(store: S3Server, tmp_path: Path) -> None:
    upload(champion(BINARY), "s3://models/champion")
    write_log(tmp_path / "log", traffic(0, 24, slope=-1.0, seed=2), target=BINARY)
    filesystem().put(str(tmp_path / "log"), "logs/predictions", recursive=True)
    code, said = answer(tmp_path, on_s3(tmp_path))
    assert (code, said["verdict"]) == (0, "Accepted")
    assert said["uri"] == "s3://models/retrained/run-1/package"
    fetch(said["uri"], said["digest"], tmp_path / "fetched")
    assert filesystem().exists("models/retrained/run-1/snapshot/record.json")
    assert answer(tmp_path, on_s3(tmp_path)) == (code, said)


def test_job_is_refused_when_the_log_is_empty(store: S3Server, tmp_path: Path) -> None:
    upload(champion(BINARY), "s3://models/champion")
    code, said = answer(tmp_path, on_s3(tmp_path))
    assert (code, said["reason"]) == (10, "NoLog")


def test_job_is_worth_a_retry_when_the_credentials_are_wrong(
    store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, said = answer(tmp_path, on_s3(tmp_path))
    assert (code, said["verdict"], said["reason"]) == (11, "Unavailable", "StoreDenied")
