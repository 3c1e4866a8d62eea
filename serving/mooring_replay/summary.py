"""A replay in a screenful of text."""

from collections.abc import Sequence

from mooring_profile import StreamKind
from mooring_replay.result import Replay

RECONSTRUCTION = "@reconstruction"
_KINDS = {StreamKind.DRIFT: "drift", StreamKind.DATA_QUALITY: "data quality"}


def headline(found: Replay) -> str:
    """The verdict in a sentence."""
    watched = len(found.plan.columns)
    if not found.alarms:
        return f"Nothing changed: {_counted(watched)}, {found.rows:,} rows, no alarm."
    drifted = _columns(found, StreamKind.DRIFT)
    broken = _columns(found, StreamKind.DATA_QUALITY)
    parts: list[str] = []
    if drifted:
        parts.append(f"{len(drifted)} of {_counted(watched)} drifted")
    if broken:
        what = f"{len(broken)}" if drifted else f"{len(broken)} of {_counted(watched)}"
        parts.append(f"{what} lost data quality")
    apart = sum(1 for alarm in found.alarms if alarm.segment is not None)
    if apart:
        parts.append(f"{apart} change{'' if apart == 1 else 's'} within segments")
    if any(alarm.segment is None and alarm.feature == RECONSTRUCTION for alarm in found.alarms):
        parts.append("columns depend on each other otherwise")
    return f"{'; '.join(parts)}."


def onset(found: Replay) -> str:
    """When it began, in a sentence; empty without an alarm."""
    if not found.alarms:
        return ""
    rows = sorted(alarm.change_row for alarm in found.alarms)
    middle = rows[(len(rows) - 1) // 2]
    return f"First alarm at row {found.alarms[0].row:,}; changed since about row {middle:,}."


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
    lines = [f"{headline(found)} {onset(found)}".rstrip(), announced(found), ""]
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
    lines += [f"not armed: {item.stream} ({item.signal}): {item.reason}" for item in found.unarmed]
    lines += found.notes
    return "\n".join(lines)


def _columns(found: Replay, kind: StreamKind) -> set[str]:
    """The columns that alarm over all rows."""
    return {
        alarm.feature
        for alarm in found.alarms
        if alarm.kind is kind and alarm.segment is None and alarm.feature in found.plan.columns
    }


def _counted(columns: int) -> str:
    return f"{columns} column{'' if columns == 1 else 's'}"


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
