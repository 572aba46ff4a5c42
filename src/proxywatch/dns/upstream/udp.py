"""A resolver asked by UDP, and by TCP where an answer does not fit.

Every query has a socket of its own, so its port is the kernel's random choice; the socket is connected, so
the kernel drops what comes from elsewhere. Whatever else is not the answer is counted and waited past: a
forged or damaged packet must not end the query.
"""

import asyncio
import socket
from collections.abc import Callable
from random import Random

from proxywatch.dns import message
from proxywatch.dns.message import Question, Response
from proxywatch.dns.upstream.base import Upstream, UpstreamError, failure
from proxywatch.dns.upstream.dialer import Resolve
from proxywatch.errors import ParseError

_SPOOFED = 200
"""Packets that are not the answer, after which it is hardly chance any more: TCP cannot be forged so."""


class Udp:
    """One resolver."""

    def __init__(
        self,
        name: str,
        place: tuple[str, int],
        resolve: Resolve,
        tcp: Upstream,
        dice: Random,
        *,
        randomize_case: bool = True,
    ) -> None:
        """Name the resolver.

        Args:
            name: As in the settings.
            place: Its host and port.
            resolve: Gives the host's addresses.
            tcp: The same resolver, asked by TCP.
            dice: Must not be predictable.
            randomize_case: Whether names are spelled in random case.
        """
        self.name = name
        self._mismatched = 0
        self._host, self._port = place
        self._resolve = resolve
        self._tcp = tcp
        self._dice = dice
        self._randomize_case = randomize_case

    @property
    def mismatched(self) -> int:
        """Packets and messages that were not the answer to any query."""
        return self._mismatched + self._tcp.mismatched

    async def ask(self, question: Question) -> Response:
        """Ask by UDP; a truncated answer leads to TCP."""
        addresses = await self._resolve(self._host)
        if not addresses:
            raise UpstreamError("name", f"{self._host} has no address")
        try:
            response = await self._exchange(addresses[0], question)
        except OSError as error:
            raise failure(error) from error
        return await self._tcp.ask(question) if response is None else response

    async def close(self) -> None:
        """Only TCP keeps anything open."""
        await self._tcp.close()

    async def _exchange(self, address: str, question: Question) -> Response | None:
        """The answer, or None where TCP has to be asked."""
        loop = asyncio.get_running_loop()
        ident = self._dice.getrandbits(16)
        spelling = spelled(question.name, self._dice.getrandbits) if self._randomize_case else None
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0)
            sock.connect((address, self._port))
            sock.send(message.build_query(ident, question, spelling))
            for _ in range(_SPOOFED):
                wire = await loop.sock_recv(sock, message.LARGEST)
                if message.answers(wire, ident, question, spelling):
                    if wire[2] & message.TC >> 8:
                        return None
                    try:
                        return message.parse_response(wire, question)
                    except ParseError:
                        pass
                self._mismatched += 1
        return None


def spelled(name: bytes, bits: Callable[[int], int]) -> bytes:
    """The name, each letter upper or lower case by chance."""
    toss = bits(len(name))
    return bytes(
        byte ^ 0x20 if toss >> index & 1 and 0x61 <= byte <= 0x7A else byte  # noqa: PLR2004 - a to z
        for index, byte in enumerate(name)
    )
