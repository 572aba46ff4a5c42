"""The head of a request, from bytes to a request or a refusal.

The grammar is RFC 9112's, read by httptools; what is added here are its rules on meaning, and our limits:

- HTTP/1.1 and HTTP/1.0 are served. Another version is refused with 505; what is not HTTP with 400.
- More headers than the limit are refused with 431 before any of them is read.
- HTTP/1.1 has exactly one Host, HTTP/1.0 at most one, and it names a host; else 400.
- The target is a path, a whole URL whose path counts, or `*` for OPTIONS; else 400.
- POST, PUT and PATCH may have a body, whose length Content-Length states: no route reads one, and it is
  skipped. A body of another method is refused with 413. Chunks are refused with 411, as RFC 9112 allows, so
  that nothing has to be decoded; in HTTP/1.0 they are a fault of framing, so 400.
- `Expect: 100-continue` of HTTP/1.1 is granted; another expectation is refused with 417.
- `Upgrade` is ignored.

Everything refused here ends the connection: where the next request would begin cannot be known for sure.
"""

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from proxywatch.web.message import HttpRequest, Response, refuse

END = re.compile(rb"\n\r?\n")  # a bare LF is no end of a line: what ends so is refused
START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}(?: |\Z)")
_VERSION = re.compile(rb" HTTP/(\d)\.(\d)\r\n")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.%]+\]|[0-9A-Za-z._~%!$&'()*+,;=-]*)(?::\d{0,5})?")
_URL = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_BODY_METHODS = ("POST", "PUT", "PATCH")

MALFORMED = refuse(400, "this is not a request of HTTP/1.1 or 1.0")
LONG_LINE = refuse(414, "the address is longer than this server reads")
LARGE_HEAD = refuse(431, "the request is larger than this server reads")
LARGE_BODY = refuse(413, "the body is larger than this server reads")
_VERSIONS = refuse(505, "this server speaks HTTP/1.1 and HTTP/1.0")
_MANY_HEADERS = refuse(431, "the request has more headers than this server reads")
_NO_HOST = refuse(400, "expected one Host header that names a host")
_NO_TARGET = refuse(400, "expected a path or a URL")
_NO_BODY = refuse(413, "no body is expected with this method")
_NO_CHUNKS = refuse(411, "expected a body with a Content-Length")
_FRAMING = refuse(400, "a Transfer-Encoding is not part of HTTP/1.0")
_EXPECTATION = refuse(417, "100-continue is the only expectation that is met here")


class RefusedError(Exception):
    """A head that is not served; carries the response."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class _Fields:
    """What httptools finds."""

    __slots__ = ("headers", "hosts", "target")

    def __init__(self) -> None:
        self.target = b""
        self.hosts = 0
        self.headers: dict[bytes, bytes] = {}

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        name, value = name.lower(), (value or b"").strip(b" \t")
        before = self.headers.get(name)
        self.headers[name] = value if before is None else before + b", " + value
        if name == b"host":
            self.hosts += 1


def parse(head: bytes, most_headers: int) -> HttpRequest:
    """Read one head.

    Args:
        head: From the first byte of the request line to the empty line, with it.
        most_headers: How many there may be.

    Raises:
        RefusedError: It is not served.
    """
    version = START.match(head) and _VERSION.search(head, 0, head.find(b"\n") + 1)
    if not version:
        raise RefusedError(MALFORMED)
    if version[1] != b"1" or version[2] not in b"01":
        raise RefusedError(_VERSIONS)
    if head.count(b"\n") - 2 > most_headers:
        raise RefusedError(_MANY_HEADERS)
    fields = _Fields()
    parser = HttpRequestParser(fields)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise RefusedError(MALFORMED) from error
    request = HttpRequest(
        parser.get_method().decode("latin-1"),
        _target(fields.target, parser.get_method()),
        fields.headers,
        keep_alive=_keeps(fields.headers.get(b"connection", b""), old=version[2] == b"0"),
        old=version[2] == b"0",
    )
    _check_host(fields, old=request.old)
    _check_body(request)
    _check_expectation(request)
    return request


def _target(target: bytes, method: bytes) -> bytes:
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    url = _URL.match(target)
    if url is None or method == b"CONNECT":
        raise RefusedError(_NO_TARGET)
    path = target[url.end() :]
    return path if path.startswith(b"/") else b"/" + path


def _keeps(connection: bytes, *, old: bool) -> bool:
    options = {option.strip(b" \t").lower() for option in connection.split(b",")}
    return b"close" not in options and (not old or b"keep-alive" in options)


def _check_host(fields: _Fields, *, old: bool) -> None:
    right = fields.hosts == 1 or (old and not fields.hosts)
    if not right or not _HOST.fullmatch(fields.headers.get(b"host", b"")):
        raise RefusedError(_NO_HOST)


def _check_body(request: HttpRequest) -> None:
    chunked = b"transfer-encoding" in request.headers
    if chunked and request.old:
        raise RefusedError(_FRAMING)
    request.body = int(request.headers.get(b"content-length") or 0)
    if (chunked or request.body) and request.method not in _BODY_METHODS:
        raise RefusedError(_NO_BODY)
    if chunked:
        raise RefusedError(_NO_CHUNKS)


def _check_expectation(request: HttpRequest) -> None:
    expectation = request.headers.get(b"expect")
    if expectation is None or request.old:
        return
    if expectation.lower() != b"100-continue":
        raise RefusedError(_EXPECTATION)
    request.expects = True
