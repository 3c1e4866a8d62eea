"""`mooring drift report`: one page that needs nothing else and says what the replay says."""

import importlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_cli.main import main
from mooring_replay.report.page import write_page
from mooring_replay.report.readings import read
from mooring_replay.run import replay
from mooring_replay.settings import ReplaySettings
from mooring_replay.tables import open_table
from tests.statistics.car_loan import DRIFTED, UNDRIFTED, CarLoanTable, car_loan

_pandas: Any = importlib.import_module("pandas")
HOSTILE = '<script>alert("1")</script> & "co"'


class PageReader(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def write(path: Path, columns: dict[str, Any]) -> Path:
    _pandas.DataFrame(columns).to_parquet(path)
    return path


def test_report_shows_every_drifted_column_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    arguments = [
        "--reference", car_loan(CarLoanTable.FAULTY_REFERENCE),
        "--stream", car_loan(CarLoanTable.FAULTY_ANALYSIS), "--html", page,
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["mooring", "drift", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (None, 0)
    assert "5 of 9 columns drifted" in capsys.readouterr().out
    read_page = PageReader(page.read_text(encoding="utf-8"))
    assert "5 of 9 columns drifted; 2 lost data quality." in read_page.text
    cards = set(re.findall(r"<h3>(\w+)</h3>", page.read_text(encoding="utf-8")))
    assert cards == DRIFTED
    assert all(name in read_page.text for name in UNDRIFTED)
    assert "1,000 windows of 250 rows" in read_page.text


def test_report_needs_no_script_and_nothing_from_elsewhere() -> None:
    page = _page_of_car_loans()
    found = PageReader(page)
    assert "script" not in found.tags
    assert not {"link", "img", "iframe"} & set(found.tags)
    assert not [v for n, v in found.attributes if n in ("src", "href") or v.startswith("http")]
    assert "url(" not in page
    assert "prefers-color-scheme:dark" in page


def test_report_drawings_are_well_formed_and_stay_inside_their_frames() -> None:
    drawings = re.findall(r"<svg.*?</svg>", _page_of_car_loans(), flags=re.S)
    assert len(drawings) >= 2 * len(DRIFTED) + 1
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)  # noqa: S314 - our own output
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for mark in root.iter():
            for pair in mark.attrib.get("points", "").split():
                x, y = map(float, pair.split(","))
                assert -0.1 <= x <= width + 0.1
                assert -0.1 <= y <= height + 0.1


def _page_of_car_loans() -> str:
    reference, stream = car_loan(CarLoanTable.REFERENCE), car_loan(CarLoanTable.ANALYSIS)
    settings = ReplaySettings(window=250, false_alarm_every=1000, self_test=False)
    return write_page(replay(open_table(reference), open_table(stream), settings))


def test_report_escapes_names_and_values_that_look_like_html(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = np.array([HOSTILE, "b"], dtype=object)
    reference = write(
        tmp_path / "reference.parquet", {HOSTILE: names[rng.integers(0, 2, 2000)], "x": 1.0}
    )
    stream = write(tmp_path / "rows.parquet", {HOSTILE: np.repeat(names[:1], 2000), "x": 1.0})
    settings = ReplaySettings(window=200, false_alarm_every=1000)
    found = PageReader(write_page(replay(open_table(reference), open_table(stream), settings)))
    assert "script" not in found.tags
    assert HOSTILE in found.text


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"x": [5.0] * 300}, id="a constant"),
        pytest.param({"x": [None] * 300, "y": [1.0, 2.0, 3.0] * 100}, id="a column of nothing"),
        pytest.param({"x": [1e300, -1e300, 0.0] * 100}, id="beyond single precision"),
        pytest.param({"x": [np.inf, -np.inf, np.nan] * 100, "y": ["a", "b", None] * 100}, id="odd"),
        pytest.param({"x": [True, False, None] * 100}, id="booleans with missing ones"),
    ],
)
def test_report_is_written_of_odd_columns_too(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = write(tmp_path / "rows.parquet", columns)
    other = {name: values[::-1] + values[:7] for name, values in columns.items()}
    stream = write(tmp_path / "other.parquet", other)
    settings = ReplaySettings(window=100, false_alarm_every=100)
    page = write_page(replay(open_table(path), open_table(stream), settings))
    assert "nan" not in PageReader(page).text
    assert 'points=""' not in page


def test_readings_compare_the_rows_since_the_change(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    reference = write(tmp_path / "reference.parquet", {"x": rng.normal(size=5000)})
    values = np.concatenate([rng.normal(size=3000), rng.normal(2.0, 1.0, size=3000)])
    stream = write(tmp_path / "rows.parquet", {"x": values})
    settings = ReplaySettings(window=250, false_alarm_every=1000)
    (reading,) = read(replay(open_table(reference), open_table(stream), settings))
    assert reading.since_row == 3001
    assert reading.after.rows == 3000
    assert reading.divergences.wasserstein is not None
    # Within the reference's range a shift by 2 shows as a little less.
    assert 1.6 < reading.divergences.wasserstein < 2.1
