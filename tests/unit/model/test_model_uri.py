"""Store URIs: taken apart, refused, and shown without secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.uri import Scheme, parse_uri, redacted


@pytest.mark.parametrize(
    ("uri", "scheme", "host", "port", "path"),
    [
        ("s3://models/flights/v1", Scheme.S3, "models", None, "flights/v1"),
        ("s3://models/", Scheme.S3, "models", None, ""),
        ("pvc://claim/team/v1/", Scheme.PVC, "claim", None, "team/v1"),
        ("https://store.example:8443/m/v1", Scheme.HTTPS, "store.example", 8443, "m/v1"),
        ("https://[2001:db8::1]/m", Scheme.HTTPS, "2001:db8::1", None, "m"),
        ("file:///srv/models", Scheme.FILE, "", None, "/srv/models"),
    ],
)
def test_uri_is_taken_apart(
    uri: str, scheme: Scheme, host: str, port: int | None, path: str
) -> None:
    found = parse_uri(uri)
    assert (found.scheme, found.host, found.port, found.path) == (scheme, host, port, path)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", RefusalReason.SCHEME_REFUSED),
        ("models/v1", RefusalReason.SCHEME_REFUSED),
        ("gs://bucket/x", RefusalReason.SCHEME_REFUSED),
        ("ftp://host/x", RefusalReason.SCHEME_REFUSED),
        ("s3:///x", RefusalReason.URI_INVALID),
        ("s3://a:9/x", RefusalReason.URI_INVALID),
        ("s3://a/../b", RefusalReason.URI_INVALID),
        ("s3://a/b//c", RefusalReason.URI_INVALID),
        ("pvc://cl%2Faim/x", RefusalReason.URI_INVALID),
        ("file://host/x", RefusalReason.URI_INVALID),
        ("https://[::1/x", RefusalReason.URI_INVALID),
        ("https://host:port/x", RefusalReason.URI_INVALID),
        ("https://host:99999/x", RefusalReason.URI_INVALID),
        ("https://host/a\nb", RefusalReason.URI_INVALID),
        ("https://host/a\x00b", RefusalReason.URI_INVALID),
        ("https://host\\@other/a", RefusalReason.URI_INVALID),
        ("https://host/" + "a" * 3000, RefusalReason.URI_INVALID),
    ],
)
def test_odd_uri_is_refused_with_a_reason(uri: str, reason: RefusalReason) -> None:
    with pytest.raises(PackageRefused) as refused:
        parse_uri(uri)
    assert refused.value.reason is reason
    assert refused.value.remedy


SECRET = "hunter2"  # noqa: S105 - looked for in what is shown


@given(
    st.sampled_from(["https", "s3", "http", "HTTPS"]),
    st.from_regex(r"[a-z]{0,5}", fullmatch=True),
    st.sampled_from(["?token=hunter2", "#hunter2", "?a=b&c=hunter2#d", "", "?"]),
    st.booleans(),
)
def test_secret_never_shows(scheme: str, path: str, tail: str, user: bool) -> None:
    place = f"me:{SECRET}@host" if user else "host"
    uri = f"{scheme}://{place}/{path}{tail}"
    assert SECRET not in redacted(uri)
    assert SECRET not in parsed(uri)


def parsed(uri: str) -> str:
    """What is shown of a URI: when it is used, or in its refusal."""
    try:
        return parse_uri(uri).shown
    except PackageRefused as refused:
        return str(refused)


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    assert isinstance(parsed(text), str)
