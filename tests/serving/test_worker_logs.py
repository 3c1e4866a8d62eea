"""The prediction log of worker processes, one of which is killed: every row is accounted for."""

import importlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.serving.running_server import Server, await_true, running
from tests.serving.served_packages import cancer_package
from tests.serving.test_worker_processes import Load, metric, workers_of

_dataset: Any = importlib.import_module("pyarrow.dataset")


def log_rows(server: Server) -> dict[str, float]:
    """Rows of the prediction log by what became of them."""
    return {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(server.metrics())
        for sample in family.samples
        if sample.name == "mooring_prediction_log_rows_total"
        and sample.labels["log"] == "predictions"
    }


def test_log_of_a_killed_worker_is_recovered_and_its_lost_rows_are_counted(tmp_path: Path) -> None:
    with (
        running(
            cancer_package(),
            arguments=("--workers", "2"),
            MOORING_PREDICTION_LOG_URI=f"file://{tmp_path}",
            MOORING_PREDICTION_LOG='{"rotate": {"seconds": 1}}',
        ) as server,
        Load(server) as load,
    ):
        time.sleep(0.7)  # some rows journaled, some not
        os.kill(workers_of(server)[0], signal.SIGKILL)
        await_true(lambda: metric(server, "mooring_worker_deaths_total") == 1, what="the death")
        await_true(
            lambda: metric(server, "mooring_workers_ready") == 2, seconds=20, what="both back"
        )
        load.stop()
        rows = server.sync()["rows"]
        await_true(
            lambda: (
                metric(server, "mooring_prediction_log_waiting_rows") == 0
                and sum(log_rows(server).values()) == rows
            ),
            what="every row accounted for",
        )
        outcomes = log_rows(server)
    table = _dataset.dataset(tmp_path / "tests/cancer/predictions", format="parquet").to_table()
    assert table.num_rows == rows - outcomes["lost"]
    assert outcomes["dropped"] == 0
