"""The cluster's certificate authority, its leaf certificates and kubeconfigs."""

import base64
import ipaddress
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=365)
# A clock that runs a little behind must not refuse a certificate made a moment ago.
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Identity:
    """Whom a leaf certificate speaks for.

    Attributes:
        common_name: the Kubernetes user name, or a server's name.
        groups: the Kubernetes groups of the user.
        names: DNS names and IP addresses that a server certificate is valid for.
    """

    common_name: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class Authority:
    """A certificate authority whose key and certificate lie in one directory as `ca.{crt,key}`."""

    def __init__(self, folder: Path, *, now: datetime) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("mooring-embedded", ())
        builder = self._builder(name, name, self._key.public_key())
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self._write("ca", self._key, self._certificate)

    def issue(self, file_name: str, identity: Identity) -> None:
        """Write `FILE_NAME.crt` and `FILE_NAME.key`, good for client and server use."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(identity.common_name, identity.groups)
        builder = self._builder(subject, self._certificate.subject, key.public_key())
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
        if identity.names:
            names = [_general_name(name) for name in identity.names]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self._write(file_name, key, builder.sign(self._key, hashes.SHA256()))

    def issue_signing_key(self, file_name: str) -> None:
        """Write the key pair `FILE_NAME.key`, `FILE_NAME.pub` that signs service account tokens."""
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(self._folder / f"{file_name}.key", _pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self._folder / f"{file_name}.pub").write_bytes(public)

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - CLOCK_SKEW)
            .not_valid_after(self._now + LIFETIME)
        )

    def _write(
        self, file_name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> None:
        _write_private(self._folder / f"{file_name}.key", _pem(key))
        path = self._folder / f"{file_name}.crt"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_kubeconfig(path: Path, *, pki: Path, user: str, server: str) -> None:
    """Write a self-contained kubeconfig (JSON is YAML) for the certificate `USER.crt` in `pki`."""

    def encode(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "mooring",
        "contexts": [{"name": "mooring", "context": {"cluster": "mooring", "user": user}}],
        "clusters": [
            {
                "name": "mooring",
                "cluster": {"server": server, "certificate-authority-data": encode("ca.crt")},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encode(f"{user}.crt"),
                    "client-key-data": encode(f"{user}.key"),
                },
            }
        ],
    }
    _write_private(path, json.dumps(document, indent=2).encode())


def write_pki(
    pki: Path, *, now: datetime, node: str, server_names: tuple[str, ...], node_address: str
) -> None:
    """Make a new authority and every certificate that the cluster's components use."""
    authority = Authority(pki, now=now)
    authority.issue("apiserver", Identity("kube-apiserver", names=server_names))
    authority.issue("apiserver-kubelet-client", Identity("kube-apiserver", ("system:masters",)))
    authority.issue("front-proxy-client", Identity("front-proxy-client"))
    authority.issue("admin", Identity("kubernetes-admin", ("system:masters",)))
    authority.issue("controller-manager", Identity("system:kube-controller-manager"))
    authority.issue("scheduler", Identity("system:kube-scheduler"))
    authority.issue("proxy", Identity("system:kube-proxy"))
    authority.issue(
        "kubelet", Identity(f"system:node:{node}", ("system:nodes",), (node, node_address))
    )
    authority.issue_signing_key("service-accounts")


def _name(common_name: str, groups: tuple[str, ...]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)
