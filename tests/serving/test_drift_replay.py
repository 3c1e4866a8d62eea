"""`mooring drift replay` as a person uses it: tables in, alarms out."""

import gzip
import importlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_cli.main import main
from tests.statistics.car_loan import (
    CHANGE_ROW,
    DRIFTED,
    UNDRIFTED,
    CarLoanTable,
    car_loan,
)

_pandas: Any = importlib.import_module("pandas")


@dataclass(frozen=True)
class Ended:
    """What the command printed, how it ended, and its JSON."""

    code: int
    out: str
    error: str
    found: dict[str, Any]


class ReplayCommand:
    """Runs `mooring drift replay` in this process."""

    def __init__(
        self, directory: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.directory = directory
        self._patch = patch
        self._capture = capture

    def table(self, name: str, columns: dict[str, Any]) -> Path:
        """Writes a table; the ending says how."""
        path = self.directory / name
        frame = _pandas.DataFrame(columns)
        if name.endswith(".parquet"):
            frame.to_parquet(path, row_group_size=333)
        else:
            frame.to_csv(path, index=False)
        return path

    def __call__(self, reference: Path, stream: Path, *options: object) -> Ended:
        out = self.directory / "out.json"
        arguments = ["--reference", reference, "--stream", stream, "--json", out, *options]
        self._patch.setattr(sys, "argv", ["mooring", "drift", "replay", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capture.readouterr()
        code = ended.value.code
        found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
        return Ended(code if isinstance(code, int) else 0, printed.out, printed.err, found)


@pytest.fixture
def replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> ReplayCommand:
    """The command, with a directory for its tables."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    return ReplayCommand(tmp_path, monkeypatch, capsys)


def normal(rows: int, seed: int, features: int = 20) -> dict[str, Any]:
    """Standard normal columns."""
    rng = np.random.default_rng(seed)
    return {f"f{index}": rng.normal(size=rows) for index in range(features)}


def shifted(columns: dict[str, Any], name: str, by: float, row: int) -> dict[str, Any]:
    """The table with one column moved from a row (from 0) on."""
    column = columns[name].copy()
    column[row:] += by
    return columns | {name: column}


def test_replay_of_car_loans_names_every_drifted_column_soon_and_no_other(
    replay: ReplayCommand,
) -> None:
    reference, stream = car_loan(CarLoanTable.REFERENCE), car_loan(CarLoanTable.ANALYSIS)
    ended = replay(reference, stream, "--window", 250, "--false-alarm-every", 1000)
    assert ended.code == 0
    alarms = ended.found["alarms"]
    assert {alarm["feature"] for alarm in alarms} == DRIFTED
    assert not {alarm["feature"] for alarm in alarms} & UNDRIFTED
    assert all(CHANGE_ROW < alarm["row"] <= CHANGE_ROW + 500 for alarm in alarms)
    assert all(abs(alarm["changeRow"] - CHANGE_ROW) <= 2 * 250 + 1 for alarm in alarms)
    assert {alarm["kind"] for alarm in alarms} == {"drift"}
    unwatched = {item["column"] for item in ended.found["columns"] if not item["watched"]}
    assert unwatched == {"id", "timestamp", "repaid"}
    assert "5 of 9 columns drifted" in ended.out


@pytest.mark.parametrize("tolerance", [0, 0.01])
@pytest.mark.parametrize("order", ["arrival", "none"])
def test_replay_of_car_loans_does_not_depend_on_how_much_is_tolerated(
    replay: ReplayCommand, tolerance: float, order: str
) -> None:
    reference, stream = car_loan(CarLoanTable.REFERENCE), car_loan(CarLoanTable.ANALYSIS)
    ended = replay(
        reference, stream, "--tolerance", tolerance, "--reference-order", order,
        "--score", "y_pred_proba", "--no-self-test",
    )  # fmt: skip
    alarms = ended.found["alarms"]
    assert {alarm["feature"] for alarm in alarms} == DRIFTED
    assert all(CHANGE_ROW < alarm["row"] <= CHANGE_ROW + 500 for alarm in alarms)


def test_replay_of_car_loans_learns_from_the_days_of_a_time_column(replay: ReplayCommand) -> None:
    reference, stream = car_loan(CarLoanTable.REFERENCE), car_loan(CarLoanTable.ANALYSIS)
    ended = replay(reference, stream, "--time-column", "timestamp")
    assert {alarm["feature"] for alarm in ended.found["alarms"]} == DRIFTED
    assert "days" in ended.found["notes"][0]


def test_replay_tells_missing_and_unknown_values_as_data_quality(replay: ReplayCommand) -> None:
    reference = car_loan(CarLoanTable.FAULTY_REFERENCE)
    ended = replay(reference, car_loan(CarLoanTable.FAULTY_ANALYSIS), "--tolerance", 0.01)
    broken = [alarm for alarm in ended.found["alarms"] if alarm["kind"] == "dataQuality"]
    assert {alarm["feature"] for alarm in broken} == {
        "driver_tenure",
        "salary_range",
        "size_of_downpayment",
    }
    assert all(alarm["row"] > CHANGE_ROW for alarm in broken)


def test_replay_says_the_same_of_csv_and_parquet(replay: ReplayCommand) -> None:
    paths = [car_loan(CarLoanTable.REFERENCE), car_loan(CarLoanTable.ANALYSIS)]
    parquet = [replay.table(f"{path.stem}.parquet", _pandas.read_csv(path)) for path in paths]
    text, binary = (replay(*pair, "--no-self-test") for pair in (paths, parquet))
    for key in ("alarms", "windows", "columns", "streams"):
        assert text.found[key] == binary.found[key]


def test_replay_reads_compressed_csv(replay: ReplayCommand) -> None:
    stream = replay.directory / "rows.csv.gz"
    with (
        car_loan(CarLoanTable.ANALYSIS).open("rb") as plain,
        gzip.open(stream, "wb", compresslevel=1) as packed,
    ):
        shutil.copyfileobj(plain, packed)
    ended = replay(car_loan(CarLoanTable.REFERENCE), stream, "--no-self-test")
    assert {alarm["feature"] for alarm in ended.found["alarms"]} == DRIFTED


def test_replay_of_a_stationary_stream_raises_no_alarm(replay: ReplayCommand) -> None:
    reference = replay.table("reference.parquet", normal(10_000, 1))
    stream = replay.table("rows.parquet", normal(60_000, 2))
    ended = replay(reference, stream, "--window", 200)
    assert ended.found["alarms"] == []
    assert ended.found["stream"] == {"file": "rows.parquet", "rows": 60_000, "windows": 300}
    assert "Nothing changed" in ended.out


def test_replay_finds_a_small_shift_in_one_of_twenty_columns_within_few_windows(
    replay: ReplayCommand,
) -> None:
    reference = replay.table("reference.parquet", normal(10_000, 3))
    stream = replay.table("rows.parquet", shifted(normal(16_000, 4), "f7", 0.25, 10_000))
    ended = replay(reference, stream, "--window", 200)
    (alarm,) = ended.found["alarms"]
    assert alarm["feature"] == "f7"
    assert 10_000 < alarm["row"] <= 10_000 + 10 * 200
    assert alarm["row"] == 200 * alarm["window"]
    assert abs(alarm["changeRow"] - 10_001) <= 5 * 200
    assert "f7" in ended.out


def test_replay_of_a_trivial_shift_raises_no_alarm_in_a_million_rows(replay: ReplayCommand) -> None:
    reference = replay.table("reference.parquet", normal(50_000, 5, features=2))
    stream = replay.table("rows.parquet", shifted(normal(1_000_000, 6, features=2), "f0", 0.02, 0))
    assert replay(reference, stream, "--window", 4000).found["alarms"] == []


def test_replay_counts_windows_alike_however_the_file_is_cut(replay: ReplayCommand) -> None:
    reference = replay.table("reference.csv", normal(2000, 7, features=3))
    rows = normal(1010, 8, features=3)
    found = [replay(reference, replay.table(name, rows), "--window", 100).found for name in NAMES]
    assert found[0]["windows"] == found[1]["windows"]
    assert [window["row"] for window in found[0]["windows"]][-2:] == [1000, 1010]


NAMES = ("rows.parquet", "rows.csv")


def test_replay_leaves_out_what_cannot_stand_still_and_says_why(replay: ReplayCommand) -> None:
    def table(rows: int, first: int, period: str, seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        return {
            "amount": rng.normal(size=rows),
            "row": np.arange(first, first + rows),
            "epoch": 1.7e9 + np.arange(first, first + rows) // 3 * 0.5,
            "uuid": [f"{seed}-{index}" for index in range(rows)],
            "when": [f"2026-{1 + index % 12:02d}-{1 + index % 28:02d}" for index in range(rows)],
            "partition": [period] * rows,
        }

    reference = replay.table("reference.csv", table(2000, 0, "reference", 1))
    stream = replay.table("rows.csv", table(2000, 2000, "analysis", 2) | {"late": 1.0})
    ended = replay(reference, stream)
    reasons = {c["column"]: c["reason"] for c in ended.found["columns"] if not c["watched"]}
    assert set(reasons) == {"row", "epoch", "uuid", "when", "partition", "late"}
    assert "identifier" in reasons["row"]
    assert "clock" in reasons["epoch"]
    assert "times" in reasons["when"]
    assert "name the table" in reasons["partition"]
    assert "reference has no such column" in reasons["late"]
    assert ended.found["alarms"] == []
    watched = replay(reference, stream, "--feature", "partition").found["alarms"]
    assert {alarm["feature"] for alarm in watched} == {"partition"}


def test_replay_knows_a_category_whether_it_is_read_as_number_or_text(
    replay: ReplayCommand,
) -> None:
    rng = np.random.default_rng(9)
    codes = rng.choice([1, 2, 30], size=3000)
    reference = replay.table("reference.parquet", {"code": codes, "x": rng.normal(size=3000)})
    rows = rng.choice([1, 2, 30], size=2000).astype(object)
    rows[1500:] = "4x"  # from here on pandas reads the column as text
    stream = replay.table("rows.csv", {"code": rows, "x": rng.normal(size=2000)})
    ended = replay(reference, stream, "--categorical", "code")
    alarms = ended.found["alarms"]
    assert {(a["feature"], a["kind"]) for a in alarms} == {
        ("code", "dataQuality"),
        ("code", "drift"),
    }
    assert all(alarm["row"] > 1500 for alarm in alarms)


def test_replay_names_the_segment_in_which_alone_a_column_changed(replay: ReplayCommand) -> None:
    def table(rows: int, seed: int, by: float) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        site = np.array(["north", "south"], dtype=object)[(rng.random(rows) < 0.1).astype(int)]
        return {"site": site, "heat": rng.normal(size=rows) + by * (site == "south")}

    reference = replay.table("reference.parquet", table(20_000, 11, 0.0))
    stream = replay.table("rows.parquet", table(20_000, 12, 1.0))
    ended = replay(reference, stream, "--segment", "site", "--window", 500)
    first = ended.found["alarms"][0]
    assert (first["feature"], first["segment"]) == ("heat", "site=south")
    assert "within segments" in ended.out
    assert replay(reference, stream, "--segment", "nowhere").code == 10


def test_replay_does_not_arm_a_column_that_alarms_on_the_reference_itself(
    replay: ReplayCommand,
) -> None:
    rng = np.random.default_rng(13)
    # A level that jumps each 1,200 rows: blocks of a window do not say how far it goes.
    levels = np.repeat(rng.normal(0, 3, 20), 1200)
    columns = {"wild": levels + rng.normal(size=24_000), "calm": rng.normal(size=24_000)}
    reference = replay.table("reference.parquet", columns)
    stream = replay.table("rows.parquet", {name: c[:2000] for name, c in columns.items()})
    options = ("--window", 200, "--reference-order", "arrival")
    ended = replay(reference, stream, *options)
    unarmed = {item["stream"] for item in ended.found["notArmed"]}
    tolerances = {c["column"]: c.get("tolerance") for c in ended.found["columns"]}
    # Either it is not armed, or so much is tolerated that its swings are normal.
    assert "wild" in unarmed or tolerances["wild"] > 0.2
    assert "calm" not in unarmed
    assert not [alarm for alarm in ended.found["alarms"] if alarm["feature"] == "calm"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--feature", "nowhere"), "--feature"),
        (("--ignore", "nowhere"), "--ignore"),
        (("--categorical", "nowhere"), "--categorical"),
        (("--score", "nowhere"), "--score"),
        (("--time-column", "nowhere"), "--time-column"),
        (("--time-column", "f0"), "f0"),
        (("--ignore", "f0", "--ignore", "f1"), "--feature"),
    ],
)
def test_replay_is_refused_with_column_and_remedy_when_an_option_names_nothing(
    replay: ReplayCommand, options: tuple[str, ...], named: str
) -> None:
    reference = replay.table("reference.csv", {"f0": ["a", "b"] * 500, "f1": [1.5, 2.0] * 500})
    stream = replay.table("rows.csv", {"f0": ["a", "b"] * 500, "f1": [1.5, 2.0] * 500})
    ended = replay(reference, stream, *options)
    assert ended.code == 10
    assert named in ended.error
    assert "remedy" in ended.error


def test_replay_is_refused_when_a_table_cannot_be_read(replay: ReplayCommand) -> None:
    good = replay.table("reference.csv", normal(100, 1, features=2))
    empty = replay.table("empty.csv", {"f0": [], "f1": []})
    torn = replay.directory / "torn.parquet"
    torn.write_bytes(b"PAR1 and no more")
    for reference, stream in (
        (good, empty),
        (empty, good),
        (good, torn),
        (good, replay.directory / "absent.csv"),
        (good, replay.directory / "rows.xlsx"),
    ):
        ended = replay(reference, stream)
        assert ended.code == 10
        assert "remedy" in ended.error
        assert str((stream if reference == good else reference).name) in ended.error
