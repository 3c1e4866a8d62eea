"""Labels that arrive at a worker, judged by the pod's one desk in the supervisor."""

import asyncio
from collections.abc import Mapping

import orjson

from mooring_serving.errors import RequestRefused
from mooring_serving.feedback import Feedback
from mooring_serving.workers.channel import Channel, ChannelFull, Kind

_MOST_WAITING = 64
"""Feedback requests of a worker that may wait for the desk; one more is answered 503."""
_SECONDS = 5.0
"""Longest wait for the desk."""


class RemoteDesk:
    """The worker's side. Owned by the event loop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0

    async def take(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """Send labels to the desk.

        Raises:
            RequestRefused: What the desk says, or 503 when it is away or busy.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise _away("too many labels wait to be counted")
        self._number = number = self._number + 1
        verdict: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = verdict
        try:
            self._channel.send(Kind.LABELS, number, orjson.dumps(document))
            async with asyncio.timeout(_SECONDS):
                return _read_verdict(await verdict)
        except (TimeoutError, ChannelFull) as error:
            raise _away("labels cannot be counted just now") from error
        finally:
            del self._waiting[number]

    def settle(self, number: int, verdict: bytes) -> None:
        """The desk answered; late answers are nobody's."""
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(verdict)


def judge(desk: Feedback, labels: bytes) -> bytes:
    """The supervisor's side: what the desk makes of a worker's frame."""
    try:
        return orjson.dumps({"taken": desk.take(orjson.loads(labels))})
    except RequestRefused as refusal:
        return orjson.dumps(
            {
                "message": str(refusal),
                "status": refusal.status,
                "retryAfter": refusal.retry_after,
            }
        )


def _read_verdict(raw: bytes) -> Mapping[str, object]:
    document = orjson.loads(raw)
    if "taken" in document:
        return document["taken"]
    raise RequestRefused(
        document["message"], status=document["status"], retry_after=document["retryAfter"]
    )


def _away(message: str) -> RequestRefused:
    return RequestRefused(f"{message}; send them again later", status=503, retry_after=1)
