"""A rate limit as a value: so many at once, so many a second in the long run."""


class TokenBucket:
    """Hands out tokens, also on credit: who gets one on credit waits for the returned time."""

    def __init__(self, *, rate: float, burst: int, now: float) -> None:
        """Starts full.

        Args:
            rate: tokens a second, above 0.
            burst: tokens that can be taken at once.
            now: seconds on the caller's monotonic clock.
        """
        self._rate, self._burst = rate, float(burst)
        self._tokens, self._at = float(burst), now

    def part(self, share: float, now: float) -> "TokenBucket":
        """A limit of its own that gives a share of this one's rate and burst; starts full."""
        burst = max(1, int(self._burst * share))
        return TokenBucket(rate=self._rate * share, burst=burst, now=now)

    def reserve(self, now: float) -> float:
        """Takes a token; returns the seconds to wait until it is good, 0 when it is now."""
        self._refill(now)
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)

    def take(self, now: float) -> bool:
        """Takes a token only if there is one now."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = max(self._at, now)
