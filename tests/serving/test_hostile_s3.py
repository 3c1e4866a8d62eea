"""Hostile packages in a real S3 store: refused by fetch as from anywhere else."""

import json
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.builders.code_packages import code_package
from tests.builders.hostile_packages import CASES
from tests.builders.hostile_payloads import digest_of
from tests.serving.bounded_commands import Commands, bounded_commands
from tests.serving.packaged_models import packaged
from tests.serving.stores import S3Server, s3_server

pytestmark = pytest.mark.s3
REFUSED = 10
CHOSEN = (
    "absolute path",
    "archive of a million members",
    "archive that grows",
    "data of the environment",
    "deep manifest",
    "file longer than listed",
    "library named as a source",
    "lock without hashes",
    "manifest of too many files",
    "object array in a skops archive",
    "path upwards",
    "path with NUL",
    "pickle named onnx",
    "wheel with a path upwards",
    "wrong digest",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "data") as server:
        (server.root / "models").mkdir()
        yield server


@pytest.fixture(scope="module")
def commands(store: S3Server) -> Generator[Commands]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment().items():
            patch.setenv(name, value)
        with bounded_commands() as commands:
            yield commands


@pytest.fixture(scope="module")
def code() -> Generator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield code_package(Path(folder))


@pytest.mark.parametrize("name", CHOSEN)
def test_hostile_package_is_refused_by_fetch_from_s3(
    name: str, store: S3Server, commands: Commands, code: Path, tmp_path: Path
) -> None:
    case = CASES[name]
    package = store.root / "models" / tmp_path.name
    sound = code if case.base == "python" else packaged("binary", case.base)  # pyright: ignore[reportArgumentType] - "onnx" or "skops"
    shutil.copytree(sound, package)
    canary, log, out = tmp_path / "canary", tmp_path / "termination", tmp_path / "out"
    case.make(package, canary)
    outcome = commands.run(
        *("fetch", "--uri", f"s3://models/{tmp_path.name}", "--digest", digest_of(package)),
        *("--out", str(out), "--allow-code", "--termination-log", str(log)),
    )
    said = json.loads(log.read_bytes())
    assert outcome.code == REFUSED, said
    assert said["reason"] in case.reasons, said
    assert case.cause in said["message"], said
    assert not canary.exists()
    assert not out.exists()
    shutil.rmtree(package)
