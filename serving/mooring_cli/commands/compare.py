"""compare replay: candidate against stable over counted windows, for people."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mooring_cli.outcome import CommandFailed, write_result
from mooring_model.termination import ExitCode

if TYPE_CHECKING:
    from mooring_replay.comparison import CompareReplay

app = typer.Typer(help="Compare a candidate with stable over counts.", no_args_is_help=True)


@app.callback()
def compare() -> None:
    """Compare a candidate with stable over counts."""  # with a callback, typer keeps the verb


@app.command("replay")
def replay_(
    windows: Annotated[Path, typer.Option(help="Counts of both arms, one JSON object a window.")],
    alpha: Annotated[
        float, typer.Option(help="Chance of ever giving a wrong verdict, all metrics together.")
    ] = 0.01,
    margin: Annotated[
        float, typer.Option(help="Difference of the shares of errors that nobody cares about.")
    ] = 0.002,
    loss_margin: Annotated[
        float, typer.Option(help="Difference of the mean losses that nobody cares about.")
    ] = 0.02,
    latency_margin: Annotated[
        float,
        typer.Option(help="Difference of the shares of slow answers that nobody cares about."),
    ] = 0.02,
    latency_quantile: Annotated[
        float, typer.Option(help="Slow is what is above this quantile of stable's answers so far.")
    ] = 0.95,
    weight: Annotated[
        float | None, typer.Option(help="The candidate's announced share, if there is one.")
    ] = None,
    ratio_alpha: Annotated[
        float, typer.Option(help="Chance of blaming an announced share that is kept.")
    ] = 0.0005,
    out: Annotated[
        Path | None, typer.Option("--json", help="Where the result is written as JSON.")
    ] = None,
) -> None:
    """Tell when the candidate would have been rolled back or promoted."""
    from mooring_replay.comparison import CompareSettings, replay_comparison
    from mooring_replay.counted import read_windows
    from mooring_replay.errors import ReplayRefused

    try:
        settings = CompareSettings(
            alpha, margin, loss_margin, latency_margin, latency_quantile, weight, ratio_alpha
        )
        found = replay_comparison(read_windows(windows), settings)
    except ReplayRefused as error:
        raise CommandFailed(ExitCode.REFUSED, error.message, error.remedy) from error
    if out is not None:
        write_result(out, json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
    typer.echo(_summary(found))


def _summary(found: "CompareReplay") -> str:
    count = len(found.looks)
    at = count if found.window is None else found.window
    decided = f"in {count} windows" if found.window is None else f"at window {at} of {count}"
    lines = [f"{found.verdict} {decided}, alpha {found.settings.alpha:g}"]
    for name, look in found.looks[at - 1].items():
        result = look.found
        estimate = "unknown" if result.estimate is None else f"{result.estimate:+.4f}"
        lines.append(
            f"  {name}: {result.verdict}, candidate - stable {estimate}"
            f" (limits {result.lower:+.4f} to {result.upper:+.4f}, margin {look.margin:g},"
            f" n={result.n_candidate:,} against {result.n_stable:,})"
        )
    if found.mismatch is not None:
        lines.append(
            f"  sample ratio: since window {found.mismatch} the arms' counts contradict the"
            " announced share; find out where requests go before you trust the verdict"
        )
    return "\n".join(lines)
