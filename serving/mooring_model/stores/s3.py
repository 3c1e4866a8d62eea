"""S3 through fsspec. Credentials and endpoint come from the standard AWS environment."""

import importlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mooring_model.manifest import CHUNK

_fsspec: Any = importlib.import_module("fsspec")
_errors: Any = importlib.import_module("botocore.exceptions")
CONNECT_SECONDS = 5
READ_SECONDS = 60
ATTEMPTS = 3
BLOCK_BYTES = 8 << 20
"""Read at a time; fetching is sequential, so there is nothing to cache."""
_DENIED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "401",
    "403",
)


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
    config = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "retries": {"max_attempts": ATTEMPTS},
    }
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return _fsspec.filesystem(
        "s3",
        config_kwargs=config,
        client_kwargs={"region_name": region} if region else {},
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def make_bucket(name: str) -> None:
    """Makes the bucket where it is absent."""
    s3 = filesystem()
    if not s3.exists(name):
        s3.mkdir(name)


@contextmanager
def _as_os_errors() -> Generator[None]:
    """Botocore's errors become PermissionError or ConnectionError; s3fs gives OSErrors already."""
    try:
        yield
    except (_errors.NoCredentialsError, _errors.PartialCredentialsError) as error:
        raise PermissionError(str(error)) from error
    except _errors.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        kind = PermissionError if code in _DENIED else ConnectionError
        raise kind(str(error)) from error
    except _errors.BotoCoreError as error:
        raise ConnectionError(str(error)) from error
