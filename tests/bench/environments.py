"""Rivals, foreign clients and the compiled floor: installed in the cache outside the checkout.

Each gets a directory named by the hash of what it is made from, so a changed requirement makes a
new one and an unchanged one is found ready. Registries are whatever the ordinary clients (uv,
cargo) are set up with; none is named here.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
_COMPLETE = ".complete"


class EnvironmentUnavailable(Exception):
    """Something could not be installed or built; the message says what and why."""


def cache_directory() -> Path:
    """The project's cache: `MOORING_CACHE`, or `~/.cache/mooring`."""
    return Path(os.environ.get("MOORING_CACHE") or Path.home() / ".cache" / "mooring").absolute()


def same_version(*names: str) -> list[str]:
    """Requirements of the versions that this environment has, so that all run the same kernels."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]


def python_environment(name: str, requirements: Sequence[str]) -> Path:
    """The `bin` directory of a virtual environment with these requirements, made when absent.

    Raises:
        EnvironmentUnavailable: The requirements could not be installed.
    """
    uv = str(Path(sys.executable).parent / "uv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = "\n".join([version, *sorted(requirements)]).encode()

    def build(directory: Path) -> None:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(directory)], name)
        python = str(directory / "bin" / "python")
        _run([uv, "pip", "install", "--quiet", "--python", python, *requirements], name)

    return _cached("venvs", name, key, build) / "bin"


def wheel_contents(requirement: str, digest: str) -> Path:
    """The unpacked wheel of one requirement, without what it depends on: for the data in it.

    Args:
        requirement: `name==version`.
        digest: of the wheel, `sha256:...`; another file is refused.

    Raises:
        EnvironmentUnavailable: The wheel could not be fetched, or is another one.
    """
    uv = str(Path(sys.executable).parent / "uv")
    line = f"{requirement} --hash={digest}"

    def build(directory: Path) -> None:
        directory.mkdir()
        pinned = directory / "requirements.txt"
        pinned.write_text(f"{line}\n", encoding="utf-8")
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--target", str(directory), "-r", str(pinned)]
        _run([*command, "--python", sys.executable], requirement)

    return _cached("wheels", requirement.partition("=")[0], line.encode(), build)


def compiled_floor() -> Path:
    """The compiled floor's program, built when absent.

    Raises:
        EnvironmentUnavailable: There is no cargo, or the build failed.
    """
    cargo = shutil.which("cargo")
    if cargo is None:
        raise EnvironmentUnavailable("the compiled floor needs cargo, which is not installed")
    source = HERE / "floor"
    files = [source / "Cargo.toml", source / "src" / "main.rs"]

    def build(directory: Path) -> None:
        shutil.copytree(source, directory)
        manifest = str(directory / "Cargo.toml")
        _run([cargo, "build", "--quiet", "--release", "--manifest-path", manifest], "floor")

    key = b"".join(path.read_bytes() for path in files)
    return _cached("floor", "floor", key, build) / "target" / "release" / "floor"


def onnxruntime_library() -> Path:
    """The shared library inside the onnxruntime wheel of this environment.

    Raises:
        EnvironmentUnavailable: The wheel has none.
    """
    files = importlib.metadata.files("onnxruntime") or []
    for file in files:
        if file.name.startswith("libonnxruntime.so"):
            return Path(str(file.locate()))
    raise EnvironmentUnavailable("the onnxruntime wheel carries no libonnxruntime.so")


def _cached(kind: str, name: str, key: bytes, build: Callable[[Path], None]) -> Path:
    root = cache_directory() / kind
    directory = root / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    with _locked(root, directory.name):
        if not (directory / _COMPLETE).exists():
            print(f"[mooring] making {kind}/{directory.name} in the cache (once)", flush=True)
            shutil.rmtree(directory, ignore_errors=True)
            build(directory)
            (directory / _COMPLETE).touch()
    return directory


@contextlib.contextmanager
def _locked(root: Path, name: str) -> Generator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentUnavailable(f"{what} could not be installed: {done.stderr[-2000:]}")
