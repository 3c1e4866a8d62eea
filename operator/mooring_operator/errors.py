"""The operator's exceptions. Each one says how it is handled, so that no caller has to guess.

    MooringError
    ├── Transient            back off and try again
    │   └── Conflict         someone else wrote first: look again at once
    ├── Refused              the API server said no: back off slowly, tell the user its sentence
    ├── NotFound             the object is not there (any more)
    ├── AlreadyExists        the object to be created is there already
    ├── Unparsable           a resource does not fit our types: a human must change it
    ├── PodRefused           a pod said no to a sync message
    └── LeadershipLost       this process may not write any more

Foreign exceptions are mapped to these in one module per foreign library (`io/`).
"""


class MooringError(Exception):
    """Anything that the operator expects to go wrong."""


class Transient(MooringError):
    """Something outside is unavailable for now. Back off and try again."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the other side asked us to wait; None: it did not say."""


class Conflict(Transient):
    """Someone else wrote the object since we read it. Read it again, decide again."""


class Refused(MooringError):
    """The API server refused a request for good: forbidden, invalid, over quota."""


class NotFound(MooringError):
    """The object does not exist."""


class AlreadyExists(MooringError):
    """The object that was to be created exists."""


class Unparsable(MooringError):
    """A resource does not fit our types. Only an older schema can let such a one in."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        """Path of the first bad field, such as `spec.rollout.steps.0.weight`."""


class PodRefused(MooringError):
    """A pod refused a sync message: restarted, replaced, or it knows a newer one."""


class LeadershipLost(MooringError):
    """This process is not the leader (any more) and must not write."""
