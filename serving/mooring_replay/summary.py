"""A replay in a screenful of text."""

from collections.abc import Sequence

from mooring_profile import StreamKind
from mooring_replay.result import Replay

_KINDS = {StreamKind.DRIFT: "drift", StreamKind.DATA_QUALITY: "data quality"}


def headline(found: Replay) -> str:
    """The verdict in a sentence."""
    if not found.alarms:
        return f"No drift in {found.rows:,} rows."
    drifted = _columns(found, StreamKind.DRIFT)
    broken = _columns(found, StreamKind.DATA_QUALITY)
    parts: list[str] = []
    if drifted:
        parts.append(f"{_counted(drifted)} drifted")
    if broken:
        parts.append(f"{_counted(broken)} in data quality")
    first = found.alarms[0]
    return (
        f"{' and '.join(parts)}, of {len(found.plan.columns)} watched; the first alarm is at row "
        f"{first.row:,}, the change began about row {min(a.change_row for a in found.alarms):,}."
    )


def announced(found: Replay) -> str:
    """What the alarms are worth, in a sentence."""
    settings = found.settings
    rows = settings.false_alarm_every * settings.window
    return (
        f"Announced: on average {settings.false_alarm_every:,.0f} windows of {settings.window:,} "
        f"rows ({rows:,.0f} rows) or more between false alarms of all columns together."
    )


def summarize(found: Replay) -> str:
    """The replay for a terminal."""
    lines = [headline(found), announced(found), ""]
    if found.alarms:
        rows = [("column", "kind", "alarm at row", "since about row", "what moved")]
        rows += [
            (
                alarm.feature if alarm.segment is None else f"{alarm.feature} ({alarm.segment})",
                _KINDS[alarm.kind],
                f"{alarm.row:,}",
                f"{alarm.change_row:,}",
                alarm.text,
            )
            for alarm in found.alarms
        ]
        lines += [*_table(rows), ""]
    lines += [f"not watched: {item.column}: {item.reason}" for item in found.plan.unwatched]
    lines += found.notes
    return "\n".join(lines)


def _columns(found: Replay, kind: StreamKind) -> list[str]:
    return list(dict.fromkeys(alarm.feature for alarm in found.alarms if alarm.kind is kind))


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} column{'' if len(names) == 1 else 's'}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            text.rjust(width) if place in (2, 3) else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
