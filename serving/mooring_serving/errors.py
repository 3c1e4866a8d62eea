"""What can go wrong with a request; each kind is a status of each transport.

ServingError
  RequestRefused          the client's fault, 4xx; the message names the tensor or field
  Overloaded              too much work in hand, 503 with Retry-After
  DeadlineExceeded        it waited for longer than it may, 504; it was not predicted
  ModelFault              our model failed on a valid request, 500
    InvalidOutput         it answered, but with a value that is not finite or of a wrong length
"""

from mooring_serving.refusals import Refusal, reason_of


class ServingError(Exception):
    """A request without an answer."""


class RequestRefused(ServingError):
    """A request that the client must change, or send later.

    Attributes:
        status: 400, 404, 405, 413, 415, 429, 503 or 504.
        retry_after: Seconds, for 429 and 503.
        reason: What the metrics count it as.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        retry_after: int | None = None,
        reason: Refusal | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.reason = reason or reason_of(status)


class Overloaded(RequestRefused):
    """No room for more work now."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message, status=503, retry_after=retry_after, reason=Refusal.OVERLOADED)


class DeadlineExceeded(RequestRefused):
    """The request waited for longer than its deadline, and nothing was predicted."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=504, retry_after=1, reason=Refusal.DEADLINE)


class ModelFault(ServingError):
    """The model failed on a valid request: 500, counted as an error of this revision."""


class InvalidOutput(ModelFault):
    """The model answered with a value that is not finite, or too many or too few of them."""
