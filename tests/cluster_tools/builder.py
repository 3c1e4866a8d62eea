"""Building images from Dockerfiles: with buildah, which needs no daemon, or with Docker.

The index that this machine's pip uses, and its certificate, reach the build as secrets, so that
neither an image nor a Dockerfile knows them.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.cluster_tools.commands import run, succeeds
from tests.cluster_tools.debian import IMAGE_PROGRAMS, ensure_programs
from tests.cluster_tools.layout import Layout
from tests.cluster_tools.progress import Progress

PYTHON_IMAGE = "docker.io/library/python:3.11-slim"
BASE_VARIABLE = "MOORING_IMAGE_BASE"
BUILD_TIMEOUT_SECONDS = 1200.0
KEPT_BUILDS = 6

_FORWARDED_SETTINGS = frozenset(
    {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries"}
)
_CERTIFICATE_TARGET = "/run/pip-ca.pem"
# What no server prints: manuals and translations. Licences stay.
_UNREAD_FILES = ("man", "locale", "info", "lintian", "bash-completion", "i18n", "zsh", "doc")
_BASE_COMMAND = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=python3-minimal,python3-venv,ca-certificates",
    *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in _UNREAD_FILES),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "bookworm",
)


@dataclass(frozen=True)
class Build:
    """One image to build.

    Attributes:
        name: the full image name with its tag.
        context: the directory whose files the Dockerfile copies.
        dockerfile: the Dockerfile.
        archive: where the finished archive goes.
    """

    name: str
    context: Path
    dockerfile: Path
    archive: Path


class Builder(Protocol):
    """Makes image archives."""

    def base(self) -> str:
        """The name of the base image with Python 3.11; made first where that is needed."""
        ...

    def build(self, build: Build) -> None:
        """Build an image and write its archive."""
        ...


@dataclass(frozen=True)
class Buildah:
    """Builds with buildah, on a base made of Debian packages; no registry is asked."""

    layout: Layout
    progress: Progress

    def base(self) -> str:
        """The base image, made once per machine unless the environment names one."""
        named = os.environ.get(BASE_VARIABLE)
        if named:
            return named
        ensure_programs(IMAGE_PROGRAMS, self.progress)
        name = f"localhost/mooring/base:{_content_hash(_BASE_COMMAND)}"
        if name in run(self._buildah("images", "--format", "{{.Name}}:{{.Tag}}")).split():
            return name
        with self.progress.step("making a Debian base image with Python 3.11"):
            self._make_base(name)
        return name

    def build(self, build: Build) -> None:
        """Build with cached layers and write an OCI archive."""
        ensure_programs(IMAGE_PROGRAMS, self.progress)
        with pip_secrets() as secrets:
            options = ["--layers", "--build-arg", f"BASE={self.base()}", *secrets]
            target = ["--file", build.dockerfile, "--tag", build.name, build.context]
            run(
                self._buildah("bud", *options, *target),
                env=_ISOLATION,
                timeout=BUILD_TIMEOUT_SECONDS,
            )
        partial = build.archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        destination = f"oci-archive:{partial}:{build.name}"
        run(self._buildah("push", "--quiet", build.name, destination), timeout=300)
        partial.rename(build.archive)
        self._forget_old_builds()

    def _forget_old_builds(self) -> None:
        # Newest first. A build leaves its middle stage and the image that it replaced unnamed; the
        # newest ones hold the cached layers of both images.
        listing = ["--filter", "dangling=true", "--format", "{{.ID}}", "--no-trunc"]
        unnamed = run(self._buildah("images", *listing)).split()
        for image in unnamed[KEPT_BUILDS:]:
            # One whose layers a newer one builds on stays, and that is no error.
            succeeds(self._buildah("rmi", image), timeout=120)

    def _make_base(self, name: str) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder()) as folder:
            run([*_BASE_COMMAND, f"{folder}/base.tar"], timeout=BUILD_TIMEOUT_SECONDS)
            (Path(folder) / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
            run(self._buildah("bud", "--tag", name, folder), env=_ISOLATION, timeout=300)

    def _folder(self) -> Path:
        folder = self.layout.images
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _buildah(self, *arguments: str | Path) -> list[str | Path]:
        folder = self._folder() / "buildah"
        roots = ["--root", folder / "root", "--runroot", folder / "run"]
        return ["buildah", *roots, *arguments]


@dataclass(frozen=True)
class Docker:
    """Builds with Docker, on Python's own image."""

    def base(self) -> str:
        return os.environ.get(BASE_VARIABLE) or PYTHON_IMAGE

    def build(self, build: Build) -> None:
        """Build with BuildKit and write a Docker archive."""
        with pip_secrets() as secrets:
            options = ["--build-arg", f"BASE={self.base()}", *secrets]
            target = ["--file", build.dockerfile, "--tag", build.name, build.context]
            run(
                ["docker", "build", *options, *target],
                env={"DOCKER_BUILDKIT": "1"},
                timeout=BUILD_TIMEOUT_SECONDS,
            )
        partial = build.archive.with_suffix(".partial")
        run(["docker", "save", "--output", partial, build.name], timeout=300)
        partial.rename(build.archive)


# Without user namespaces or a container runtime of its own.
_ISOLATION = {"BUILDAH_ISOLATION": "chroot"}


@contextmanager
def pip_secrets() -> Generator[list[str]]:
    """The options that hand this machine's pip configuration to a build, while it runs."""
    settings = read_pip_settings(run([sys.executable, "-m", "pip", "config", "list"]))
    certificate = settings.pop("cert", None)
    lines = ["[global]", *[f"{key} = {value}" for key, value in sorted(settings.items())]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options: list[str] = []
        if certificate and Path(certificate).exists():
            shutil.copyfile(certificate, folder / "pip-ca")
            lines.append(f"cert = {_CERTIFICATE_TARGET}")
            options += ["--secret", f"id=pip-ca,src={folder / 'pip-ca'}"]
        configuration = folder / "pip.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join([*lines, ""]))
        yield [*options, "--secret", f"id=pip.conf,src={configuration}"]


def _content_hash(words: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def read_pip_settings(text: str) -> dict[str, str]:
    """What a build must know of pip's settings, from the output of `pip config list`.

    Settings that name local directories (`find-links`) are left out: a build cannot see them. An
    environment variable wins over a file, as it does in pip.
    """
    settings: dict[str, str] = {}
    for line in sorted(text.splitlines(), key=lambda line: line.startswith(":env:")):
        found = re.fullmatch(r"(global|install|:env:)\.([a-z-]+)='(.*)'", line.strip())
        if found and (found[2] in _FORWARDED_SETTINGS or found[2] == "cert"):
            settings[found[2]] = found[3].replace("\\n", "\n    ")
    return settings
