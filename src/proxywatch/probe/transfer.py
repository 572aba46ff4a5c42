"""Bounded transfers through a proxy by libcurl, each over a connection of its own, many at a time."""

import os
import socket
from typing import Any

import pycurl

from proxywatch import __version__
from proxywatch.clock import Clock, SystemClock
from proxywatch.probe.attempt import Attempt
from proxywatch.probe.exchange import Exchange
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request

CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
_BUFFER = 128 << 10
_SOCKS5_AUTH = 267  # CURLOPT_SOCKS5_AUTH, which pycurl has no name for


class Transfers:
    """Transfers on the running event loop, many at a time; `aclose()` ends them.

    Attributes:
        bundle: The file of the certificate authorities that are trusted; None when there is none.
    """

    def __init__(self, clock: Clock | None = None, bundle: str | None = None) -> None:
        """Prepare; the first transfer binds it to its event loop.

        Args:
            clock: For the time stamps.
            bundle: The file of trusted certificate authorities; None looks where distributions keep it.
        """
        self._clock = clock or SystemClock()
        self.bundle = bundle if bundle is not None else find_bundle()
        self._multi = pycurl.AsyncCurlMulti()

    async def fetch(
        self,
        request: Request,
        proxy: Proxy | None,
        own_traffic: OwnTraffic,
        connection: socket.socket | None = None,
    ) -> Exchange:
        """Make one transfer.

        Args:
            request: What to fetch, and its bounds.
            proxy: Through which proxy; None goes without one, whatever the environment says.
            own_traffic: Learns of our endpoint before the first byte leaves.
            connection: One to the proxy that was made already, and is closed here; None makes one.

        Raises:
            SourceError: The proxy's password cannot be read.
        """
        attempt = Attempt(
            request,
            self._clock,
            own_traffic,
            straight=proxy is None or proxy.scheme != "https",
            connection=connection,
        )
        curl = pycurl.Curl()
        try:
            _prepare(curl, request, attempt, self.bundle)
            _through(curl, proxy)
            code, message = 0, ""
            try:
                await self._multi.perform(curl)
            except pycurl.error as error:
                code, message = error.args
            return attempt.exchange(curl, code, message, handshake=_asks(proxy, request.url))
        finally:
            attempt.closed()
            curl.close()

    async def aclose(self) -> None:
        """End what is under way."""
        await self._multi.aclose()


def find_bundle() -> str | None:
    """The file of trusted certificate authorities: SSL_CERT_FILE, or where distributions keep it."""
    for path in filter(None, (os.environ.get("SSL_CERT_FILE"), *CA_BUNDLES)):
        if os.path.isfile(path) and os.access(path, os.R_OK):  # noqa: PTH113 - pathlib costs 1 MB
            return path
    return None


def _prepare(curl: pycurl.Curl, request: Request, attempt: Attempt, bundle: str | None) -> None:
    options: dict[int, Any] = {
        pycurl.URL: request.url,
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
        pycurl.NOSIGNAL: 1,
        _SOCKS5_AUTH: pycurl.HTTPAUTH_BASIC,  # no GSSAPI, which a probe could not finish
        pycurl.NOPROXY: "",
        pycurl.TIMEOUT_MS: max(1, round(request.timeout * 1000)),
        pycurl.CONNECTTIMEOUT_MS: max(1, round((request.patience or request.timeout) * 1000)),
        pycurl.LOW_SPEED_LIMIT: 1 if request.patience else 0,
        pycurl.LOW_SPEED_TIME: request.patience,
        pycurl.FRESH_CONNECT: 1,
        pycurl.FORBID_REUSE: 1,
        pycurl.SSL_SESSIONID_CACHE: 0,  # a resumed session would verify no certificate
        pycurl.DNS_CACHE_TIMEOUT: 0,
        pycurl.FOLLOWLOCATION: 0,
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
        pycurl.USERAGENT: f"proxywatch/{__version__}",
        pycurl.BUFFERSIZE: _BUFFER,
        pycurl.IPRESOLVE: {4: pycurl.IPRESOLVE_V4, 6: pycurl.IPRESOLVE_V6}.get(
            request.family, pycurl.IPRESOLVE_WHATEVER
        ),
        pycurl.OPENSOCKETFUNCTION: attempt.open,
        pycurl.PREREQFUNCTION: attempt.ready,
        pycurl.WRITEFUNCTION: attempt.write,
    }
    if request.upload:
        options |= {
            pycurl.POST: 1,
            pycurl.POSTFIELDSIZE_LARGE: request.upload,
            pycurl.READFUNCTION: attempt.read,
            pycurl.HTTPHEADER: ["Content-Type: application/octet-stream", "Expect:"],
        }
    if request.url.startswith("https:"):
        options |= {pycurl.VERBOSE: 1, pycurl.DEBUGFUNCTION: attempt.debug}
    if attempt.connection is not None:
        options[pycurl.SOCKOPTFUNCTION] = _already_connected
    if bundle:
        options |= {pycurl.CAINFO: bundle, pycurl.PROXY_CAINFO: bundle}
    for option, value in options.items():
        curl.setopt(option, value)


def _already_connected(_fd: int, _purpose: int) -> int:
    return int(pycurl.SOCKOPT_ALREADY_CONNECTED)


def _through(curl: pycurl.Curl, proxy: Proxy | None) -> None:
    curl.setopt(pycurl.PROXY, proxy.url if proxy else "")
    if proxy and proxy.username:
        curl.setopt(pycurl.PROXYUSERNAME, proxy.username.encode(errors="surrogateescape"))
        curl.setopt(pycurl.PROXYPASSWORD, proxy.secret().reveal().encode(errors="surrogateescape"))


def _asks(proxy: Proxy | None, url: str) -> bool:
    """Whether there is a handshake with the proxy: with all but an HTTP proxy that gets a plain request."""
    return proxy is not None and (proxy.scheme != "http" or url.startswith("https:"))
