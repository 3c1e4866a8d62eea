"""Whatever a package's documents hold, its check ends in a verdict and never in another error."""

import copy
import json
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mooring_model.documents import MAX_DOCUMENT_BYTES
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import Format, write_manifest
from mooring_model.samples import read_samples
from mooring_model.schema import read_schema
from mooring_model.termination import message_of
from mooring_model.verify import check, replay
from tests.serving.packaged_models import CREATED, packaged

CHECKED = ("schema.json", "inference.json", "samples.json", "profile.json", "metrics.json")
ODD: tuple[Any, ...] = (
    None, True, -1, 1e308, float("nan"), float("inf"), 10**400, "", "x" * 10_000, "\ud800", [],
    [[]], {}, {"a": 1}, [None], [1, "a"],
)  # fmt: skip
BROKEN = {
    "nothing": b"",
    "no text": b"\xff\xfe",
    "nested without end": b"[" * 200_000,
    "objects without end": b'{"a":' * 200_000,
    "a number of 5,000 digits": b"9" * 5000,
    "cut off": b'{"inputs": {',
}
Steps = tuple[Any, ...]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of a package with categories, numbers and gaps."""
    return Path(shutil.copytree(packaged("mixed"), tmp_path / "package"))


@pytest.fixture
def regression(tmp_path: Path) -> Path:
    """A copy of a package of a regression."""
    return Path(shutil.copytree(packaged("regression"), tmp_path / "package"))


def relist(directory: Path) -> None:
    (directory / "manifest.json").unlink()
    write_manifest(directory, model="m", format_=Format.ONNX, created_at=CREATED)


def nodes(document: Any, steps: Steps = ()) -> Iterator[Steps]:
    """The places of a document; of a list, the first two items."""
    yield steps
    if isinstance(document, dict):
        for key, inner in cast("dict[str, Any]", document).items():
            yield from nodes(inner, (*steps, key))
    elif isinstance(document, list):
        for place, inner in enumerate(cast("list[Any]", document)[:2]):
            yield from nodes(inner, (*steps, place))


def replaced(document: Any, steps: Steps, value: Any) -> Any:
    if not steps:
        return value
    changed = copy.deepcopy(document)
    place = changed
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    return changed


def judge(directory: Path) -> None:
    """What a verification Job does, for a package that its author made with care."""
    relist(directory)
    check(directory, None)
    report = replay(directory).to_json()
    json.loads(message_of(report), parse_constant=pytest.fail)


def mutants(name: str) -> Generator[bytes]:
    document = json.loads((packaged("mixed") / name).read_text())
    for steps in nodes(document):
        for odd in ODD:
            yield json.dumps(replaced(document, steps, odd)).encode()


@pytest.mark.parametrize("name", CHECKED)
def test_mutated_document_is_judged_and_nothing_else_is_raised(
    package: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 150 of the mutants; each is refused by its name, or replays."""
    monkeypatch.setattr("mooring_model.verify.LATENCY_CALLS", 2)
    every = list(mutants(name))
    generator = np.random.default_rng(12)
    chosen = generator.choice(len(every), size=min(150, len(every)), replace=False)
    refused = 0
    for place in map(int, chosen):
        (package / name).write_bytes(every[place])
        try:
            judge(package)
        except PackageRefused:
            refused += 1
    assert refused > len(chosen) / 2


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("kind", list(BROKEN))
def test_document_that_is_no_json_is_refused_by_its_name(
    package: Path, name: str, kind: str
) -> None:
    (package / name).write_bytes(BROKEN[kind])
    relist(package)
    with pytest.raises(PackageRefused, match=name.replace(".", r"\.")) as refused:
        check(package, None)
    assert refused.value.reason is RefusalReason.SCHEMA_INVALID
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("name", CHECKED)
def test_document_beyond_the_limit_is_refused_before_it_is_parsed(package: Path, name: str) -> None:
    with (package / name).open("wb") as stream:
        stream.truncate(MAX_DOCUMENT_BYTES + 1)
    relist(package)
    with pytest.raises(PackageRefused, match="more than is ever read") as refused:
        check(package, None)
    assert refused.value.reason is RefusalReason.MANIFEST_INVALID


def test_metrics_of_any_length_leave_room_for_the_verdict(package: Path) -> None:
    names = ["\U0001f600" * 60 + str(number) for number in range(40)]
    entry = {"dataset": "test", "value": -1.7976931348623157e308, "n": 9}
    entry |= {"lower": -1.7976931348623157e308, "upper": 1.7976931348623157e308}
    (package / "metrics.json").write_text(json.dumps([entry | {"name": name} for name in names]))
    relist(package)
    report = replay(package).to_json()
    said = json.loads(message_of(report))
    assert said["verdict"] == "Verified"
    assert said["digest"] == report["digest"]
    assert len(message_of(report)) <= 4096


def change_samples(directory: Path, **changes: Any) -> None:
    path = directory / "samples.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("tolerance", [0.5, 1e300, -1.0])
def test_tolerance_that_lets_any_answer_pass_is_refused(package: Path, tolerance: float) -> None:
    change_samples(package, tolerance=tolerance)
    relist(package)
    with pytest.raises(PackageRefused, match="tolerance") as refused:
        check(package, None)
    assert refused.value.reason is RefusalReason.SCHEMA_INVALID


def test_tolerance_of_a_regression_follows_its_answers(regression: Path) -> None:
    samples = read_samples(regression, read_schema(regression))
    largest = np.abs(samples.outputs["prediction"]).max()
    assert samples.tolerance == pytest.approx(1e-4 * largest)
    change_samples(regression, tolerance=0.02 * largest)
    relist(regression)
    with pytest.raises(PackageRefused, match="lets any answer pass"):
        check(regression, None)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("carrier", 1, "string"),
        ("distance", "12", "number"),
        ("distance", True, "number"),
        ("weekend", 1, "boolean"),
        ("weekend", None, "boolean"),
    ],
)
def test_sample_of_another_type_than_the_schema_is_refused(
    package: Path, column: str, value: object, fault: str
) -> None:
    inputs = json.loads((package / "samples.json").read_text())["inputs"]
    inputs[column][3] = value
    change_samples(package, inputs=inputs)
    relist(package)
    with pytest.raises(PackageRefused, match=rf"{column}\.3.*{fault}"):
        check(package, None)
