"""drift replay, drift report: the detector over a table, for people."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mooring_cli.outcome import CommandFailed, write_result
from mooring_model.termination import ExitCode

if TYPE_CHECKING:
    from mooring_replay.result import Replay

app = typer.Typer(help="Replay the drift detector over a table.", no_args_is_help=True)


class OrderOption(StrEnum):
    """What the order of the reference's rows means."""

    ARRIVAL = "arrival"
    NONE = "none"


@dataclass(frozen=True)
class ReplayOptions:
    """What `mooring drift` was asked for."""

    reference: Path
    stream: Path
    window: int
    false_alarm_every: float
    tolerance: float
    time_column: str
    order: OrderOption
    feature: list[str]
    score: str
    categorical: list[str]
    ignore: list[str]
    segment: list[str]
    multivariate: bool
    self_test: bool


Reference = Annotated[Path, typer.Option(help="Rows that are normal: Parquet or CSV.")]
Stream = Annotated[Path, typer.Option(help="Rows to judge, in order of arrival.")]
Window = Annotated[int, typer.Option(min=1, help="Rows judged at once.")]
FalseAlarmEvery = Annotated[
    float,
    typer.Option(min=1, help="Windows between false alarms of all columns together, on average."),
]
Tolerance = Annotated[
    float, typer.Option(min=0, max=1, help="Smallest change of a share that anybody cares about.")
]
TimeColumn = Annotated[
    str, typer.Option(help="The time of each reference row: seasons are learnt from it.")
]
Order = Annotated[
    OrderOption, typer.Option(help="What the order of the reference's rows means without times.")
]
Feature = Annotated[
    list[str], typer.Option(help="Watch exactly these columns; repeat it. Default: all that can.")
]
Score = Annotated[str, typer.Option(help="The column with the model's output.")]
Categorical = Annotated[
    list[str], typer.Option(help="A column whose numbers are names; repeat it.")
]
Ignore = Annotated[
    list[str], typer.Option("--ignore", "--exclude", help="A column not to watch; repeat it.")
]
SegmentBy = Annotated[
    list[str],
    typer.Option("--segment", help="Watch all columns also within this column's frequent values."),
]
Multivariate = Annotated[
    bool, typer.Option(help="Also watch how numeric columns depend on each other.")
]
SelfTest = Annotated[
    bool, typer.Option(help="Replay the reference first; arm no stream that alarms on it.")
]


@app.command("replay")
def replay_(
    reference: Reference,
    stream: Stream,
    window: Window = 250,
    false_alarm_every: FalseAlarmEvery = 1000,
    tolerance: Tolerance = 0.02,
    time_column: TimeColumn = "",
    reference_order: Order = OrderOption.ARRIVAL,
    feature: Feature = [],  # noqa: B006 - typer copies it, and takes no tuple of any length
    score: Score = "",
    categorical: Categorical = [],  # noqa: B006 - as above
    ignore: Ignore = [],  # noqa: B006 - as above
    segment: SegmentBy = [],  # noqa: B006 - as above
    multivariate: Multivariate = False,
    self_test: SelfTest = True,
    out: Annotated[
        Path | None, typer.Option("--json", help="Where the result is written as JSON.")
    ] = None,
) -> None:
    """Tell when each column would have alarmed, and since when it has changed."""
    options = ReplayOptions(
        reference, stream, window, false_alarm_every, tolerance, time_column, reference_order,
        feature, score, categorical, ignore, segment, multivariate, self_test,
    )  # fmt: skip
    found = _run(options)
    if out is not None:
        write_result(out, json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
    from mooring_replay.summary import summarize

    typer.echo(summarize(found))


@app.command("report")
def report_(
    reference: Reference,
    stream: Stream,
    html: Annotated[Path, typer.Option(help="Where the page is written.")],
    window: Window = 250,
    false_alarm_every: FalseAlarmEvery = 1000,
    tolerance: Tolerance = 0.02,
    time_column: TimeColumn = "",
    reference_order: Order = OrderOption.ARRIVAL,
    feature: Feature = [],  # noqa: B006 - typer copies it, and takes no tuple of any length
    score: Score = "",
    categorical: Categorical = [],  # noqa: B006 - as above
    ignore: Ignore = [],  # noqa: B006 - as above
    segment: SegmentBy = [],  # noqa: B006 - as above
    multivariate: Multivariate = False,
    self_test: SelfTest = True,
) -> None:
    """Write one HTML page that shows what changed, since when, before and after."""
    options = ReplayOptions(
        reference, stream, window, false_alarm_every, tolerance, time_column, reference_order,
        feature, score, categorical, ignore, segment, multivariate, self_test,
    )  # fmt: skip
    found = _run(options)
    from mooring_replay.report.page import write_page
    from mooring_replay.summary import headline

    write_result(html, write_page(found))
    typer.echo(f"{html}: {headline(found)}")


def _run(options: ReplayOptions) -> "Replay":
    """Replays.

    Raises:
        CommandFailed: a table or an option does not serve.
    """
    from mooring_replay.run import replay
    from mooring_replay.settings import ReplaySettings, RowOrder
    from mooring_replay.tables import open_table

    with _refusals():
        settings = ReplaySettings(
            window=options.window,
            false_alarm_every=options.false_alarm_every,
            tolerance=options.tolerance,
            time_column=options.time_column or None,
            order=RowOrder(options.order.value),
            features=tuple(options.feature),
            score=options.score or None,
            categorical=tuple(options.categorical),
            ignored=tuple(options.ignore),
            segments=tuple(options.segment),
            multivariate=options.multivariate,
            self_test=options.self_test,
        )
        return replay(open_table(options.reference), open_table(options.stream), settings)


@contextmanager
def _refusals() -> Generator[None]:
    from mooring_replay.errors import ReplayRefused

    try:
        yield
    except ReplayRefused as error:
        raise CommandFailed(ExitCode.REFUSED, error.message, error.remedy) from error
