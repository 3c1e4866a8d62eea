"""A whole loop on real processes: served traffic and labels, the Job over that log, its package."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mooring_model.manifest import package_digest, read_manifest
from mooring_model.verify import check, replay
from tests.builders.retraining import BINARY, FEATURES, champion, forget_result, task, traffic
from tests.serving.running_server import ROOT, Server, await_true, running

INFER = "/v2/models/flight-delay/infer"
FEEDBACK = "/v2/models/flight-delay/feedback"
ROWS_A_REQUEST = 8
RECIPE = {"maxTrials": 1, "timeout": "60s"}
DATATYPES = {"carrier": "BYTES", "delay": "FP64", "wind": "FP64"}


def ask(server: Server, rows: Any) -> str:
    """The receipt of one request with these rows, about the time of the first."""
    values = {
        name: [None if isinstance(x, float) and math.isnan(x) else x for x in rows[name]]
        for name in FEATURES
    }
    answer = server.post(
        INFER,
        {
            "parameters": {"event_time": rows["time"].iloc[0].isoformat()},
            "inputs": [
                {"name": name, "datatype": kind, "shape": [len(rows)], "data": values[name]}
                for name, kind in DATATYPES.items()
            ],
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["parameters"]["prediction_id"]


def serve_and_label(log: Path, rows: Any) -> None:
    """Ask a real server about the rows in their order, and send it their labels."""
    labelled: list[dict[str, Any]] = []
    with running(
        champion(BINARY),
        MOORING_DEPLOYMENT="dep",
        MOORING_NAMESPACE="ns",
        MOORING_EVENT_TIME="Request",
        MOORING_PREDICTION_LOG_URI=f"file://{log}",
    ) as server:
        for start in range(0, len(rows), ROWS_A_REQUEST):
            part = rows.iloc[start : start + ROWS_A_REQUEST]
            labelled.append(
                {
                    "prediction_id": ask(server, part),
                    "label": part[BINARY].tolist(),
                    "label_time": part["label_time"].iloc[-1].isoformat(),
                }
            )
        answer = server.post(FEEDBACK, {"labels": labelled}).json()
        assert answer["accepted"] == len(labelled), answer


def train(environment: dict[str, str]) -> tuple[int, str]:
    """Exit code of a `mooring train` process, and what it logged."""
    done = subprocess.run(
        [Path(sys.executable).with_name("mooring"), "train"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that a server wrote of a world that the champion does not know, on 16 days."""
    root = tmp_path_factory.mktemp("served")
    serve_and_label(root / "log", traffic(0, 16, slope=-1.0, seed=2))
    await_true(lambda: any(root.rglob("labels/*/*.parquet")), what="the label log")
    return root


def test_challenger_of_served_traffic_is_accepted_and_made_alike_when_the_job_is_run_again(
    served: Path,
) -> None:
    environment = task(served, target=BINARY, tuning=RECIPE)
    result, package = served / "out/run-1/result.json", served / "out/run-1/package"
    code, said = train(environment)
    assert code == 0, said
    first = json.loads(result.read_text())
    assert first["verdict"] == "Accepted", first
    assert first["blocks"] == 7
    assert sum(first["rows"].values()) > 1000
    assert check(package, first["digest"]) == read_manifest(package)
    assert replay(package).to_json()["verdict"] == "Verified"
    parent = json.loads(environment["MOORING_TRAINING"])["champion"]["digest"]
    assert json.loads((package / "parameters.json").read_text())["parents"] == [parent]
    # As if the Job had been killed after its snapshot: all else is done again, and is the same.
    forget_result(served, "result.json", "package")
    code, said = train(environment)
    assert code == 0, said
    assert json.loads(result.read_text()) == first
    assert package_digest(read_manifest(package)) == first["digest"]


def test_job_exits_with_10_and_its_reason_when_the_log_is_of_another_deployment(
    served: Path, tmp_path: Path
) -> None:
    shutil.copytree(served / "log" / "ns" / "dep", tmp_path / "log" / "ns" / "other")
    code, said = train(task(tmp_path, target=BINARY))
    assert code == 10
    assert '"reason": "NoLog"' in said
    assert "Traceback" not in said
