"""S3 through fsspec. Credentials and endpoint come from the standard AWS environment."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mooring_model.manifest import CHUNK

_fsspec: Any = importlib.import_module("fsspec")
_errors: Any = importlib.import_module("botocore.exceptions")
CONNECT_SECONDS = 5
READ_SECONDS = 60
ATTEMPTS = 3


class S3Store:
    """The objects under one prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._filesystem = filesystem()
        self._prefix = f"{bucket}/{prefix}".rstrip("/")

    def chunks(self, name: str) -> Iterator[bytes]:
        """The object's bytes."""
        try:
            with self._filesystem.open(f"{self._prefix}/{name}", "rb") as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
        except _errors.BotoCoreError as error:
            raise ConnectionError(str(error)) from error

    def write(self, name: str, source: Path) -> None:
        """Uploads a local file."""
        try:
            self._filesystem.put_file(str(source), f"{self._prefix}/{name}")
        except _errors.BotoCoreError as error:
            raise ConnectionError(str(error)) from error


def filesystem() -> Any:
    """The fsspec filesystem for s3, with bounded waiting and no cached listings."""
    config = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "retries": {"max_attempts": ATTEMPTS},
    }
    return _fsspec.filesystem("s3", config_kwargs=config, use_listings_cache=False)


def make_bucket(name: str) -> None:
    """Makes the bucket where it is absent."""
    s3 = filesystem()
    if not s3.exists(name):
        s3.mkdir(name)
