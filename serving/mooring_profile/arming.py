"""Which streams may alarm: what a replay of the reference's own blocks of time measured.

Pure data with its JSON form, a part of the reference profile; made by `selftest`.
"""

from dataclasses import dataclass

from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import Signal
from mooring_profile.fields import Fields


@dataclass(frozen=True)
class StreamTest:
    """How one stream of the detector behaved on its own reference.

    Attributes:
        stream: name of the feature profile.
        signal: which of its signals.
        alarms: of the replay.
        allowed: most alarms a window that its share of the announced false alarms allows.
        armed: whether it may alarm; a stream that may not is left out of the detector's family.
        reason: why it may not, for people; None where it may.
    """

    stream: str
    signal: Signal
    alarms: int
    allowed: float
    armed: bool
    reason: str | None

    def __post_init__(self) -> None:
        if self.armed != (self.reason is None):
            raise ProfileInvalid(
                f"selfTest: {self.stream!r} {self.signal} is armed: {self.armed}, and its reason "
                f"is {self.reason!r}; a stream has a reason where it is not armed, and only there"
            )

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "stream": self.stream,
            "signal": self.signal.value,
            "alarms": self.alarms,
            "allowed": self.allowed,
            "armed": self.armed,
            "reason": self.reason,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "StreamTest":
        """Reads the JSON form.

        Raises:
            ProfileInvalid: a field is absent, of the wrong type or out of its range.
        """
        return cls(
            stream=fields.text("stream"),
            signal=fields.choice("signal", Signal),
            alarms=fields.count("alarms"),
            allowed=fields.number("allowed"),
            armed=fields.flag("armed"),
            reason=None if fields.raw("reason") is None else fields.text("reason"),
        )


@dataclass(frozen=True)
class SelfTest:
    """A replay of the reference as windows of traffic, through the detector.

    Attributes:
        windows: replayed.
        window_rows: rows of each, about.
        false_alarm_windows: the expected windows between false alarms that the replay announced:
            as many as it had, so that about one alarm is allowed.
        alarms: of the family of armed streams.
        streams: the verdict on every stream of the detector.
    """

    windows: int
    window_rows: int
    false_alarm_windows: float
    alarms: int
    streams: tuple[StreamTest, ...]

    @property
    def alarm_rate(self) -> float:
        """Measured alarms a window of the armed family; 1 / `false_alarm_windows` are allowed."""
        return self.alarms / self.windows if self.windows else 0.0

    @property
    def refused(self) -> tuple[StreamTest, ...]:
        """The streams that may not alarm, each with its reason."""
        return tuple(test for test in self.streams if not test.armed)

    def is_armed(self, stream: str, signal: Signal) -> bool:
        """Whether a stream may alarm; one that was not tested may."""
        return all((test.stream, test.signal) != (stream, signal) for test in self.refused)

    def to_json(self) -> dict[str, object]:
        """Returns the JSON form."""
        return {
            "windows": self.windows,
            "windowRows": self.window_rows,
            "falseAlarmWindows": self.false_alarm_windows,
            "alarms": self.alarms,
            "streams": [test.to_json() for test in self.streams],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "SelfTest":
        """Reads the JSON form.

        Raises:
            ProfileInvalid: a field is absent, of the wrong type or out of its range.
        """
        return cls(
            windows=fields.count("windows"),
            window_rows=fields.count("windowRows"),
            false_alarm_windows=fields.number("falseAlarmWindows"),
            alarms=fields.count("alarms"),
            streams=tuple(StreamTest.from_fields(item) for item in fields.objects("streams")),
        )
