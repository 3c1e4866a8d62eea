"""The `kubectl mooring` command line itself; what it says of states is tested in the simulation."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from mooring_cli.outcome import CommandFailed
from mooring_cli.plugin.kubectl import EXECUTABLE, Kubectl
from mooring_cli.plugin.main import main

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "abort", "approve", "history", "pause", "promote", "resume", "retry", "rollback", "status",
    "why",
)  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(sys, "argv", ["kubectl-mooring", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_package_installs_the_plugin_under_the_name_that_kubectl_looks_for() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["kubectl-mooring"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_help_lists_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in shown] == []


def test_command_says_so_when_there_is_no_kubectl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(EXECUTABLE, raising=False)
    assert run(monkeypatch, "status", "delays") == 10
    assert "kubectl is not on the path" in capsys.readouterr().err
    monkeypatch.setenv(EXECUTABLE, str(tmp_path / "nothing"))
    assert run(monkeypatch, "status", "delays") == 10
    assert "cannot be run" in capsys.readouterr().err


def test_usage_is_refused_when_the_time_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "promote", "delays", "--timeout", "soon") == 2
    assert "90s, 10m or 1h" in capsys.readouterr().err.replace("\n", " ")


def test_what_kubectl_says_is_told_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing = tmp_path / "kubectl"
    refusing.write_text(
        "#!/bin/sh\necho 'Error from server (NotFound): no such thing' >&2\nexit 1\n"
    )
    refusing.chmod(0o755)
    monkeypatch.setenv(EXECUTABLE, str(refusing))
    with pytest.raises(CommandFailed, match="NotFound") as failed:
        Kubectl("delays", namespace="flights").get()
    assert failed.value.code == 10
    assert "-n" in failed.value.remedy
