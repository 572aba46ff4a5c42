"""What the tests of probes share: one probe from request to verdict, on the loop that the daemon runs on."""

import uvloop

from proxywatch.parse.outcome import Transfer
from proxywatch.prober import Prober
from proxywatch.source.own_traffic import OwnTraffic
from proxywatch.source.proxy import Proxy
from proxywatch.source.transfer import Request, Transfers
from proxywatch.state.history import History


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
