"""Times and numbers as people read them."""

from collections.abc import Sequence


def moment(wire: str) -> str:
    """A time of the wire in seconds, with a blank instead of T."""
    date, _, clock = wire.partition("T")
    if not clock:
        return wire or "-"
    return f"{date} {clock.removesuffix('Z').split('.')[0].split('+')[0]}Z"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows under each other, the first one as their head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
