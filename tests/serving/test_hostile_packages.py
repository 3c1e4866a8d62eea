"""Every hostile package is refused before it serves, with its cause, in bounded time and memory."""

import json
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mooring_model.manifest import canonical
from mooring_model.python.declaration import ChildLimits
from tests.builders.code_packages import code_package
from tests.builders.hostile_packages import CASES
from tests.builders.hostile_payloads import Case, digest_of
from tests.serving.bounded_commands import Commands, bounded_commands
from tests.serving.packaged_models import packaged
from tests.serving.stores import HttpsServer, https_server

REFUSED = 10
CHECK_SECONDS, TRIAL_SECONDS = 10.0, 30.0
PEAK_BYTES = 400 << 20
"""Of which the libraries take 150 MiB."""
TRIAL = ("--memory", str(1 << 30))


@pytest.fixture(scope="module")
def commands() -> Generator[Commands]:
    with bounded_commands() as commands:
        yield commands


@pytest.fixture(scope="module")
def code() -> Generator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield code_package(Path(folder), limits=ChildLimits(call_seconds=1), w__json=b"[1]")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[HttpsServer, Path]]:
    root = tmp_path_factory.mktemp("web")
    with https_server(root, tmp_path_factory.mktemp("pki"), tls=False) as server:
        yield server, root


@dataclass(frozen=True)
class Hostile:
    """A hostile package on disk, with what must not change."""

    case: Case
    package: Path
    canary: Path

    def untouched(self) -> bool:
        outside = self.package.parent / "outside.bin"
        intact = not outside.exists() or outside.stat().st_size > 0
        return intact and not self.canary.exists() and not (self.package.parent / "mark").exists()


@pytest.fixture(params=sorted(CASES))
def hostile(request: pytest.FixtureRequest, code: Path, tmp_path: Path) -> Hostile:
    case = CASES[request.param]
    sound = code if case.base == "python" else packaged("binary", case.base)  # pyright: ignore[reportArgumentType] - "onnx" or "skops"
    package = tmp_path / "place" / "package"
    shutil.copytree(sound, package)
    canary = tmp_path / "canary"
    case.make(package, canary)
    return Hostile(case, package, canary)


def message(log: Path) -> dict[str, Any]:
    return json.loads(log.read_bytes())


def must_be_refused(hostile: Hostile, said: dict[str, Any]) -> None:
    assert said["verdict"] == "Refused"
    assert said["reason"] in hostile.case.reasons, said
    assert hostile.case.cause in said["message"], said
    assert said["message"].isprintable()
    assert said["remedy"]
    assert hostile.untouched()


def test_hostile_package_is_refused_by_verify(
    hostile: Hostile, commands: Commands, tmp_path: Path
) -> None:
    log = tmp_path / "termination"
    outcome = commands.run(
        *("verify", str(hostile.package), "--allow-code", *TRIAL),
        *("--seconds", str(hostile.case.seconds), "--termination-log", str(log)),
    )
    assert outcome.code == REFUSED, outcome
    must_be_refused(hostile, message(log))
    assert outcome.seconds < (TRIAL_SECONDS if hostile.case.loads else CHECK_SECONDS)
    assert outcome.peak_bytes < PEAK_BYTES


def test_hostile_package_is_refused_by_fetch_of_a_directory(
    hostile: Hostile, commands: Commands, tmp_path: Path
) -> None:
    refuse_fetch(hostile, commands, tmp_path, f"file://{hostile.package}")


def test_hostile_package_is_refused_by_fetch_over_http(
    hostile: Hostile, commands: Commands, tmp_path: Path, web: tuple[HttpsServer, Path]
) -> None:
    """Links and devices are files of the server by then; what they hold is not what is listed."""
    if {"LinkRefused"} & hostile.case.reasons or "terabyte" in str(hostile.case.make):
        pytest.skip("a server gives bytes, not links")
    server, root = web
    place = root / tmp_path.name
    place.symlink_to(hostile.package)
    uri = f"http://127.0.0.1:{server.port}/{tmp_path.name}/"
    refuse_fetch(hostile, commands, tmp_path, uri)


def refuse_fetch(hostile: Hostile, commands: Commands, tmp_path: Path, uri: str) -> None:
    if hostile.case.loads or not hostile.case.travels:
        pytest.skip("shows in verification only")
    log, out = tmp_path / "termination", tmp_path / "out"
    outcome = commands.run(
        *("fetch", "--uri", uri, "--digest", digest_of(hostile.package), "--out", str(out)),
        *("--allow-code", "--allow-loopback", "--termination-log", str(log)),
    )
    assert outcome.code == REFUSED, (outcome, log.read_text())
    must_be_refused(hostile, message(log))
    assert not out.exists()
    assert outcome.seconds < CHECK_SECONDS
    assert outcome.peak_bytes < PEAK_BYTES


def test_there_are_more_than_a_hundred_cases_of_each_class() -> None:
    assert len(CASES) > 100
    assert {case.base for case in CASES.values()} == {"onnx", "skops", "python"}


def test_sound_packages_of_each_base_are_verified(
    commands: Commands, code: Path, tmp_path: Path
) -> None:
    for package in (code, packaged("binary"), packaged("binary", "skops")):
        log = tmp_path / "termination"
        outcome = commands.run(
            *("verify", str(package), "--allow-code", *TRIAL, "--termination-log", str(log))
        )
        assert outcome.code == 0, log.read_text()
        assert message(log)["verdict"] == "Verified"


def test_wrong_digest_of_a_sound_package_is_refused(
    commands: Commands, code: Path, tmp_path: Path
) -> None:
    log = tmp_path / "termination"
    digest = "sha256:" + "0" * 64
    outcome = commands.run(
        *("verify", str(code), "--digest", digest, "--termination-log", str(log))
    )
    assert (outcome.code, message(log)["reason"]) == (REFUSED, "DigestMismatch")


def test_code_is_refused_where_it_is_not_allowed_before_any_other_file_is_fetched(
    commands: Commands, code: Path, tmp_path: Path, web: tuple[HttpsServer, Path]
) -> None:
    server, root = web
    (root / "code").symlink_to(code)
    document = json.loads((code / "manifest.json").read_bytes())
    assert (code / "manifest.json").read_bytes() == canonical(document)
    log = tmp_path / "termination"
    before = len(server.answers.asked)
    outcome = commands.run(
        *("fetch", "--uri", f"http://127.0.0.1:{server.port}/code/", "--digest", digest_of(code)),
        *("--out", str(tmp_path / "out"), "--allow-loopback", "--termination-log", str(log)),
    )
    assert (outcome.code, message(log)["reason"]) == (REFUSED, "CodeNotAllowed")
    assert len(server.answers.asked) == before + 1
