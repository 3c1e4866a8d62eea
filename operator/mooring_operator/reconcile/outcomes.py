"""What a piece of work came to, as a value: whatever it raises stays with it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

ResultT = TypeVar("ResultT")


async def settled(awaitable: Awaitable[ResultT]) -> ResultT | BaseException:
    """What a piece of work returned or raised, as a value."""
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.cancelled():
        return asyncio.CancelledError()
    error = task.exception()
    return task.result() if error is None else error
