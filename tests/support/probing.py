"""What the tests of probes share: one probe from request to verdict, on the loop that the daemon runs on."""

import asyncio
from collections.abc import Callable

import uvloop

from proxywatch.probe.history import History
from proxywatch.probe.outcome import Phases, Transfer
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.prober import Prober
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request
from proxywatch.probe.transfer import Transfers


def prober(proxy: Proxy, bundle: str | None = None) -> Prober:
    """One with a memory of its own."""
    return Prober(proxy, Transfers(bundle=bundle), OwnTraffic(), History())


def request(url: str, timeout: float = 5.0, limit: int = 65536, **more: object) -> Request:
    """As the latency probes make it."""
    return Request("latency", url, timeout, limit, **more)  # type: ignore[arg-type]


def probe(proxy: Proxy, asked: Request, bundle: str | None = None) -> Transfer:
    """Make one probe."""

    async def once() -> Transfer:
        maker = prober(proxy, bundle)
        try:
            return await maker.probe(asked)
        finally:
            await maker.transfers.aclose()

    return uvloop.run(once())


def success(asked: Request, duration: float = 0.1, at: float = 1000.0, **more: object) -> Transfer:
    """A probe that went well, three tenths of it in SOCKS."""
    phases = Phases(duration * 0.1, duration * 0.3, None, duration * 0.4, duration * 0.2)
    return Transfer("id", asked.kind, asked.url, at, duration, phases, status=200, **more)  # type: ignore[arg-type]


def failure(asked: Request, stage: str = "socks", reason: str = "rule", at: float = 1000.0) -> Transfer:
    """A probe that the proxy's rule refused."""
    return Transfer("id", asked.kind, asked.url, at, 0.1, Phases(0.01), stage=stage, reason=reason)


class FakeProber(Prober):
    """Answers as it is told to; remembers what it was asked."""

    def __init__(self, act: Callable[[Request], Transfer]) -> None:
        super().__init__(Proxy(), Transfers(), OwnTraffic(), History())
        self.act = act
        self.asked: list[Request] = []
        self.during: Callable[[], None] = lambda: None

    async def probe(self, asked: Request) -> Transfer:
        self.asked.append(asked)
        self.during()
        await asyncio.sleep(0)
        return self.act(asked)
