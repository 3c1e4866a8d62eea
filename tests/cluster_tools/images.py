"""The images that tests and the demo run: built when their inputs changed, loaded when missing.

An image's inputs are its Dockerfile, its locks, the project's metadata and the packages in it; a
hash over them labels the image on the node, so an unchanged one costs one listing.
"""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools.builder import Build, Buildah, Builder, Docker
from tests.cluster_tools.layout import CHECKOUT, Layout, default_layout
from tests.cluster_tools.oci import ProgramImage
from tests.cluster_tools.progress import Progress
from tests.cluster_tools.provider import Provider, ProviderName
from tests.cluster_tools.toolchain import STORE, content_hash, ensure_programs

DEFAULT_TAG = "0.1.0"
REPOSITORY = "ghcr.io/mooring-dev"
STORE_IMAGE = "localhost/mooring/versitygw:1"
_METADATA = ("pyproject.toml", "README.md", "LICENSE", "serving/build.lock")


@dataclass(frozen=True)
class ProjectImage:
    """An image with our own code.

    Attributes:
        name: `serving` or `operator`; its Dockerfile and lock lie in the folder of that name.
        packages: the package folders in it, relative to the checkout.
    """

    name: str
    packages: tuple[str, ...]

    def full_name(self, tag: str) -> str:
        return f"{REPOSITORY}/{self.name}:{tag}"

    def files(self, checkout: Path = CHECKOUT) -> list[Path]:
        """Every file that the image is made from, in a fixed order."""
        fixed = (*_METADATA, f"{self.name}/Dockerfile", f"{self.name}/requirements.lock")
        found = [checkout / name for name in fixed]
        for package in self.packages:
            found += [path for path in sorted((checkout / package).rglob("*")) if _is_source(path)]
        return found

    def inputs(self, base: str, checkout: Path = CHECKOUT) -> str:
        """Twelve hexadecimal digits over the base's name and every file."""
        digest = hashlib.sha256(f"{base}\n".encode())
        for path in self.files(checkout):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(checkout)} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()[:12]


SERVING = ProjectImage(
    "serving",
    (
        "serving/mooring",
        "serving/mooring_cli",
        "serving/mooring_model",
        "serving/mooring_profile",
        "serving/mooring_replay",
        "serving/mooring_serving",
        "serving/mooring_training",
    ),
)
OPERATOR = ProjectImage("operator", ("operator/mooring_operator", "serving/mooring_profile"))


def ensure_images(provider: Provider, progress: Progress, *, tag: str = DEFAULT_TAG) -> list[str]:
    """Build what changed, load what the node lacks, and return the images' full names.

    Args:
        provider: the cluster, which must be up.
        progress: told what is built and loaded.
        tag: the tag of our own images.

    Raises:
        ClusterError: a build fails, or the cluster takes no images.
    """
    layout = default_layout()
    with _locked(layout, progress):
        images = _Images(provider, layout, progress, _builder(provider, layout, progress))
        present = provider.image_inputs()
        images.ensure_store(present)
        for image in (SERVING, OPERATOR):
            images.ensure_project(image, tag, present)
    return [STORE_IMAGE, SERVING.full_name(tag), OPERATOR.full_name(tag)]


def ensure_store_image(provider: Provider, progress: Progress) -> str:
    """Build and load the S3 server's image alone; returns its name."""
    layout = default_layout()
    with _locked(layout, progress):
        builder = _builder(provider, layout, progress)
        _Images(provider, layout, progress, builder).ensure_store(provider.image_inputs())
    return STORE_IMAGE


@dataclass(frozen=True)
class _Images:
    provider: Provider
    layout: Layout
    progress: Progress
    builder: Builder

    def ensure_store(self, present: dict[str, str]) -> None:
        inputs = content_hash(STORE)
        if present.get(STORE_IMAGE) == inputs:
            return
        program = ensure_programs((STORE,), self.layout, self.progress)["versitygw"]
        archive = self._archive("versitygw", inputs)
        if not archive.exists():
            image = ProgramImage(
                STORE_IMAGE, {"/versitygw": program}, ("/versitygw",), directories=("/data",)
            )
            image.write(archive)
        self._load(STORE_IMAGE, inputs, archive)

    def ensure_project(self, image: ProjectImage, tag: str, present: dict[str, str]) -> None:
        name, inputs = image.full_name(tag), image.inputs(self.builder.base())
        if present.get(name) == inputs:
            return
        archive = self._archive(f"{image.name}-{tag}", inputs)
        if not archive.exists():
            with self.progress.step(f"building {name}"), _staged(image) as context:
                dockerfile = context / image.name / "Dockerfile"
                self.builder.build(Build(name, context, dockerfile, archive))
        self._load(name, inputs, archive)

    def _load(self, name: str, inputs: str, archive: Path) -> None:
        with self.progress.step(f"loading {name}"):
            self.provider.load_image(archive, name=name, inputs=inputs)
        stem = archive.name.removesuffix(f"-{inputs}.tar")
        for older in archive.parent.glob(f"{stem}-{'?' * len(inputs)}.tar"):
            if older != archive:
                older.unlink()

    def _archive(self, stem: str, inputs: str) -> Path:
        self.layout.images.mkdir(parents=True, exist_ok=True)
        return self.layout.images / f"{stem}-{inputs}.tar"


def _builder(provider: Provider, layout: Layout, progress: Progress) -> Builder:
    if provider.name is ProviderName.EMBEDDED or not shutil.which("docker"):
        return Buildah(layout, progress)
    return Docker()


@contextmanager
def _staged(image: ProjectImage) -> Generator[Path]:
    # Only what counts in the hash reaches the build, whatever else lies in the checkout.
    with tempfile.TemporaryDirectory() as name:
        for path in image.files():
            target = Path(name) / path.relative_to(CHECKOUT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        yield Path(name)


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"


@contextmanager
def _locked(layout: Layout, progress: Progress) -> Generator[None]:
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / "images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("waiting for another build of images to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
