"""The configuration file and the command line of each component of the embedded cluster."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster_tools.layout import (
    API_SERVICE_ADDRESS,
    CLUSTER_DOMAIN,
    DNS_SERVICE_ADDRESS,
    NODE_ADDRESS,
    NODE_NAME,
    NODE_POD_RANGE,
    POD_RANGE,
    SERVICE_RANGE,
    Layout,
)
from tests.cluster_tools.toolchain import Programs

PAUSE_IMAGE = "localhost/mooring/pause:1"
API_PORT = 6443
API_SERVER = f"https://{NODE_ADDRESS}:{API_PORT}"
SERVER_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
    "localhost",
    API_SERVICE_ADDRESS,
    NODE_ADDRESS,
    "127.0.0.1",
)
# Away from the usual ports, so that an etcd of the machine's own is not in the way.
ETCD_CLIENT_URL = "http://127.0.0.1:23790"
ETCD_PEER_URL = "http://127.0.0.1:23800"


@dataclass(frozen=True)
class Configuration:
    """Writes the components' files into the layout and spells their command lines."""

    layout: Layout
    programs: Programs

    def write(self) -> None:
        """Write every component's configuration file."""
        layout = self.layout
        for folder in (layout.config, layout.logs, layout.config / "cni"):
            folder.mkdir(parents=True, exist_ok=True)
        _write_json(layout.config / "cni" / "10-mooring.conflist", self._cni())
        _write_json(layout.config / "kubelet.json", self._kubelet())
        _write_json(layout.config / "kube-proxy.json", self._kube_proxy())
        _write_json(self._audit_policy_path, self._audit_policy())
        (layout.config / "resolv.conf").write_text("")
        (layout.config / "containerd.toml").write_text(self._containerd())

    def etcd(self) -> list[str | Path]:
        return [
            self.programs["etcd"],
            f"--data-dir={self.layout.state / 'etcd'}",
            f"--listen-client-urls={ETCD_CLIENT_URL}",
            f"--advertise-client-urls={ETCD_CLIENT_URL}",
            f"--listen-peer-urls={ETCD_PEER_URL}",
            f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
            f"--initial-cluster=default={ETCD_PEER_URL}",
            # A throw-away cluster: its data need not survive a power cut.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def apiserver(self) -> list[str | Path]:
        pki = self.layout.pki
        return [
            self.programs["kube-apiserver"],
            f"--etcd-servers={ETCD_CLIENT_URL}",
            f"--bind-address={NODE_ADDRESS}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            # Pod Security says who may run privileged pods, as in other clusters.
            "--allow-privileged=true",
            "--enable-admission-plugins=NodeRestriction",
            f"--audit-policy-file={self._audit_policy_path}",
            f"--audit-log-path={self.layout.audit_log}",
            "--audit-log-maxsize=100",
            "--audit-log-maxbackup=1",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
            f"--service-account-key-file={pki / 'service-accounts.pub'}",
            f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
            # What an aggregated API server (metrics-server) needs.
            f"--requestheader-client-ca-file={pki / 'ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
            f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
        ]

    def controller_manager(self) -> list[str | Path]:
        pki = self.layout.pki
        return [
            self.programs["kube-controller-manager"],
            f"--kubeconfig={self.layout.config / 'controller-manager.kubeconfig'}",
            f"--authentication-kubeconfig={self.layout.config / 'controller-manager.kubeconfig'}",
            f"--authorization-kubeconfig={self.layout.config / 'controller-manager.kubeconfig'}",
            f"--bind-address={NODE_ADDRESS}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki / 'service-accounts.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={POD_RANGE}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def scheduler(self) -> list[str | Path]:
        kubeconfig = self.layout.config / "scheduler.kubeconfig"
        return [
            self.programs["kube-scheduler"],
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={NODE_ADDRESS}",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def kubelet(self) -> list[str | Path]:
        return [
            self.programs["kubelet"],
            f"--config={self.layout.config / 'kubelet.json'}",
            f"--kubeconfig={self.layout.config / 'kubelet.kubeconfig'}",
            f"--root-dir={self.layout.kubelet_root}",
            # cadvisor asks containerd itself for what it measures.
            f"--containerd={self.layout.containerd_socket}",
            f"--cert-dir={self.layout.pki}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ]

    def kube_proxy(self) -> list[str | Path]:
        return [
            self.programs["kube-proxy"],
            f"--config={self.layout.config / 'kube-proxy.json'}",
        ]

    def containerd(self) -> list[str | Path]:
        return [
            self.programs["containerd"],
            f"--config={self.layout.config / 'containerd.toml'}",
        ]

    def ctr(self, *arguments: str | Path) -> list[str | Path]:
        """A command line of containerd's own client, in the namespace that the kubelet uses."""
        address = f"--address={self.layout.containerd_socket}"
        return [self.programs["ctr"], address, "--namespace=k8s.io", *arguments]

    @property
    def _audit_policy_path(self) -> Path:
        return self.layout.config / "audit-policy.json"

    def _audit_policy(self) -> dict[str, object]:
        """What accounts of tests ask of the API server, with what they send; no Secret's content.

        Kubernetes' own controllers and people are not recorded.
        """
        accounts = ["system:serviceaccounts"]
        return {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
                {
                    "level": "Metadata",
                    "userGroups": accounts,
                    "resources": [{"group": "", "resources": ["secrets"]}],
                },
                {"level": "Request", "userGroups": accounts},
                {"level": "None"},
            ],
        }

    def _kubelet(self) -> dict[str, object]:
        pki = self.layout.pki
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "address": NODE_ADDRESS,
            "healthzBindAddress": NODE_ADDRESS,
            "tlsCertFile": str(pki / "kubelet.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet.key"),
            "clusterDomain": CLUSTER_DOMAIN,
            "clusterDNS": [DNS_SERVICE_ADDRESS],
            "resolvConf": str(self.layout.config / "resolv.conf"),
            "containerRuntimeEndpoint": f"unix://{self.layout.containerd_socket}",
            "podLogsDir": str(self.layout.logs / "pods"),
            "volumePluginDir": str(self.layout.state / "volume-plugins"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.layout.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "maxPods": 200,
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "serializeImagePulls": False,
            # Images come from no registry: one that was collected could not be had again.
            "imageGCHighThresholdPercent": 100,
            # A full disk of a laptop is no reason to evict a test's pods.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
                "imagefs.inodesFree": "0%",
            },
        }

    def _kube_proxy(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {
                "kubeconfig": str(self.layout.config / "kube-proxy.kubeconfig"),
            },
            "mode": "iptables",
            "clusterCIDR": POD_RANGE,
            "hostnameOverride": NODE_NAME,
            "bindAddress": NODE_ADDRESS,
            "healthzBindAddress": f"{NODE_ADDRESS}:10256",
            "metricsBindAddress": f"{NODE_ADDRESS}:10249",
            "iptables": {"localhostNodePorts": False, "minSyncPeriod": "50ms"},
            # The machine's connection tracking limits stay as they are.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }

    def _cni(self) -> dict[str, object]:
        return {
            "cniVersion": "1.0.0",
            "name": self.layout.network,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isDefaultGateway": True,
                    "hairpinMode": True,
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": NODE_POD_RANGE}]],
                        "dataDir": str(self.layout.state / "cni"),
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }

    def _containerd(self) -> str:
        layout = self.layout
        return f"""\
version = 3
root = "{layout.containerd_root}"
state = "{layout.containerd_state}"
disabled_plugins = ["io.containerd.internal.v1.tracing"]

[grpc]
address = "{layout.containerd_socket}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE, as in many containers, lowering a score kills every sandbox.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
enable_cdi = false

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{self.programs.folder_of("bridge")}"]
conf_dir = "{layout.config / "cni"}"

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.internal.v1.opt"]
path = "{layout.state / "containerd" / "opt"}"
"""


def _write_json(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True))
