"""Fetches the metrics of sidecars, over HTTP or HTTPS, with a bound on bytes and time."""

import re
from collections.abc import Callable

import pycurl

from proxywatch import __version__
from proxywatch.balancer.choosing.settings import Collect
from proxywatch.balancer.node import Node
from proxywatch.errors import SourceError
from proxywatch.probe.transfer import find_bundle
from proxywatch.source import file

_LONGEST = 4 << 20
_LONGEST_PASSWORD = 4096
_OK = 200
_TOOK = re.compile(r" after \d+ (ms|milliseconds)")


class SidecarFetch:
    """Fetches with the credentials of the settings; `aclose()` ends what is under way."""

    def __init__(self, settings: Callable[[], Collect]) -> None:
        self._settings = settings
        self._multi = pycurl.AsyncCurlMulti()

    async def __call__(self, node: Node) -> str:
        """The exposition of the node's sidecar.

        Raises:
            SourceError: It does not answer, or not with an exposition.
        """
        settings = self._settings()
        body = bytearray()
        curl = pycurl.Curl()
        try:
            _prepare(curl, f"{node.sidecar}/metrics", settings, body)
            try:
                await self._multi.perform(curl)
            except pycurl.error as error:
                raise SourceError(f"sidecar: {_reason(error, body)}") from None
            status = curl.getinfo(pycurl.RESPONSE_CODE)
        finally:
            curl.close()
        if status != _OK:
            raise SourceError(f"sidecar: it answered {status}")
        return body.decode(errors="replace")

    async def aclose(self) -> None:
        """End what is under way."""
        await self._multi.aclose()


def _prepare(curl: pycurl.Curl, url: str, settings: Collect, body: bytearray) -> None:
    def write(data: bytes) -> int | None:
        body.extend(data)
        return 0 if len(body) > _LONGEST else None

    options = {
        pycurl.URL: url,
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
        pycurl.NOSIGNAL: 1,
        pycurl.PROXY: "",
        pycurl.NOPROXY: "*",
        pycurl.FOLLOWLOCATION: 0,
        pycurl.TIMEOUT_MS: max(1, round(settings.timeout * 1000)),
        pycurl.USERAGENT: f"proxywatch-balancer/{__version__}",
        pycurl.HTTPHEADER: ["accept: text/plain; version=0.0.4"],
        pycurl.ACCEPT_ENCODING: "gzip",
        pycurl.WRITEFUNCTION: write,
    }
    if bundle := settings.ca_file or find_bundle():
        options[pycurl.CAINFO] = bundle
    if settings.username:
        options[pycurl.HTTPAUTH] = pycurl.HTTPAUTH_BASIC
        options[pycurl.USERNAME] = settings.username
        options[pycurl.PASSWORD] = _password(settings.password_file)
    for option, value in options.items():
        curl.setopt(option, value)


def _password(path: str) -> bytes:
    return file.read(path, _LONGEST_PASSWORD).rstrip(b"\r\n") if path else b""


def _reason(error: pycurl.error, body: bytearray) -> str:
    if len(body) > _LONGEST:
        return f"its metrics are longer than {_LONGEST >> 20} MiB"
    return words(error)


def words(error: pycurl.error) -> str:
    """Libcurl's words without the milliseconds that it took: a fault that stays is the same fault."""
    said = str(error.args[1]) if len(error.args) > 1 and error.args[1] else f"curl error {error.args[0]}"
    return _TOOK.sub("", said)
