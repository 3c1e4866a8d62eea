"""S3 through fsspec. Credentials and endpoint come from the standard AWS environment."""

import importlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from mooring_model.manifest import CHUNK

_fsspec: Any = importlib.import_module("fsspec")
_errors: Any = importlib.import_module("botocore.exceptions")
CONNECT_SECONDS = 5
READ_SECONDS = 30
"""Longest silence of the server."""
ATTEMPTS = 3
"""Of one request, by botocore."""
READS = 2
"""Of one piece of an object, by s3fs, around botocore's attempts; its own five make a server that
hangs cost twenty minutes instead of three."""
BLOCK_BYTES = 8 << 20
"""Read at a time; fetching is sequential, so there is nothing to cache."""
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_UNKNOWN_USER = "XAdminUserNotFound"
"""versitygw's, with status 404."""


class S3Store:
    """The objects under one prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._filesystem = filesystem()
        self._prefix = f"{bucket}/{prefix}".rstrip("/")

    def chunks(self, name: str) -> Iterator[bytes]:
        """The object's bytes."""
        with _as_os_errors():
            path = f"{self._prefix}/{name}"
            options = {"block_size": BLOCK_BYTES, "cache_type": "readahead"}
            with self._filesystem.open(path, "rb", **options) as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk

    def write(self, name: str, source: Path) -> None:
        """Uploads a local file; an object appears when its upload is complete."""
        with _as_os_errors():
            self._filesystem.put_file(str(source), f"{self._prefix}/{name}")


def filesystem() -> Any:
    """A fsspec filesystem for s3, with bounded waiting and nothing cached.

    botocore reads the credentials and AWS_ENDPOINT_URL by itself, but not AWS_REGION.
    """
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "retries": {"total_max_attempts": ATTEMPTS},
        # Ours are checked anyway, and not every S3 server knows AWS' newer ones.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if region := os.environ.get("AWS_REGION"):
        config["region_name"] = region
    found = _fsspec.filesystem(
        "s3",
        config_kwargs=config,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    found.retries = READS
    return found


@contextmanager
def _as_os_errors() -> Generator[None]:
    """Botocore's errors become FileNotFoundError, PermissionError or ConnectionError.

    s3fs translates the codes that AWS uses; for those of other servers the HTTP status decides.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (_errors.NoCredentialsError, _errors.PartialCredentialsError) as error:
        raise PermissionError(str(error)) from error
    except (OSError, _errors.BotoCoreError, _errors.ClientError) as error:
        kind = PermissionError if _denied(error) else ConnectionError
        raise kind(str(error)) from error


def _denied(error: BaseException) -> bool:
    answer = error.__cause__ if isinstance(error, OSError) else error
    response: dict[str, Any] = getattr(answer, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in _DENIED or response.get("Error", {}).get("Code") == _UNKNOWN_USER
