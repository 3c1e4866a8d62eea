"""Loading a model on a thread, so that probes and signals are answered meanwhile."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path

from mooring_serving.loading import WarmModel, load_model
from mooring_serving.settings import ServerSettings


async def load_warm(
    directory: Path, settings: ServerSettings, terminated: asyncio.Event
) -> WarmModel | None:
    """The warm model, or None when told to stop before it was warm.

    Raises:
        PackageRefused: The package cannot be used.
        WarmUpFailed: It loads but does not predict.
    """
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[WarmModel] = loop.create_future()

    def settle(warm: WarmModel | None, error: BaseException | None) -> None:
        if loaded.done():
            return
        if error is not None:
            loaded.set_exception(error)
        elif warm is not None:
            loaded.set_result(warm)

    def load() -> None:
        warm: WarmModel | None = None
        failure: BaseException | None = None
        try:
            warm = load_model(directory, settings)
        except Exception as error:  # noqa: BLE001 - carried over to the loop's thread, raised there
            failure = error
        with suppress(RuntimeError):  # the loop is closed: the process was told to stop
            loop.call_soon_threadsafe(settle, warm, failure)

    threading.Thread(target=load, name="loading", daemon=True).start()
    stopped = loop.create_task(terminated.wait())
    await asyncio.wait({loaded, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.done() and not loaded.done():
        return None
    stopped.cancel()
    return loaded.result()
