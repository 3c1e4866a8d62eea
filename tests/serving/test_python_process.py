"""The process of a model of code: its faults cost a call, and nothing of it is left behind."""

import hashlib
import importlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_model.build import package
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.load import load_package
from mooring_model.prediction import PredictionFailed
from mooring_model.python.declaration import ChildLimits
from mooring_model.python.process import CRASHES, WINDOW_SECONDS, ModelProcess
from mooring_model.python.source import CodeModel
from mooring_model.verify import replay
from tests.builders.code_packages import MOODY, ask, code_package
from tests.builders.hostile_payloads import zipped
from tests.serving.running_server import Server, await_true, running

_pandas: Any = importlib.import_module("pandas")
QUICK = ChildLimits(call_seconds=1, start_seconds=20)


@pytest.fixture(scope="module")
def moody() -> Generator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield code_package(Path(folder), MOODY, QUICK)


@pytest.fixture
def process(moody: Path) -> Generator[ModelProcess]:
    with closing(ModelProcess(moody)) as process:
        yield process


def alive(process: ModelProcess) -> bool:
    """The process answers (again)."""
    try:
        return ask(process, 4) == [8, 8]
    except PredictionFailed:
        return False


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        (-1, "ValueError: x must not be -1"),
        (-5, "gave a list, not a dict"),
        (-7, "MemoryError"),
    ],
    ids=["raises", "answers no dict", "wants 4 GiB"],
)
def test_error_of_the_code_is_told_and_its_process_goes_on(
    process: ModelProcess, mood: int, said: str
) -> None:
    with pytest.raises(PredictionFailed, match=said):
        ask(process, mood)
    assert ask(process, 4) == [8, 8]
    assert process.ends == 0


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        (-2, "exited with 3"),
        (-3, "SIGSEGV"),
        (-4, "took longer than 1 s"),
        (-10, "broke the protocol|died"),
        (-11, "took longer than 1 s"),
    ],
    ids=["exits", "crashes", "loops", "writes into the connection", "sleeps"],
)
def test_end_of_the_process_costs_one_call_and_is_counted(
    process: ModelProcess, mood: int, said: str
) -> None:
    with pytest.raises(PredictionFailed, match=said):
        ask(process, mood)
    assert ask(process, 4) == [8, 8]
    assert process.ends == 1
    assert process.fault is None


def kill(process: ModelProcess) -> int:
    """Kills the model's process, and returns its id once it is dead."""
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):  # the server may have seen it first
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_death_between_calls_costs_no_call_and_is_counted(process: ModelProcess) -> None:
    for times in range(1, 4):
        kill(process)
        assert ask(process, 4) == [8, 8]
        assert process.ends == times


def test_process_that_died_between_calls_is_replaced_without_a_call(process: ModelProcess) -> None:
    before = kill(process)
    await_true(lambda: process.pid not in (None, before), what="the next process")
    assert process.ends == 1


def test_many_ends_are_a_fault_until_their_window_has_passed(moody: Path) -> None:
    now = [1000.0]
    with closing(ModelProcess(moody, clock=lambda: now[0])) as process:
        for _ in range(CRASHES):
            assert process.fault is None
            await_true(lambda: alive(process), what="the next process")
            now[0] += 1
            with pytest.raises(PredictionFailed):
                ask(process, -2)
        assert process.fault is not None
        assert "ended 5 times within 60 s" in process.fault
        now[0] += WINDOW_SECONDS
        assert process.fault is None


def test_calls_of_many_threads_are_each_answered(process: ModelProcess) -> None:
    wrong: list[object] = []

    def call(number: int) -> None:
        for _ in range(50):
            if ask(process, number) != [2 * number, 2 * number]:
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_locked_wheel_is_unpacked_for_the_code_and_removed_with_its_process(tmp_path: Path) -> None:
    """The package's own library comes before one of the image of the same name."""
    source = tmp_path / "given"
    (source / "code").mkdir(parents=True)
    (source / "wheels").mkdir()
    text = """
import packaging, rates
class Model:
    def __init__(self, directory): self.places = packaging.__file__, rates.__file__
    def predict(self, columns):
        if columns["x"][0] == -1:
            raise ValueError(" ".join(self.places))
        return {"prediction": rates.double(columns["x"])}
"""
    (source / "code" / "model.py").write_text(text)
    library = b"def double(x): return 2 * x\n"
    rates = zipped(("rates.py", library), ("rates-1.0.data/scripts/run", b"#!/bin/sh\n"))
    own = zipped(("packaging/__init__.py", b""))
    lock = ""
    for name, data in (("rates", rates), ("packaging", own)):
        (source / "wheels" / f"{name}-1.0-py3-none-any.whl").write_bytes(data)
        lock += f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(data).hexdigest()}  # it\n"
    (source / "requirements.lock").write_text(lock)
    x = np.arange(20.0)
    table = _pandas.DataFrame({"x": x, "y": 2 * x})
    out = tmp_path / "package"
    code = CodeModel(source, "model:Model")
    package(None, table, target="y", out=out, name="double", code=code)
    with closing(ModelProcess(out)) as process:
        assert ask(process, 4) == [8, 8]
        with pytest.raises(PredictionFailed, match="mooring-libraries-") as failed:
            ask(process, -1)
        places = [Path(word) for word in str(failed.value).split()[1:]]
        assert all("mooring-libraries-" in str(place) for place in places)
        assert places[1].exists()
        assert not (places[1].parent / "rates-1.0.data").exists()
    assert not places[1].exists()


def test_reported_memory_counts_the_process_of_the_model(tmp_path: Path) -> None:
    source = """
import numpy as np
class Model:
    def __init__(self, directory):
        self.weights = np.ones(25 << 20)  # 200 MiB
    def predict(self, columns):
        return {"prediction": 2 * columns["x"]}
"""
    report = replay(code_package(tmp_path, source), allow_code=True)
    with closing(ModelProcess(tmp_path / "package")) as process:
        assert process.peak_memory_bytes > 200 << 20
        assert report.peak_memory_bytes > process.peak_memory_bytes


def test_closed_process_is_gone(moody: Path) -> None:
    process = ModelProcess(moody)
    child = process.pid
    assert child is not None
    process.close()
    assert not Path(f"/proc/{child}").exists()
    with pytest.raises(PredictionFailed):
        ask(process, 4)


def test_texts_flags_and_missing_values_arrive_as_they_were_sent(tmp_path: Path) -> None:
    source = """
import numpy as np
class Model:
    def __init__(self, directory): pass
    def predict(self, columns):
        if "t" not in columns:
            return {"prediction": 2 * columns["x"]}
        rows = zip(columns["x"].tolist(), columns["t"].tolist(), columns["b"].tolist())
        facts = [(x == x, t == "é€", t is None, b) for x, t, b in rows]
        return {"prediction": np.array([hash(fact) for fact in facts])}
"""
    with closing(ModelProcess(code_package(tmp_path, source))) as process:
        columns = {
            "x": np.array([1.0, np.nan, 2.0]),
            "t": np.array(["é€", None, ""], object),
            "b": np.array([True, False, True]),
        }
        wanted = [
            (True, True, False, True),
            (False, False, True, False),
            (True, False, False, True),
        ]
        given = process.call(columns)["prediction"].tolist()
        assert given == [float(hash(row)) for row in wanted]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_library\nclass Model: pass\n", "no_such_library"),
        ("class Model:\n    def __init__(self, directory): 1 / 0\n", "ZeroDivisionError"),
        ("class Model:\n    def __init__(self, directory): raise SystemExit(0)\n", "SystemExit"),
        ("import os\nos._exit(0)\nclass Model: pass\n", "died at start, and exited with 0"),
        ("while True: pass\nclass Model: pass\n", "took longer than 1 s"),
        ("x = bytearray(8 << 30)\nclass Model: pass\n", "MemoryError"),
        ("class Model\n", "SyntaxError"),
    ],
    ids=["lacks a library", "fails", "exits", "is gone", "loops", "takes too much", "is no Python"],
)
def test_code_that_does_not_load_is_refused_with_its_words(
    tmp_path: Path, source: str, said: str
) -> None:
    limits = ChildLimits(start_seconds=1 if "while" in source else 20)
    with pytest.raises(PackageRefused, match=said) as refused:
        code_package(tmp_path, source, limits)
    assert refused.value.reason in (RefusalReason.LOAD_FAILED, RefusalReason.CODE_INVALID)


def test_package_of_code_is_refused_where_code_is_not_allowed(moody: Path) -> None:
    with pytest.raises(PackageRefused, match="allow-code") as refused:
        load_package(moody)
    assert refused.value.reason is RefusalReason.CODE_NOT_ALLOWED


def test_crash_costs_its_request_and_many_make_the_server_not_ready(moody: Path) -> None:
    with running(moody, MOORING_ALLOW_CODE="true") as server:
        for number in range(CRASHES):
            assert probe(server) == (200, "ok")
            crashed = infer(server, -2)
            assert crashed[0] == 500
            assert crashed[1] == "ModelFault"
            if number < CRASHES - 1:
                await_true(lambda: infer(server, 4)[0] == 200, what="the next process")
        status, text = probe(server)
        assert status == 503
        assert "ended 5 times within 60 s, last: the process died, and exited with 3" in text
        assert "mooring_model_process_ends_total" in server.metrics()
        line = next(
            line
            for line in server.metrics().splitlines()
            if line.startswith("mooring_model_process_ends_total")
        )
        assert float(line.split()[-1]) == CRASHES


def test_hanging_model_delays_no_probe_and_no_metadata(moody: Path) -> None:
    with running(moody, MOORING_ALLOW_CODE="true") as server:
        hanging = threading.Thread(target=infer, args=(server, -4))
        hanging.start()
        begun = time.monotonic()
        assert server.client.get(server.url("/v2/models/double")).status_code == 200
        assert probe(server)[0] == 200
        assert time.monotonic() - begun < 0.5
        hanging.join()


@pytest.mark.parametrize(
    ("mood", "fault"),
    [(-1, "ModelFault"), (-6, "ModelFault"), (-8, "ModelFault"), (-9, "InvalidOutput")],
    ids=["raises", "too few", "too many", "not finite"],
)
def test_answer_that_must_not_be_sent_is_a_fault_of_the_model(
    moody: Path, mood: int, fault: str
) -> None:
    with running(moody, MOORING_ALLOW_CODE="true") as server:
        assert infer(server, mood) == (500, fault)
        assert infer(server, 4) == (200, None)


def probe(server: Server) -> tuple[int, str]:
    answer = server.client.get(server.managed("/readyz"))
    return answer.status_code, answer.text


def infer(server: Server, first: float) -> tuple[int, str | None]:
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [first]}]}
    answer = server.post("/v2/models/double/infer", body)
    return answer.status_code, answer.headers.get("mooring-fault")
