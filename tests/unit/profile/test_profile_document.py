import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring_profile.arming import SelfTest, StreamTest
from mooring_profile.counts import FeatureCounts
from mooring_profile.document import (
    RECONSTRUCTION_STREAM,
    SCORE_STREAM,
    FeatureKind,
    FeatureProfile,
    MultivariateProfile,
    QualityBand,
    ReferenceProfile,
    Segment,
    SegmentProfile,
    Signal,
)
from mooring_profile.edetector import DriftDetector
from mooring_profile.errors import ProfileInvalid
from mooring_profile.segments import within

shares = st.floats(0, 1)
effects = st.floats(1, 1e6)
finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**40)
texts = st.text(max_size=8)
signals = st.sampled_from(Signal)
words = st.lists(texts, unique=True, max_size=5)


@st.composite
def streams(draw: st.DrawFn, name: str) -> FeatureProfile:
    kind = draw(st.sampled_from(FeatureKind))
    edges: tuple[float, ...] = ()
    names: list[str] = []
    if kind is FeatureKind.NUMERIC:
        edges = tuple(sorted(draw(st.sets(st.floats(-1e6, 1e6, width=32), max_size=5))))
    else:
        names = draw(words)
    bins = max(0, len(edges) - 1) if kind is FeatureKind.NUMERIC else len(names) + 1
    held = draw(st.lists(counts, min_size=bins + 5, max_size=bins + 5))
    quality = [Signal.MISSING, Signal.INVALID, Signal.OUT_OF_RANGE, Signal.UNSEEN]
    return FeatureProfile(
        name=name,
        kind=kind,
        edges=edges,
        categories=tuple(names),
        counts=FeatureCounts(held[:bins], *held[bins:]),  # pyright: ignore[reportArgumentType]  # a list is copied
        tolerance=draw(shares),
        design_effect=draw(effects),
        quality=tuple(
            QualityBand(signal, draw(shares), draw(shares), draw(effects)) for signal in quality
        ),
        minimum=draw(st.none() | finite),
        maximum=draw(st.none() | finite),
        mean=draw(st.none() | finite),
        sd=draw(st.none() | finite),
    )


@st.composite
def profiles(draw: st.DrawFn) -> ReferenceProfile:
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    values = draw(st.lists(texts, unique=True, max_size=3))
    segments = tuple(
        SegmentProfile(
            (segment := Segment("a", value)),
            draw(counts),
            tuple(within(segment, draw(streams(name))) for name in (*names[1:], SCORE_STREAM)),
        )
        for value in values
    )
    size = len(names)
    vectors = st.lists(finite, min_size=size, max_size=size).map(tuple)
    positive = st.lists(st.floats(1e-9, 1e9), min_size=size, max_size=size).map(tuple)
    multivariate = MultivariateProfile(
        features=tuple(names),
        median=draw(vectors),
        mean=draw(vectors),
        scale=draw(positive),
        components=tuple(draw(st.lists(vectors, max_size=3))),
        explained=draw(shares),
        error=draw(streams(RECONSTRUCTION_STREAM)),
    )
    tests = [
        StreamTest(draw(texts), draw(signals), draw(counts), draw(shares), reason is None, reason)
        for reason in draw(st.lists(st.none() | texts, max_size=3))
    ]
    return ReferenceProfile(
        features=tuple(draw(streams(name)) for name in names),
        score=draw(st.none() | streams(SCORE_STREAM)),
        rows=draw(counts),
        segments=segments,
        multivariate=draw(st.sampled_from([None, multivariate])),
        self_test=SelfTest(draw(counts), draw(counts), draw(effects), draw(counts), tuple(tests)),
        notes=tuple(draw(words)),
    )


@settings(max_examples=60, deadline=None)
@given(profiles())
def test_profile_of_all_parts_survives_json_exactly(profile: ReferenceProfile) -> None:
    text = json.dumps(profile.to_json(), allow_nan=False)
    assert ReferenceProfile.from_json(json.loads(text)) == profile


def stream(name: str, segment: Segment | None = None) -> FeatureProfile:
    quality = (QualityBand(Signal.MISSING, 0.0, 0.02, 1.0),)
    plain = FeatureProfile(
        name=name,
        kind=FeatureKind.CATEGORICAL,
        categories=("x", "y"),
        counts=FeatureCounts([500, 500, 0]),  # pyright: ignore[reportArgumentType]  # a list is copied
        tolerance=0.02,
        design_effect=1.0,
        quality=quality,
    )
    return plain if segment is None else within(segment, plain)


FRANCE = Segment("country", "FR")


def parts(**changes: Any) -> ReferenceProfile:
    arguments: dict[str, Any] = {
        "features": (stream("age"), stream("country")),
        "score": stream(SCORE_STREAM),
        "rows": 1000,
        "segments": (
            SegmentProfile(FRANCE, 1000, (stream("age", FRANCE), stream(SCORE_STREAM, FRANCE))),
        ),
        **changes,
    }
    return ReferenceProfile(**arguments)


def test_streams_are_features_then_score_then_those_of_segments() -> None:
    names = ["age", "country", "@score", "country=FR/age", "country=FR/@score"]
    assert [item.name for item in parts().streams] == names
    plain = ["age", "country", "@score", "age", "@score"]
    assert [item.feature for item in parts().streams] == plain


def test_stream_is_left_out_of_the_family_when_its_self_test_refuses_it() -> None:
    refused = StreamTest("country=FR/age", Signal.DISTRIBUTION, 9, 0.01, armed=False, reason="x")
    test = SelfTest(10, 100, 20.0, 9, (refused,))
    before = DriftDetector(parts(), false_alarm_windows=100).streams
    after = DriftDetector(parts(self_test=test), false_alarm_windows=100).streams
    assert set(before) - set(after) == {("country=FR/age", Signal.DISTRIBUTION)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": (stream("age"),)}, "which are no features"),
        (
            {"segments": tuple(SegmentProfile(Segment("age", f"{i}"), 1, ()) for i in range(21))},
            "at most 20",
        ),
        ({"score": stream("age")}, "listed twice"),
    ],
)
def test_profile_is_refused_when_its_parts_do_not_fit(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProfileInvalid, match=message):
        parts(**changes)


def test_segment_is_refused_when_a_stream_of_another_is_listed() -> None:
    with pytest.raises(ProfileInvalid, match="is listed in segment 'country=FR'"):
        SegmentProfile(FRANCE, 10, (stream("age"),))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("segments",), 3, r"profile\.segments is 3"),
        (("segments", 0, "rows"), -1, r"segments\[0\]\.rows is -1"),
        (("selfTest", "streams", 0, "armed"), 1, "must be true or false"),
        (("selfTest", "streams", 0, "armed"), True, "only there"),
        (("selfTest", "streams", 0, "signal"), "Odd", "one of"),
        (("multivariate", "components"), [1.0], "list of lists"),
        (("multivariate", "components"), [[1.0, "a"]], "finite number"),
        (("multivariate", "components"), [[1.0]], "different lengths"),
        (("multivariate", "scale"), [1.0, 0.0], "above 0"),
        (("multivariate", "error", "name"), "error", "not '@reconstruction'"),
        (("notes",), "x", r"notes is 'x'"),
    ],
)
def test_profile_is_refused_with_the_part_named_when_malformed(
    path: tuple[str | int, ...], value: object, message: str
) -> None:
    profile = parts(
        multivariate=MultivariateProfile(
            ("age", "country"),
            (0.0, 0.0),
            (0.0, 0.0),
            (1.0, 1.0),
            ((1.0, 0.0),),
            0.9,
            stream(RECONSTRUCTION_STREAM),
        ),
        self_test=SelfTest(
            10,
            100,
            20.0,
            9,
            (StreamTest("age", Signal.RARE, 9, 0.1, armed=False, reason="alarms"),),
        ),
        notes=("left out",),
    )
    document: Any = json.loads(json.dumps(profile.to_json()))
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ProfileInvalid, match=message):
        ReferenceProfile.from_json(document)
