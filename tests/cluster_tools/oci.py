"""Images of single static programs, written as OCI archives without any builder.

The same content gives the same bytes: times are zero and entries are in a fixed order.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class ProgramImage:
    """An image made of files from this machine and nothing else.

    Attributes:
        name: the full image name with its tag.
        files: path in the image (absolute) -> file here; all become executable.
        entrypoint: what a container of it runs.
        directories: empty directories that everybody may write to.
    """

    name: str
    files: Mapping[str, Path]
    entrypoint: tuple[str, ...]
    directories: tuple[str, ...] = field(default=())

    def write(self, archive: Path) -> None:
        """Write the OCI archive; it appears under its name only when it is whole."""
        layer = self._layer()
        config = _json(self._config(layer))
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, config),
                "layers": [_descriptor(_LAYER, layer)],
            }
        )
        reference = {
            **_descriptor(_MANIFEST, manifest),
            "annotations": {"io.containerd.image.name": self.name},
        }
        index = _json({"schemaVersion": 2, "manifests": [reference]})
        partial = archive.with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(partial, "w") as tar:
            _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), mode=0o644)
            _add(tar, "index.json", index, mode=0o644)
            for blob in (manifest, config, layer):
                _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob, mode=0o644)
        partial.rename(archive)

    def _layer(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for directory in sorted(self.directories):
                entry = tarfile.TarInfo(directory.lstrip("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(entry)
            for path, source in sorted(self.files.items()):
                _add(tar, path.lstrip("/"), source.read_bytes(), mode=0o755)
        return buffer.getvalue()

    def _config(self, layer: bytes) -> dict[str, object]:
        return {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(self.entrypoint), "User": "65532:65532"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created_by": "mooring tests.cluster_tools.oci"}],
        }


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
