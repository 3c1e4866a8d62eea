"""Every watched column with its effects, as a table."""

from collections.abc import Sequence

from mooring_profile import StreamKind
from mooring_replay.report.readings import Reading
from mooring_replay.report.svg import escape
from mooring_replay.result import Alarm

_HEADS = (
    "column", "alarm at row", "since row", "rows compared", "PSI", "JS", "KS", "W1, sd",
    "tolerance", "design effect",
)  # fmt: skip


def effects_table(readings: Sequence[Reading]) -> str:
    """The section with the table."""
    heads = "".join(f"<th>{head}</th>" for head in _HEADS)
    rows = "".join(_row(reading) for reading in readings)
    return (
        "<h2>Effects</h2><p class='small'>Rows since the change, or the whole stream where there "
        "was none, against the reference; in grey what 5 % of such samples exceed without a "
        "change. PSI: population stability index, JS: Jensen-Shannon, KS: Kolmogorov-Smirnov, W1: "
        "Wasserstein.</p><section class='card wide'>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _row(reading: Reading) -> str:
    told = reading.divergences
    cells = [
        f"<td>{escape(reading.name)}</td>",
        f"<td>{'<br>'.join(_alarm(alarm) for alarm in reading.alarms)}</td>",
        f"<td>{reading.since_row:,}</td>" if reading.alarms else "<td></td>",
        f"<td>{reading.after.rows:,}</td>",
        _measured(told.psi, None),
        _measured(told.js, told.js_null95),
        _measured(told.ks, told.ks_null95),
        _measured(told.wasserstein, told.wasserstein_null95),
        f"<td>{100 * reading.profile.tolerance:.2g} %</td>",
        f"<td>{reading.profile.design_effect:.2g}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _alarm(alarm: Alarm) -> str:
    if alarm.kind is StreamKind.DATA_QUALITY:
        return f"<span class='broken'>{alarm.row:,} quality</span>"
    return f"<span class='strong'>{alarm.row:,} drift</span>"


def _measured(value: float | None, null: float | None) -> str:
    if value is None:
        return "<td></td>"
    beside = "" if null is None else f" <small>{null:.3f}</small>"
    return f"<td>{value + 0.0 if abs(value) >= 0.0005 else 0.0:.3f}{beside}</td>"
