"""One probe from request to result: fetched, judged, kept in the history."""

from collections.abc import Callable
from typing import TypeVar

from proxywatch.errors import ParseError
from proxywatch.probe import outcome
from proxywatch.probe.history import History
from proxywatch.probe.outcome import Transfer
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request
from proxywatch.probe.transfer import Transfers

_Fact = TypeVar("_Fact")


class Prober:
    """Probes through one proxy.

    Attributes:
        proxy: The proxy.
        transfers: Makes the transfers.
    """

    def __init__(self, proxy: Proxy, transfers: Transfers, own_traffic: OwnTraffic, history: History) -> None:
        """Make probes through a proxy.

        Args:
            proxy: The proxy.
            transfers: Makes the transfers.
            own_traffic: Notes their endpoints.
            history: Keeps their results.
        """
        self.proxy = proxy
        self.transfers = transfers
        self._own_traffic = own_traffic
        self._history = history

    @property
    def bundle(self) -> str | None:
        """The file of the certificate authorities that are trusted; None when there is none."""
        return self.transfers.bundle

    async def probe(self, request: Request) -> Transfer:
        """Make one transfer through the proxy.

        Raises:
            SourceError: The proxy's password cannot be read.
        """
        transfer = outcome.judge(await self.transfers.fetch(request, self.proxy, self._own_traffic))
        self._history.record(transfer)
        return transfer

    async def ask(self, request: Request, read: Callable[[bytes], _Fact]) -> tuple[Transfer, _Fact | None]:
        """Make one transfer through the proxy and read its body; a body that cannot be read is a failure.

        Raises:
            SourceError: The proxy's password cannot be read.
        """
        transfer, fact = await self._ask(request, read, self.proxy)
        self._history.record(transfer)
        return transfer, fact

    async def ask_directly(self, request: Request, read: Callable[[bytes], _Fact]) -> _Fact | None:
        """The same without the proxy, where failing may be as it should; not in the history."""
        return (await self._ask(request, read, None))[1]

    async def _ask(
        self, request: Request, read: Callable[[bytes], _Fact], proxy: Proxy | None
    ) -> tuple[Transfer, _Fact | None]:
        exchange = await self.transfers.fetch(request, proxy, self._own_traffic)
        transfer = outcome.judge(exchange)
        if not transfer.ok:
            return transfer, None
        try:
            return transfer, read(exchange.body)
        except ParseError:
            return transfer.failed("transfer", "wrong_body"), None
