"""Where the cluster tools keep their files, and the addresses of the embedded cluster.

Everything lies outside the checkout: built programs and images under the cache, what one running
cluster needs under its state directory. Two clusters can run at once only in two network
namespaces, each with its own state directory.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
MODULES = HERE / "modules"
MANIFESTS = HERE / "manifests"

KUBERNETES_VERSION = "v1.36.3"

NODE_NAME = "mooring"
NODE_ADDRESS = "10.250.0.1"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
POD_RANGE = "10.244.0.0/16"
NODE_POD_RANGE = "10.244.0.0/24"
POD_GATEWAY = "10.244.0.1"
CLUSTER_DOMAIN = "cluster.local"

# The longest path that a Unix socket may have is 107 bytes.
_LONGEST_SOCKET = "containerd/run/containerd.sock.ttrpc"
_SOCKET_LIMIT = 107


@dataclass(frozen=True)
class Layout:
    """The directories of one cluster.

    Attributes:
        cache: built programs and images, shared by all clusters of this user.
        state: everything that belongs to one cluster.
    """

    cache: Path
    state: Path

    @property
    def identity(self) -> str:
        """Eight hexadecimal digits that tell this cluster's cgroup from others'."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def cgroup(self) -> str:
        """The name of the control group under which all pods run."""
        return f"mooring-{self.identity}"

    @property
    def network(self) -> str:
        """The name of the pod network, which CNI writes into its result cache."""
        return f"mooring-{self.identity}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def processes(self) -> Path:
        return self.state / "processes.json"

    @property
    def programs(self) -> Path:
        """Which programs the running cluster was started with."""
        return self.state / "programs.json"

    @property
    def sysctls(self) -> Path:
        return self.state / "sysctls.json"

    @property
    def lock(self) -> Path:
        return self.state.parent / f"{self.state.name}.lock"

    @property
    def users(self) -> Path:
        """Held open by everybody who borrows the cluster for a while."""
        return self.state.parent / f"{self.state.name}.users"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """What accounts asked of the API server, one JSON object a line."""
        return self.logs / "audit.json"

    @property
    def containerd_root(self) -> Path:
        """Images and snapshots; kept by `down`, so that the next `up` need not import again."""
        return self.state / "containerd" / "root"

    @property
    def containerd_state(self) -> Path:
        return self.state / "containerd" / "run"

    @property
    def containerd_socket(self) -> Path:
        return self.containerd_state / "containerd.sock"

    @property
    def containerd_clean(self) -> Path:
        """Exists while containerd's root holds images only, no containers."""
        return self.state / "containerd" / "clean"

    @property
    def kubelet_root(self) -> Path:
        return self.state / "kubelet"

    @property
    def images(self) -> Path:
        return self.cache / "images"

    def longest_socket_bytes(self) -> int:
        return len(str(self.state / _LONGEST_SOCKET).encode())

    def fits_sockets(self) -> bool:
        return self.longest_socket_bytes() <= _SOCKET_LIMIT


def default_layout() -> Layout:
    """The layout that the environment asks for: `MOORING_CACHE`, `MOORING_CLUSTER_DIR`."""
    cache = Path(os.environ.get("MOORING_CACHE") or Path.home() / ".cache" / "mooring").absolute()
    state = Path(os.environ.get("MOORING_CLUSTER_DIR") or cache / "cluster").absolute()
    return Layout(cache=cache, state=state)
