"""What all resource types share: naming, Kubernetes markers, durations, names, metadata.

Types here are parsed once at the edge; inside, values are valid by type.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

CelRule = dict[str, str]
JsonSchema = dict[str, Any]

DURATION_PATTERN = r"^([0-9]{1,6}(ms|s|m|h|d)){1,4}$"
_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_UNIT = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


class ApiModel(BaseModel):
    """A part of a resource: frozen, camelCase on the wire, unknown fields ignored on reading."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """The JSON form: camelCase keys, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def cel(rule: str, message: str) -> CelRule:
    """One CEL validation of the API server, with the sentence that a user reads."""
    return {"rule": rule, "message": message}


def validations(*rules: CelRule) -> JsonSchema:
    """Class-level marker: CEL rules of an object."""
    return {"x-kubernetes-validations": list(rules)}


def list_map(*keys: str) -> JsonSchema:
    """Field marker: a list of objects that server-side apply merges by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC_LIST: JsonSchema = {"x-kubernetes-list-type": "atomic"}
SET_LIST: JsonSchema = {"x-kubernetes-list-type": "set"}

DEFAULT_IN_CODE: JsonSchema = {"x-mooring-default-in-code": True}
"""Field marker: the default depends on other fields, so that the API server must not fill it in."""
SENTENCE = "x-mooring-sentence"
"""Field marker: what a user reads instead of a pattern that did not match."""


def _text(pattern: str, sentence: str, *, most: int, rules: Sequence[CelRule] = ()) -> FieldInfo:
    extra: dict[str, Any] = {SENTENCE: sentence}
    if rules:
        extra |= validations(*rules)
    return Field(pattern=pattern, min_length=1, max_length=most, json_schema_extra=extra)


Duration = Annotated[
    str, _text(DURATION_PATTERN, "write a duration like 90s, 1h30m or 7d", most=28)
]
"""A Go-style duration with days: `90s`, `1h30m`, `7d`."""
Count = Annotated[int, Field(ge=0)]
ShortText = Annotated[str, Field(max_length=64)]
DnsLabel = Annotated[
    str,
    _text(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "use lower-case letters, digits and dashes, with a letter or digit at both ends",
        most=63,
    ),
]
DigestText = Annotated[
    str,
    _text(
        r"^sha256:[0-9a-f]{64}$",
        "write the package digest that `mooring digest` prints: sha256: and 64 hex digits",
        most=71,
    ),
]
RevisionText = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$", max_length=12)]
Quantity = Annotated[
    str,
    _text(
        r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$",
        "write a Kubernetes quantity like 250m, 2 or 512Mi",
        most=20,
    ),
]
StoreUri = Annotated[
    str,
    _text(
        r"^(s3|https|pvc)://[^@?# ]+$",
        "write s3://BUCKET/PREFIX, https://HOST/DIRECTORY or pvc://CLAIM/PATH, without"
        " credentials; file: works on the command line only",
        most=512,
    ),
]
S3Uri = Annotated[
    str,
    _text(r"^s3://[^@?# ]+$", "write s3://BUCKET/PREFIX, without credentials", most=512),
]
HttpUrl = Annotated[
    str,
    _text(
        r"^https?://[^@?#/ ]+(/[^@?# ]*)?$",
        "write http://HOST/PATH or https://HOST/PATH, without credentials or query",
        most=512,
    ),
]
HeaderName = Annotated[
    str,
    _text(
        r"^[A-Za-z][-A-Za-z0-9]*$",
        "write the name of an HTTP header: letters, digits and dashes",
        most=64,
    ),
]
Hostname = Annotated[
    str,
    _text(
        r"^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "write a hostname like models.example.com or *.example.com, in lower case",
        most=253,
    ),
]
UrlPath = Annotated[
    str,
    _text(
        r"^/([.]*[-A-Za-z0-9_~][-A-Za-z0-9._~]*(/[.]*[-A-Za-z0-9_~][-A-Za-z0-9._~]*)*)?$",
        "write a path like /v2/models/flight-delay, without . or .. or a slash at its end",
        most=256,
    ),
]
SegmentSize = Annotated[
    str, _text(r"^[1-9][0-9]?Mi$", "write a segment size from 1Mi to 99Mi", most=4)
]
SYNC_KEY_SECRET = "mooring-sync-key"  # noqa: S105 the name of a Secret, not a secret
"""The operator's own, in its own namespace: nobody's pods may have it."""


def _refuse_sync_key(name: str) -> str:
    if name == SYNC_KEY_SECRET:
        raise ValueError(_NOT_OURS)
    return name


_NOT_OURS = f"{SYNC_KEY_SECRET} is the operator's own Secret: name one of yours"
SecretName = Annotated[
    str,
    _text(
        r"^mooring-[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "name a Secret that starts with mooring-: the prefix is its owner's consent",
        most=63,
        rules=[cel(f"self != '{SYNC_KEY_SECRET}'", _NOT_OURS)],
    ),
    AfterValidator(_refuse_sync_key),
]
"""A Secret of the same namespace. The prefix is the owner's consent to its use by Mooring."""
Sentence = Annotated[str, Field(max_length=1024)]


def parse_duration(text: str) -> timedelta:
    """The length that a Go-style duration such as `1h30m` or `7d` names.

    Raises:
        ValueError: the text is no duration; the message shows it and an example.
    """
    if not re.match(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write one like 90s, 1h30m or 7d")
    return sum((int(n) * _UNIT[u] for n, u in _DURATION_PART.findall(text)), timedelta())


class Metadata(ApiModel):
    """The part of Kubernetes object metadata that decisions read."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ResourceRequirements(ApiModel):
    """CPU and memory of a container, as Kubernetes quantities."""

    class Amount(ApiModel):
        """An amount of CPU and memory."""

        cpu: Quantity | None = None
        memory: Quantity | None = None

    requests: Amount | None = None
    limits: Amount | None = None

    @classmethod
    def of(cls, *, cpu: str, memory: str, memory_limit: str) -> Self:
        """Requests with a memory limit, the shape of Mooring's own defaults."""
        return cls(
            requests=cls.Amount(cpu=cpu, memory=memory), limits=cls.Amount(memory=memory_limit)
        )
