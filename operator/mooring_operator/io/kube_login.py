"""How to reach the API server and as whom. The only importer of `kubernetes`.

Inside a pod the projected token file is named, so that callers read it again when it rotates;
outside, the kubeconfig is loaded, exec plug-ins included.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from kubernetes.client import Configuration


class _ConfigModule(Protocol):
    """The part of `kubernetes.config` that is used; the library has no annotations."""

    ConfigException: type[Exception]

    def load_kube_config(
        self, *, config_file: str | None, client_configuration: "Configuration"
    ) -> None: ...


_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class LoginFailed(RuntimeError):
    """There is no way to the API server; the message says what was tried."""


@dataclass(frozen=True)
class Connection:
    """One API server and one identity. Paths, where files may rotate."""

    server: str
    ca_path: str | None
    certificate_path: str | None = None
    key_path: str | None = None
    token: str | None = None
    token_path: str | None = None
    insecure: bool = False

    def bearer(self) -> str | None:
        """The token as of now; None when a client certificate does the work."""
        if self.token_path:
            return Path(self.token_path).read_text(encoding="utf-8").strip()
        return self.token

    def tls(self) -> ssl.SSLContext:
        """The TLS set-up for this connection."""
        context = ssl.create_default_context(cafile=self.ca_path)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate_path:
            context.load_cert_chain(self.certificate_path, self.key_path)
        return context


def load_connection(environment: Mapping[str, str]) -> Connection:
    """Finds the API server: an explicit KUBECONFIG first, then the pod's account, then ~/.kube.

    Raises:
        LoginFailed: none of the three is there or readable.
    """
    if not environment.get("KUBECONFIG") and (_ACCOUNT / "token").exists():
        host = environment.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        return Connection(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            ca_path=str(_ACCOUNT / "ca.crt"),
            token_path=str(_ACCOUNT / "token"),
        )
    # Not at the top: they bring every type of Kubernetes along, of which a pod needs none.
    import kubernetes.config
    from kubernetes import client

    config = cast("_ConfigModule", kubernetes.config)
    configuration = client.Configuration()
    try:
        config.load_kube_config(
            config_file=environment.get("KUBECONFIG") or None, client_configuration=configuration
        )
    except (config.ConfigException, OSError) as error:
        raise LoginFailed(
            "Neither a pod's service account nor a usable kubeconfig was found; set KUBECONFIG to "
            f"one that works with kubectl ({error})"
        ) from error
    return _from_configuration(configuration)


def _from_configuration(configuration: "Configuration") -> Connection:
    # Which of the two keys holds the token depends on the client's version.
    header = configuration.get_api_key_with_prefix(
        "BearerToken"
    ) or configuration.get_api_key_with_prefix("authorization")
    return Connection(
        server=str(configuration.host).rstrip("/"),
        ca_path=configuration.ssl_ca_cert or None,
        certificate_path=configuration.cert_file or None,
        key_path=configuration.key_file or None,
        token=header.split(" ", 1)[-1] if header else None,
        insecure=not configuration.verify_ssl,
    )
