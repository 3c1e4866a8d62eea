"""The `mooring` command as a person and as the operator use it."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mooring
from mooring_cli.main import main
from mooring_model.manifest import package_digest, read_manifest
from tests.serving.packaged_models import flights, packaged, wine
from tests.serving.served_packages import cancer_table
from tests.serving.stores import https_server

_skops: Any = importlib.import_module("skops.io")
_yaml: Any = importlib.import_module("yaml")


@dataclass(frozen=True)
class Ended:
    """What a command printed and how it ended."""

    code: int
    out: str
    error: str


class Command:
    """Runs `mooring` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["mooring", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, printed.out, printed.err)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command; what it prints is read."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    return Command(monkeypatch, capsys)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of a good package."""
    return Path(shutil.copytree(packaged("binary"), tmp_path / "package"))


def test_model_goes_from_files_to_a_fetched_package(run: Command, tmp_path: Path) -> None:
    fitted = flights()
    _skops.dump(fitted.model, tmp_path / "delay.skops")
    fitted.table.to_parquet(tmp_path / "train.parquet")
    fitted.table.tail(300).to_parquet(tmp_path / "test.parquet")
    built = run(
        "package", "--model", tmp_path / "delay.skops", "--data", tmp_path / "train.parquet",
        "--target", "outcome", "--time-column", "time", "--out", tmp_path / "p",
        "--test", tmp_path / "test.parquet",
    )  # fmt: skip
    assert built.code == 0
    digest = run("digest", tmp_path / "p").out.strip()
    assert digest in built.out
    assert "answers 1200 training rows like the estimator within" in built.out
    assert read_manifest(tmp_path / "p").model == "delay"

    verified = run("verify", tmp_path / "p", "--digest", digest)
    assert verified.code == 0
    assert json.loads(verified.out)["verdict"] == "Verified"

    pushed = run("push", tmp_path / "p", f"file://{tmp_path}/store/v1")
    declared = _yaml.safe_load(pushed.out)["versions"]
    assert declared == [{"name": "v1", "uri": f"file://{tmp_path}/store/v1", "digest": digest}]
    fetched = run(
        "fetch", "--uri", declared[0]["uri"], "--digest", digest, "--out", tmp_path / "out"
    )
    assert fetched.code == 0
    assert package_digest(read_manifest(tmp_path / "out")) == digest


@pytest.mark.parametrize("ending", ["onnx", "skops"])
@pytest.mark.parametrize("stored", ["onnx", "skops"])
def test_file_and_csv_table_become_a_package(
    run: Command, tmp_path: Path, ending: str, stored: str
) -> None:
    model = tmp_path / f"wine.{ending}"
    shutil.copyfile(
        packaged("multiclass", "onnx" if ending == "onnx" else "skops") / f"model.{ending}", model
    )
    wine().table.to_csv(tmp_path / "wine.csv", index=False)
    built = run(
        "package", "--model", model, "--data", tmp_path / "wine.csv", "--target", "target",
        "--format", stored, "--out", tmp_path / "p",
    )  # fmt: skip
    assert built.code == 0, built.error
    verified = json.loads(run("verify", tmp_path / "p").out)
    assert verified["format"] == ("onnx" if ending == "onnx" else stored)
    assert verified["task"] == "multiclass"
    assert read_manifest(tmp_path / "p").model == "wine"


def test_misspelt_format_is_told_with_the_right_ones(run: Command) -> None:
    ended = run(
        "package", "--model", "m", "--data", "d", "--target", "t", "--out", "o", "--format", "onxx",
    )  # fmt: skip
    assert ended.code == 2
    assert "onxx" in ended.error
    assert "'onnx'" in ended.error
    assert "'skops'" in ended.error
    assert "Traceback" not in ended.error


@pytest.mark.parametrize("place", ["absent/log", "."])
def test_exit_code_is_kept_when_the_termination_log_cannot_be_written(
    run: Command, package: Path, tmp_path: Path, place: str
) -> None:
    log = tmp_path / place
    good = run("verify", package, "--termination-log", log)
    assert good.code == 11
    assert "cannot be written" in good.error
    (package / "card.md").unlink()
    bad = run("verify", package, "--termination-log", log)
    assert bad.code == 10
    assert bad.error.startswith("mooring: FileMissing: ")
    assert "Traceback" not in good.error + bad.error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("digest", "/nonexistent"), "PackageNotFound"),
        (("verify", "/nonexistent"), "PackageNotFound"),
        (("push", "/nonexistent", "s3://bucket/x"), "PackageNotFound"),
        (
            ("package", "--model", "m.onnx", "--data", "d.csv", "--target", "t", "--out", "o"),
            "SchemaInvalid",
        ),
        (
            ("package", "--model", "m.onnx", "--data", "d.xls", "--target", "t", "--out", "o"),
            "SchemaInvalid",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[::2][:3]),
)
def test_absent_input_is_told_in_a_sentence(
    run: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(*arguments)
    assert ended.code == 10
    assert ended.error.startswith(f"mooring: {reason}: ")
    assert "\n  remedy: " in ended.error
    assert not list(tmp_path.iterdir())


def test_verify_writes_its_report_as_the_termination_message(
    run: Command, package: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    assert run("verify", package, "--termination-log", log).code == 0
    report = json.loads(log.read_text())
    assert report["digest"] == package_digest(read_manifest(package))
    assert set(report) == {
        "verdict", "digest", "format", "task", "features", "replayedRows", "maxAbsoluteDifference",
        "latencyMs", "peakMemoryBytes", "metrics",
    }  # fmt: skip
    assert 0 < report["latencyMs"]["p50"] <= report["latencyMs"]["p99"]
    assert log.stat().st_size <= 4096


def test_reported_memory_is_that_of_the_verifying_process_alone(package: Path) -> None:
    """Not of its parent: this test's process holds scikit-learn and more."""
    program = Path(sys.executable).with_name("mooring")
    ballast = np.ones(40 << 20)
    report = json.loads(subprocess.check_output([program, "verify", package]))
    assert 20 << 20 < report["peakMemoryBytes"] < ballast.nbytes


def test_refusal_is_one_sentence_a_remedy_and_exit_code_10(
    run: Command, package: Path, tmp_path: Path
) -> None:
    (package / "model.onnx").write_bytes(b"\x80\x04N.")
    ended = run("verify", package, "--termination-log", tmp_path / "log")
    assert ended.code == 10
    assert ended.error.startswith("mooring: FileCorrupt: ")
    assert "\n  remedy: " in ended.error
    assert "Traceback" not in ended.error
    message = json.loads((tmp_path / "log").read_text())
    assert message["verdict"] == "Refused"
    assert message["reason"] == "FileCorrupt"
    assert message["remedy"]


def test_unreachable_store_is_exit_code_11(run: Command, tmp_path: Path) -> None:
    ended = run(
        "fetch", "--uri", "https://store.invalid/v1", "--digest", "sha256:" + "0" * 64,
        "--out", tmp_path / "out", "--termination-log", tmp_path / "log",
    )  # fmt: skip
    assert ended.code == 11
    message = json.loads((tmp_path / "log").read_text())
    assert (message["verdict"], message["reason"]) == ("Unavailable", "StoreUnreachable")


def test_fetch_says_what_it_fetched(run: Command, package: Path, tmp_path: Path) -> None:
    digest = package_digest(read_manifest(package))
    ended = run(
        "fetch", "--uri", f"file://{package}", "--digest", digest, "--out", tmp_path / "out",
        "--termination-log", tmp_path / "log",
    )  # fmt: skip
    assert ended.code == 0
    size = sum(entry.size for entry in read_manifest(package).files)
    assert json.loads((tmp_path / "log").read_text()) == {
        "verdict": "Fetched", "digest": digest, "format": "onnx", "bytes": size,
    }  # fmt: skip


def test_check_only_keeps_nothing(run: Command, package: Path, tmp_path: Path) -> None:
    digest = package_digest(read_manifest(package))
    before = set(tmp_path.iterdir())
    ended = run("fetch", "--uri", f"file://{package}", "--digest", digest, "--check-only")
    assert ended.code == 0
    assert set(tmp_path.iterdir()) == before


def test_https_store_on_this_machine_needs_its_flag(
    run: Command, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = package_digest(read_manifest(package))
    with https_server(tmp_path, tmp_path / "pki") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        fetch = ["fetch", "--uri", f"{server.url}/package", "--digest", digest, "--check-only"]
        assert run(*fetch).code == 10
        assert run(*fetch, "--allow-loopback").code == 0


def test_secret_of_a_uri_is_printed_nowhere(run: Command, tmp_path: Path) -> None:
    ended = run(
        "fetch", "--uri", "https://user:hunter2@host/v1?sig=hunter2", "--digest", "sha256:0",
        "--out", tmp_path / "out", "--termination-log", tmp_path / "log",
    )  # fmt: skip
    assert ended.code == 10
    assert "hunter2" not in ended.out + ended.error + (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        (
            "package",
            "--model",
            "m",
            "--data",
            "d",
            "--target",
            "t",
            "--out",
            "o",
            "--format",
            "pkl",
        ),
        ("fetch", "--uri", "file:///x", "--digest", "sha256:0"),
        ("verify",),
        ("unknown",),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_wrong_usage_is_exit_code_2(run: Command, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_pickled_model_is_refused_by_the_package_command(run: Command, tmp_path: Path) -> None:
    joblib: Any = importlib.import_module("joblib")
    joblib.dump(wine().model, tmp_path / "model.onnx")
    wine().table.to_csv(tmp_path / "t.csv", index=False)
    ended = run(
        "package", "--model", tmp_path / "model.onnx", "--data", tmp_path / "t.csv",
        "--target", "target", "--out", tmp_path / "p",
    )  # fmt: skip
    assert ended.code == 10
    assert "PickleRefused" in ended.error
    assert "skops" in ended.error


def test_unexpected_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    code = (
        "import mooring_cli.commands.packages as p, mooring_cli.main as m, sys\n"
        "def fail(directory): raise ZeroDivisionError('by nought')\n"
        "p.digest = fail\n"
        "sys.argv = ['mooring', 'digest', '/x']\n"
        "m.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("mooring: ZeroDivisionError: by nought\n  remedy: ")
    assert "Traceback" not in ended.stderr


def test_help_lists_the_commands_and_loads_no_library_of_theirs() -> None:
    program = Path(sys.executable).with_name("mooring")
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    ended = subprocess.run(
        [program, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    for command in ("package", "verify", "fetch", "push", "digest", "serve", "train"):
        assert re.search(rf"\b{command}\b", ended.stdout)
    loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"numpy", "onnxruntime", "pandas", "pyarrow", "sklearn", "uvloop"}


def test_notebook_packages_with_one_import(tmp_path: Path) -> None:
    fitted = wine()
    manifest = mooring.package(
        fitted.model, fitted.table, target="target", out=tmp_path / "wine", name="wine"
    )
    assert package_digest(manifest) == package_digest(read_manifest(tmp_path / "wine"))


def test_rules_and_a_composite_of_them_go_from_files_to_verified_packages(
    run: Command, tmp_path: Path
) -> None:
    table = tmp_path / "train.csv"
    cancer_table().to_csv(table, index=False)
    (tmp_path / "r.yaml").write_text(
        "rules:\n- id: large\n  when: {worst_radius: {ge: 17}}\n  then: {class: 0}\n"
        "default: {probability: 0.8}\n"
    )
    (tmp_path / "c.yaml").write_text(
        "nodes:\n- {name: gate, package: rules}\n- {name: again, package: rules, "
        "if: \"gate.rule == 'default'\"}\nanswer: {of: [gate, again]}\n"
    )
    for option, file, out in (("--rules", "r.yaml", "rules"), ("--composite", "c.yaml", "graph")):
        arguments = ("--data", table, "--target", "benign", "--out", tmp_path / out)
        made = run("package", option, tmp_path / file, *arguments)
        assert made.code == 0, made.error
        assert ("note: no rule covers worst_radius < 17" in made.out) is (option == "--rules")
        verified = run("verify", tmp_path / out)
        assert (verified.code, '"Verified"' in verified.out) == (0, True)
    both = run("package", "--rules", "r", "--composite", "c", *arguments)
    assert both.code == 2
