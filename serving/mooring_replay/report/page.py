"""The page: verdict, evidence over time, before and after, quality, effects, how to read it."""

from collections.abc import Sequence

from mooring_profile import FeatureKind, StreamKind
from mooring_replay.report.courses import category_course, quantile_course
from mooring_replay.report.distributions import category_bars, numeric_overlay
from mooring_replay.report.lanes import evidence_lanes
from mooring_replay.report.quality import quality_section
from mooring_replay.report.readings import Reading, moved, read
from mooring_replay.report.style import STYLE
from mooring_replay.report.svg import escape
from mooring_replay.report.table import effects_table
from mooring_replay.result import Replay
from mooring_replay.summary import announced, headline, onset

MAX_CARDS = 24
"""Columns drawn before and after; the table has all."""
MAX_LANES = 60


def write_page(found: Replay) -> str:
    """The report of a replay as one HTML document."""
    readings = read(found)
    drifted = [item for item in readings if item.alarm_of(StreamKind.DRIFT) is not None]
    parts = [
        _opening(found),
        _facts(found, readings),
        _lanes(found, readings),
        _cards(found, drifted),
        quality_section(found, readings),
        effects_table(readings),
        _unwatched(found),
        _unarmed(found),
        _reading_aid(found),
    ]
    title = escape(f"Drift: {found.stream} against {found.reference}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _opening(found: Replay) -> str:
    moved = [
        f"<b>{escape(alarm.feature)}</b>{escape(f' ({alarm.segment})' if alarm.segment else '')}"
        for alarm in found.alarms
    ]
    names = list(dict.fromkeys(moved))
    told = f"<p class='lead'>{escape(onset(found))} Changed: {', '.join(names)}.</p>"
    return (
        f"<p class='eyebrow'>{escape(found.stream)}, judged against {escape(found.reference)}</p>"
        f"<h1>{escape(headline(found))}</h1>{told if names else ''}"
        f"<p class='small'>{escape(announced(found))}</p>"
    )


def _facts(found: Replay, readings: Sequence[Reading]) -> str:
    settings = found.settings
    facts = (
        (f"{found.rows:,}", "rows judged"),
        (f"{found.windows:,}", f"windows of {settings.window:,} rows"),
        (f"{found.profile.rows:,}", "rows of reference"),
        (f"{len(readings):,}", "columns watched"),
        (f"{settings.false_alarm_every:,.0f}", "windows between false alarms, at least"),
    )
    cells = "".join(
        f"<div><b>{value}</b><span class='small'>{what}</span></div>" for value, what in facts
    )
    return f"<div class='facts'>{cells}</div>"


def _lanes(found: Replay, readings: Sequence[Reading]) -> str:
    shown = readings[:MAX_LANES]
    more = len(readings) - len(shown)
    rest = f"<p class='small'>{more} more columns, all without alarm, are in the table.</p>"
    return (
        "<h2>When did which column change?</h2>"
        "<p class='small'>A dot is the alarm, the upright line where the change is estimated to "
        "have begun.</p>"
        f"<section class='card'>{evidence_lanes(found, shown, StreamKind.DRIFT)}"
        f"{rest if more > 0 else ''}</section>"
    )


def _cards(found: Replay, drifted: Sequence[Reading]) -> str:
    if not drifted:
        return ""
    cards = "".join(_card(found, reading) for reading in drifted[:MAX_CARDS])
    more = len(drifted) - MAX_CARDS
    rest = f"<p class='small'>{more} more columns that drifted are in the table.</p>"
    return (
        "<h2>Before and after</h2><p class='small'><span class='key ref'></span>reference"
        "<span class='key now'></span>since the change</p>"
        f"{cards}{rest if more > 0 else ''}"
    )


def _card(found: Replay, reading: Reading) -> str:
    alarm = reading.alarm_of(StreamKind.DRIFT)
    if alarm is None:
        return ""
    numeric = reading.profile.kind is FeatureKind.NUMERIC
    before = numeric_overlay(reading) if numeric else category_bars(reading)
    course = (
        quantile_course(reading, found.rows) if numeric else category_course(reading, found.rows)
    )
    what = (
        "median (line), middle half and middle 80 %; dotted: reference quartiles"
        if numeric
        else "the categories that moved most; dotted: reference"
    )
    return (
        "<section class='card'>"
        f"<div class='head'><h3>{escape(reading.name)}</h3><span class='tag'>drift</span>"
        f"<span class='small'>since about row {alarm.change_row:,}, alarm at row {alarm.row:,}"
        f"</span></div><p>{escape(moved(reading))}</p>"
        f"<div class='pair'><figure><figcaption>share of rows by value</figcaption>{before}"
        f"</figure><figure><figcaption>over time: {what}</figcaption>{course}</figure></div>"
        "</section>"
    )


def _unwatched(found: Replay) -> str:
    if not found.plan.unwatched:
        return ""
    items = "".join(
        f"<li><b>{escape(item.column)}</b>: {escape(item.reason)}. "
        f"<span class='small'>To watch it: {escape(item.remedy)}.</span></li>"
        for item in found.plan.unwatched
    )
    return f"<h2>Not watched</h2><ul>{items}</ul>"


def _unarmed(found: Replay) -> str:
    if not found.unarmed:
        return ""
    items = "".join(
        f"<li><b>{escape(item.stream)}</b> ({escape(item.signal.value)}): "
        f"{escape(item.reason or '')}</li>"
        for item in found.unarmed
    )
    return (
        "<h2>Not armed</h2><p class='small'>These would have alarmed on the reference itself.</p>"
        f"<ul>{items}</ul>"
    )


def _reading_aid(found: Replay) -> str:
    settings = found.settings
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    return (
        "<h2>How to read this</h2><ul>"
        f"<li>The interval between false alarms holds for all {len(found.streams)} streams of all "
        "columns together, however they depend on each other: looking at more columns, or more "
        "often, does not make false alarms more frequent. Within t windows the probability of any "
        f"false alarm is at most t / {settings.false_alarm_every:,.0f}.</li>"
        f"<li>A change of a share by less than the tolerance, {100 * settings.tolerance:g} % of "
        "the rows or what the reference itself leaves open, is nobody's concern and never "
        "alarms, however many rows there are.</li>"
        "<li>Evidence is a Shiryaev-Roberts statistic, drawn as the logarithm's part of its alarm "
        "threshold. It rises a little in quiet times too; only crossing the line counts.</li>"
        "<li>PSI, Jensen-Shannon, Kolmogorov-Smirnov and Wasserstein are for people and never "
        "alarm. Each is told with what it exceeds in 5 % of samples of as many rows <i>without</i> "
        "a change; PSI has its bias taken out and is near 0 without one.</li>"
        "<li>A change in what the inputs mean for the label leaves all of this as it was: only "
        "labels show it.</li>"
        f"{notes}</ul>"
    )
