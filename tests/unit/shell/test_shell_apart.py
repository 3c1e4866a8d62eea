import asyncio
import threading

from mooring_operator.handlers.apart import Apart, LeftBehind


async def test_work_apart_tells_how_it_ended() -> None:
    places: list[int] = []

    async def fine() -> None:
        places.append(threading.get_ident())

    async def fails() -> None:
        raise ValueError("a stream failed")

    apart = Apart()
    assert await apart.run(fine, lambda: False) is None
    assert places != [threading.get_ident()]
    assert isinstance(await apart.run(fails, lambda: False), ValueError)
    assert await apart.ended(0.1)


async def test_work_that_does_not_end_is_left_behind() -> None:
    release, begun = threading.Event(), threading.Event()

    async def hangs() -> None:
        begun.set()
        await asyncio.get_running_loop().run_in_executor(None, release.wait)

    apart = Apart()
    ended = await apart.run(hangs, begun.is_set)
    assert isinstance(ended, LeftBehind)
    assert not await apart.ended(0.01)
    release.set()
    assert await apart.ended(10.0)
