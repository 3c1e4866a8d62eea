"""`mooring compare replay` as a person uses it: counted windows in, a verdict out."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mooring_cli.main import main

Window = dict[str, Any]
Replay = Callable[..., tuple[int, str, str, dict[str, Any]]]


@pytest.fixture
def replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Replay:
    """The command: exit code, what it printed, its errors, its JSON."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)

    def run(windows: list[Window] | str, *options: object) -> tuple[int, str, str, dict[str, Any]]:
        source, out = tmp_path / "windows.jsonl", tmp_path / "out.json"
        lines = windows if isinstance(windows, str) else "\n".join(map(json.dumps, windows))
        source.write_text(lines)
        command = ["mooring", "compare", "replay", "--windows", source, "--json", out, *options]
        monkeypatch.setattr(sys, "argv", [str(item) for item in command])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        printed = capsys.readouterr()
        found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
        return code if isinstance(code, int) else 0, printed.out, printed.err, found

    return run


def simulated(stable: float, candidate: float, share: float, windows: int, seed: int) -> Any:
    """Windows of 200 requests."""
    rng = np.random.default_rng(seed)
    lines: list[Window] = []
    for _ in range(windows):
        n_c = int(rng.binomial(200, share))
        lines.append(
            {
                "stable": {"n": 200 - n_c, "errors": int(rng.binomial(200 - n_c, stable))},
                "candidate": {"n": n_c, "errors": int(rng.binomial(n_c, candidate))},
            }
        )
    return lines


def test_candidate_that_errs_five_times_as_often_fails_and_the_window_is_told(
    replay: Replay,
) -> None:
    code, out, _, found = replay(simulated(0.02, 0.1, 0.05, 40, 1), "--alpha", 0.01)
    assert code == 0
    assert found["verdict"] == "Fail"
    assert 1 <= found["window"] <= 40
    look = found["metrics"]["errors"]
    assert look == found["windows"][found["window"] - 1]["errors"]
    assert found["margin"] < look["lower"] < look["estimate"] < look["upper"]
    assert look["candidate"]["n"] > 0
    assert all(
        item["errors"]["verdict"] != "Fail" for item in found["windows"][: found["window"] - 1]
    )
    assert f"Fail at window {found['window']} of 40" in out


def test_equal_candidate_stays_undecided_or_passes_and_never_fails(replay: Replay) -> None:
    _, out, _, found = replay(simulated(0.02, 0.02, 0.5, 200, 2))
    assert found["verdict"] == "Undecided"
    assert found["window"] is None
    assert len(found["windows"]) == 200
    assert "Undecided in 200 windows" in out
    _, _, _, found = replay(simulated(0.002, 0.002, 0.5, 200, 3), "--margin", 0.02)
    assert found["verdict"] == "Pass"
    assert 1 <= found["window"] <= 100


def test_difference_within_the_margin_never_fails(replay: Replay) -> None:
    windows = [
        {"stable": {"n": 10_000, "errors": 200}, "candidate": {"n": 10_000, "errors": 290}}
    ] * 50
    assert replay(windows)[3]["verdict"] == "Fail"
    assert replay(windows, "--margin", 0.01)[3]["verdict"] != "Fail"


def test_losses_are_judged_and_share_the_budget_with_errors(replay: Replay) -> None:
    windows = [
        {
            "stable": {"n": 190, "errors": 2, "sum": 19.0, "squares": 4.0},
            "candidate": {"n": 10, "errors": 0, "sum": 4.0, "squares": 2.0},
        }
    ] * 60
    _, out, _, found = replay(windows, "--weight", 0.05, "--alpha", 0.02)
    assert found["verdict"] == "Fail"
    assert found["metrics"]["loss"]["verdict"] == "Fail"
    assert found["metrics"]["errors"]["verdict"] == "Undecided"
    assert [found["metrics"][name]["alpha"] for name in ("errors", "loss")] == [0.01, 0.01]
    assert "loss: Fail" in out


def test_arms_that_do_not_get_their_announced_share_are_told(replay: Replay) -> None:
    kept = simulated(0.0, 0.0, 0.05, 100, 4)
    assert replay(kept, "--weight", 0.05)[3]["sampleRatio"]["mismatchWindow"] is None
    _, out, _, found = replay(simulated(0.0, 0.0, 0.02, 100, 5), "--weight", 0.05)
    assert found["sampleRatio"]["mismatchWindow"] <= 20
    assert "sample ratio" in out
    assert replay(kept)[3]["sampleRatio"] == {"weight": None, "mismatchWindow": None, "alpha": 5e-4}
    stated = [line | {"weight": 0.5} for line in kept]
    assert replay(stated, "--weight", 0.05)[3]["sampleRatio"]["mismatchWindow"] is not None


def timed(slower: float, windows: int, seed: int) -> list[Window]:
    """Half of the requests each; the service becomes twice as slow for both arms half-way."""
    rng = np.random.default_rng(seed)
    bounds = [1, 2, 5, 10, 25, 50, 100, 250]
    lines: list[Window] = []
    for at in range(windows):
        scale = 10 if at < windows // 2 else 20
        arms: list[Window] = []
        for factor in (1.0, slower):
            milliseconds = rng.gamma(2.0, scale * factor / 2, size=100)
            counts = np.histogram(milliseconds, [0, *bounds, np.inf])[0].tolist()
            arms.append({"n": 100, "latencyMs": {"bounds": bounds, "counts": counts}})
        lines.append({"stable": arms[0], "candidate": arms[1]})
    return lines


def test_slower_candidate_fails_by_stables_own_quantile_and_a_slower_world_does_not(
    replay: Replay,
) -> None:
    found = replay(timed(2.0, 60, 6))[3]
    assert found["verdict"] == "Fail"
    assert found["window"] <= 20
    equal = replay(timed(1.0, 200, 7))[3]
    assert equal["metrics"]["latency"]["verdict"] != "Fail"
    assert equal["windows"][0]["latency"]["stable"]["n"] == 0


GOOD = '{"stable": {"n": 190, "errors": 4}, "candidate": {"n": 10, "errors": 1}}'


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2"),
        ('{"stable": {"n": 1, "errors": 0}}', "line 2.candidate"),
        (GOOD.replace('"n": 10', '"n": -10'), "line 2.candidate.n"),
        (GOOD.replace('"n": 10', '"n": 10.5'), "line 2.candidate.n"),
        (GOOD.replace('"errors": 1', '"errors": 11'), "line 2.candidate.errors"),
        (GOOD.replace(', "errors": 1', ""), "line 2.candidate"),
        (GOOD.replace('"errors": 4', '"sum": 4.0, "squares": 1'), "line 2.stable.errors"),
        (GOOD.replace('"errors": 4', '"sum": 4.0'), "line 2.stable.squares"),
        (GOOD.replace('"errors": 4', '"sum": 400, "squares": 1'), "line 2.stable.sum"),
        (GOOD.replace('"errors": 4', '"sum": 4, "squares": 5'), "line 2.stable.squares"),
        (GOOD[:-1] + ', "weight": 5}', "line 2.weight"),
        (GOOD.replace('"errors": 4', '"latencyMs": {"bounds": [2, 1], "counts": []}'), "bounds"),
        (GOOD.replace('"errors": 4', '"latencyMs": {"bounds": [1], "counts": [1]}'), "counts"),
    ],
)
def test_replay_is_refused_with_line_and_field_when_a_line_does_not_serve(
    replay: Replay, line: str, named: str
) -> None:
    code, _, error, found = replay(f"{GOOD}\n{line}\n\n")
    assert code == 10
    assert named in error
    assert "remedy" in error
    assert found == {}


@pytest.mark.parametrize(
    "options",
    [
        ("--alpha", 0),
        ("--alpha", 1.5),
        ("--margin", 3),
        ("--loss-margin", -3),
        ("--weight", 1),
        ("--latency-margin", 2),
        ("--latency-quantile", 1),
        ("--ratio-alpha", 0),
    ],
)
def test_replay_is_refused_when_an_option_is_out_of_range(
    replay: Replay, options: tuple[object, ...]
) -> None:
    code, _, error, _ = replay(GOOD, *options)
    assert code == 10
    assert str(options[0]) in error
    assert "remedy" in error


def test_replay_is_refused_when_latencies_are_counted_by_different_bounds(replay: Replay) -> None:
    one, other = timed(1.0, 2, 8)
    other["candidate"]["latencyMs"]["bounds"] = [1, 2, 5, 10, 25, 50, 100, 500]
    code, _, error, _ = replay([one, other])
    assert code == 10
    assert "bounds" in error


def test_replay_is_refused_when_there_are_no_windows(replay: Replay, tmp_path: Path) -> None:
    assert replay("\n\n")[0] == 10
    code, _, error, _ = replay(GOOD, "--windows", tmp_path / "absent.jsonl")
    assert code == 10
    assert "absent.jsonl" in error
    code, _, error, _ = replay(GOOD, "--json", tmp_path / "absent" / "out.json")
    assert code == 10
    assert "out.json" in error
