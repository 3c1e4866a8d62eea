"""Debian packages that the embedded cluster needs, installed when they are missing."""

import os
import shutil

from tests.cluster_tools.commands import run, succeeds
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.progress import Progress

# program -> package
RUNTIME_PROGRAMS = {
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "catatonit": "catatonit",
}
IMAGE_PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def ensure_programs(programs: dict[str, str], progress: Progress) -> None:
    """Install the packages of those programs that are not on the PATH.

    Args:
        programs: program names and the Debian package of each.
        progress: told what is installed.

    Raises:
        ClusterError: something is missing and apt-get is absent or fails.
    """
    missing = sorted({package for name, package in programs.items() if not _find(name)})
    if not missing:
        return
    if not _find("apt-get"):
        raise ClusterError(
            f"these packages are missing and apt-get is not there to install them: "
            f"{', '.join(missing)}. Install them with your system's package tool."
        )
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"installing Debian packages {' '.join(missing)}"):
        if not succeeds(["apt-get", "install", "-s", "-q", *missing], timeout=60):
            run(["apt-get", "update", "-q"], env=environment, timeout=300)
        run(install, env=environment, timeout=600)


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
