"""Asks the APIs that nodes are read from, over TCP or a unix socket: whole answers, and streams of lines.

Every answer has a bound on bytes and time; redirects are not followed; no proxy stands between, whatever the
environment says.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pycurl

from proxywatch import __version__
from proxywatch.balancer.facts.fetch import words
from proxywatch.errors import SourceError
from proxywatch.probe.transfer import find_bundle
from proxywatch.source import file

OK = 200
NOT_MODIFIED = 304
_CONNECT_MS = 10_000
_TIMEOUT = 30.0
_LONGEST_TOKEN = 16 << 10
_LONGEST_LINE = 2 << 20
_MOST_WAITING = 4 << 20  # bytes of a stream that were received and not taken yet


@dataclass(frozen=True, slots=True)
class Server:
    """Where an API is.

    Attributes:
        url: Its base, http or https, without a slash at the end.
        socket: Path of its unix socket; empty for TCP.
        token_file: File with a bearer token, read for every request; empty for none.
        ca_file: Who signs its certificate; empty for the system's authorities.
    """

    url: str
    socket: str = ""
    token_file: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by name in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Stream:
    """What has come of an answer and was not taken yet."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.begun = False
        self.rest = b""
        self._told = False
        self._waiting = bytearray()

    def head(self, line: bytes) -> None:
        if not line.strip():
            self.begun = True
            self.news.set()

    def write(self, data: bytes) -> int | None:
        self._waiting += data
        self.news.set()
        return 0 if len(self._waiting) > _MOST_WAITING else None

    def take(self) -> list[bytes] | None:
        """The whole lines; None when there is nothing new."""
        *lines, self.rest = (self.rest + bytes(self._waiting)).split(b"\n")
        self._waiting.clear()
        lines = [line for line in lines if line.strip()]
        first, self._told = self.begun and not self._told, self._told or self.begun
        return lines if lines or first else None


class Http:
    """A client of one server; to be used as a context."""

    def __init__(self, server: Server, name: str) -> None:
        """Begin.

        Args:
            server: Whom to ask.
            name: Of the server, for messages.
        """
        self._server = server
        self._name = name
        self._multi = pycurl.AsyncCurlMulti()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._multi.aclose()

    async def get(
        self,
        path: str,
        limit: int,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = _TIMEOUT,  # noqa: ASYNC109 - libcurl's own
    ) -> Answer:
        """A whole answer, of whatever status.

        Raises:
            SourceError: There is none, or it is longer than `limit` bytes.
        """
        body = bytearray()
        head: dict[str, str] = {}

        def write(data: bytes) -> int | None:
            body.extend(data)
            return 0 if len(body) > limit else None

        curl = self._curl(path, headers or {}, write, timeout)
        curl.setopt(pycurl.HEADERFUNCTION, lambda line: _note(head, line))
        try:
            await self._multi.perform(curl)
            return Answer(curl.getinfo(pycurl.RESPONSE_CODE), head, bytes(body))
        except pycurl.error as error:
            if len(body) > limit:
                raise SourceError(f"{self._name}: an answer longer than {limit} bytes") from None
            raise self._failure(error) from None
        finally:
            curl.close()

    async def batches(self, path: str, *, timeout: float = 0.0) -> AsyncGenerator[list[bytes], None]:  # noqa: ASYNC109
        """The lines of an answer as they come, all that are there at a time; the first batch, of none, is the begin.

        Raises:
            SourceError: The answer did not begin, broke off, or has a line that is too long.
        """
        stream = _Stream()
        curl = self._curl(path, {}, stream.write, timeout)
        curl.setopt(pycurl.HEADERFUNCTION, stream.head)
        done = self._multi.add_handle(curl)
        done.add_done_callback(lambda _: stream.news.set())
        try:
            while not done.done():
                await stream.news.wait()
                stream.news.clear()
                if stream.begun and (status := curl.getinfo(pycurl.RESPONSE_CODE)) != OK:
                    raise SourceError(f"{self._name}: it answered {status}")
                lines = stream.take()
                if len(stream.rest) > _LONGEST_LINE:
                    raise SourceError(f"{self._name}: a line longer than {_LONGEST_LINE} bytes")
                if lines is not None:
                    yield lines
            await done
        except pycurl.error as error:
            raise self._failure(error) from None
        finally:
            if not done.done():
                self._multi.remove_handle(curl)
            curl.close()

    def _curl(self, path: str, headers: Mapping[str, str], write: Any, timeout: float) -> pycurl.Curl:  # noqa: ANN401
        server = self._server
        lines = [f"{name}: {value}" for name, value in headers.items()]
        if server.token_file:
            token = file.read(server.token_file, _LONGEST_TOKEN).decode(errors="replace").strip()
            if not token.isprintable():
                raise SourceError(f"{server.token_file}: no token in it", temporary=False)
            lines.append(f"authorization: Bearer {token}")
        curl = pycurl.Curl()
        options: dict[int, Any] = {
            pycurl.URL: server.url + path,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.NOSIGNAL: 1,
            pycurl.PROXY: "",
            pycurl.NOPROXY: "*",
            pycurl.FOLLOWLOCATION: 0,
            pycurl.CONNECTTIMEOUT_MS: _CONNECT_MS,
            pycurl.TIMEOUT_MS: round(timeout * 1000),
            pycurl.TCP_KEEPALIVE: 1,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.USERAGENT: f"proxywatch-balancer/{__version__}",
            pycurl.HTTPHEADER: lines,
            pycurl.WRITEFUNCTION: write,
        }
        if server.socket:
            options[pycurl.UNIX_SOCKET_PATH] = server.socket
        if bundle := server.ca_file or find_bundle():
            options[pycurl.CAINFO] = bundle
        for option, value in options.items():
            curl.setopt(option, value)
        return curl

    def _failure(self, error: pycurl.error) -> SourceError:
        return SourceError(f"{self._name}: {words(error)}")


def _note(head: dict[str, str], line: bytes) -> None:
    name, colon, value = line.decode("latin-1").partition(":")
    if colon and len(head) < 100:  # noqa: PLR2004 - more are of no use
        head[name.strip().lower()] = value.strip()
