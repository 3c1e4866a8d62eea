"""Which features the log holds, and which of them as salted hashes only. Pure.

A field that was named by mistake is refused rather than ignored: a misspelt `hash` or `exclude`
would write what somebody meant to keep out.
"""

import functools
import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from mooring_serving.log.errors import LogFieldsInvalid
from mooring_serving.log.settings import LogSettings
from mooring_serving.protocol.messages import Column

SALT_BYTES = 16
"""Shortest salt: a guessable one lets everybody find a customer's number by trying them all."""
HASH_HEX = 32
"""Hex digits kept of the HMAC: 128 bits, no collision to expect below 10^18 values."""
_REMEMBERED = 65_536
"""Hashes kept, about 200 bytes each: ids come back."""


@dataclass(frozen=True, slots=True)
class LoggedFields:
    """Features by what the log holds of them, each in the model's order.

    Attributes:
        plain: Their values, in `f.<feature>`.
        hashed: Their hashes, in `h.<feature>`.
        omitted: Nothing.
    """

    plain: tuple[str, ...]
    hashed: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()


def choose_fields(features: Sequence[str], settings: LogSettings, salt: str | None) -> LoggedFields:
    """What the log holds of a model's features.

    Raises:
        LogFieldsInvalid: A field is named that the model has not, twice, or hashed without a salt.
    """
    _check_names(features, settings)
    if settings.hash and (salt is None or len(salt.encode()) < SALT_BYTES):
        raise LogFieldsInvalid(
            f"predictionLog.fields.hash names {_list(settings.hash)}, and there is no salt of at"
            f" least {SALT_BYTES} bytes: put one under the key `salt` of a Secret whose name starts"
            " with mooring-, and name it in predictionLog.fields.saltSecretName"
            " (MOORING_PREDICTION_LOG_SALT)"
        )
    hashed, excluded = set(settings.hash), set(settings.exclude)
    included = set(features if settings.include is None else settings.include)
    plain = [
        name
        for name in features
        if name in included and name not in hashed and name not in excluded
    ]
    return LoggedFields(
        plain=tuple(plain),
        hashed=tuple(name for name in features if name in hashed),
        omitted=tuple(name for name in features if name not in hashed and name not in plain),
    )


def _check_names(features: Sequence[str], settings: LogSettings) -> None:
    if settings.include is not None and settings.exclude:
        raise LogFieldsInvalid(
            "predictionLog.fields has include and exclude: keep one of them, include is the safer"
        )
    both = sorted(set(settings.exclude) & set(settings.hash))
    if both:
        raise LogFieldsInvalid(
            f"predictionLog.fields excludes and hashes {_list(both)}: name each in one of the lists"
        )
    named = {"include": settings.include or (), "exclude": settings.exclude, "hash": settings.hash}
    for field, names in named.items():
        unknown = sorted(set(names) - set(features))
        if unknown:
            raise LogFieldsInvalid(
                f"predictionLog.fields.{field} names {_list(unknown)}, which the model has not: its"
                f" features are {_list(features)}"
            )


def _list(names: Collection[str]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


class FieldHash:
    """HMAC-SHA256 of values with the salt as the key, as 32 hex digits.

    A number is hashed as its shortest decimal form without a trailing `.0`, a flag as `true` or
    `false`, text as it is in UTF-8; missing stays missing.
    """

    def __init__(self, salt: str) -> None:
        key = salt.encode()

        def digest(text: str) -> str:
            return hmac.digest(key, text.encode(), "sha256").hex()[:HASH_HEX]

        self._digest: Callable[[str], str] = functools.lru_cache(_REMEMBERED)(digest)

    def column(self, values: Column) -> list[str | None]:
        """The hashes of a column."""
        digest = self._digest
        texts = (_text(value) for value in values.tolist())
        return [None if text is None else digest(text) for text in texts]


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float():
            if value != value:
                return None
            return str(int(value)) if value.is_integer() else repr(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case _:
            return str(value)
