"""A process that follows a log with the sessions' collector: LOG CHECKPOINT; ended by SIGTERM."""

import asyncio
import signal
import sys
from contextlib import suppress

from proxywatch.clock import SystemClock
from proxywatch.errors import SourceError
from proxywatch.exporter.collector import sessions
from proxywatch.probe.own_traffic import OwnTraffic


async def main(log: str, checkpoint: str) -> None:
    settings = sessions.Settings(log=log, start="beginning", checkpoint=checkpoint)
    collector = sessions.build(settings, SystemClock(), OwnTraffic())
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        while True:
            await collector.due()
            with suppress(SourceError):
                await collector.update()
    finally:
        await collector.close()


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main(*sys.argv[1:]))
