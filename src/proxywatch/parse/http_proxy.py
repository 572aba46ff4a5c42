"""HTTP/1 as a proxy meets it: heads of requests and responses, and where a message ends (RFC 9110, 9112).

A proxy and an origin that disagree about where a request ends can be made to confuse one client's request
with another's. So there is one reading, and whatever allows two is refused: lines end with CR LF, no field
is folded, no blank stands before a colon, a length is digits alone and given once, a coding is exactly
`chunked`, and a message has one of the two. Heads are bounded, and read in one pass.

    head = request_head(data)       CONNECT and absolute-form requests of clients
    forwarded(head)                 the head that the origin gets
    response_head(data, method)     of an origin, or of a node that is an HTTP proxy
    Body(framing)                   finds the end of a body that is passed on byte by byte as it came
"""

import re
from typing import NamedTuple

from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical

LARGEST_HEAD = 16 << 10
_MOST_FIELDS = 100
_LARGEST_LENGTH = 18  # digits
_LARGEST_LINE = 256  # of a chunk's size with its extensions
_LARGEST_TRAILER = 4 << 10

_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
# Tabs around a value stay in it: a coding of `chunked` and a tab is not read alike by all.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_HOP_BY_HOP = frozenset({
    b"connection", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"proxy-authorization", b"proxy-authenticate", b"proxy-authentication-info",
})  # fmt: skip
# Fields that say where a message ends or where it goes: no client may have them taken out.
_NEVER_NAMED = frozenset({b"content-length", b"transfer-encoding", b"host"})
_WITHOUT_BODY = frozenset({204, 304})

CHUNKED = -1
UNTIL_CLOSE = -2
Fields = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """A request's head.

    Attributes:
        method: As it came.
        host: The target's, in canonical form; empty for a request to the proxy itself (`GET /proxy.pac`).
        port: The target's.
        path: What the origin is asked for; empty for CONNECT.
        version: 0 or 1, of HTTP/1.
        fields: Names as they came, and values.
        length: Bytes of the body, or CHUNKED.
        upgrade: What the client wants to change to (`websocket`), or empty.
        close: Whether the client wants the connection to end after the answer.
        size: Bytes that the head takes.
    """

    method: bytes
    host: str
    port: int
    path: bytes
    version: int
    fields: Fields
    length: int
    upgrade: bytes
    close: bool
    size: int

    def field(self, name: bytes) -> bytes:
        """A field's value, or empty; `name` in lower case.

        Raises:
            ParseError: It is given more than once.
        """
        return _one(self.fields, name)


class Response(NamedTuple):
    """A response's head.

    Attributes:
        status: 100 to 999.
        reason: The phrase beside it.
        version: 0 or 1.
        fields: Names as they came, and values.
        length: Bytes of the body, CHUNKED, or UNTIL_CLOSE.
        close: Whether the other side ends the connection after it.
        size: Bytes that the head takes.
    """

    status: int
    reason: bytes
    version: int
    fields: Fields
    length: int
    close: bool
    size: int


class TooLargeError(ParseError):
    """The head is larger than LARGEST_HEAD."""


def request_head(data: bytes, scanned: int = 0) -> Head | None:
    """The head of a client's request, or None while it is incomplete.

    Args:
        data: All bytes that came and were not taken.
        scanned: How many of them were there at the last call, so that they are not searched again.
    """
    end = _end(data, scanned)
    if end < 0:
        return None
    line, *rows = data[: end - 4].split(b"\r\n")
    match = _REQUEST.fullmatch(line)
    if not match:
        raise ParseError("the request line is not that of an HTTP/1 request")
    method, target, version = match[1], match[2], int(match[3])
    fields = _fields(rows)
    host, port, path = _target(method, target)
    named = _connection(fields)
    length = _length(fields, version)
    if method == b"CONNECT" and length not in {None, 0}:
        raise ParseError("a CONNECT has no body")
    hosts = [value for name, value in fields if name.lower() == b"host"]
    if len(hosts) > 1 or (version == 1 and not hosts):
        raise ParseError("a request has one Host field")
    upgrade = _one(fields, b"upgrade") if b"upgrade" in named else b""
    close = b"close" in named or (version == 0 and b"keep-alive" not in named)
    return Head(method, host, port, path, version, fields, length or 0, upgrade, close, end)


def forwarded(head: Head, *, absolute: bool = False, authorization: bytes = b"") -> bytes:
    """The head as the origin gets it, or, in absolute form, a node that is an HTTP proxy.

    Host is the target's, whatever it said; what is meant for us is left out; nothing of ours is added but
    that the connection ends after one answer. `authorization` is the node's own.
    """
    authority = _authority(head.host, head.port, 80)
    path = head.path
    if absolute:
        path = b"http://" + authority + (b"/" if path == b"*" else path)
    rows = [b"%s %s HTTP/1.%d" % (head.method, path, head.version), b"Host: " + authority]
    rows += [name + b": " + value for name, value in end_to_end(head.fields) if name.lower() != b"host"]
    if head.length == CHUNKED:
        rows.append(b"Transfer-Encoding: chunked")
    if head.upgrade:
        rows += [b"Connection: Upgrade", b"Upgrade: " + head.upgrade]
    else:
        rows.append(b"Connection: close")
    if authorization:
        rows.append(b"Proxy-Authorization: " + authorization)
    return b"\r\n".join(rows) + b"\r\n\r\n"


def response_head(data: bytes, method: bytes, scanned: int = 0) -> Response | None:
    """The head of the response to a request of this method, or None while it is incomplete."""
    end = _end(data, scanned)
    if end < 0:
        return None
    line, *rows = data[: end - 4].split(b"\r\n")
    match = _STATUS.fullmatch(line)
    if not match:
        raise ParseError("the status line is not that of an HTTP/1 response")
    version, status = int(match[1]), int(match[2])
    fields = _fields(rows)
    named = _connection(fields)
    close = b"close" in named or (version == 0 and b"keep-alive" not in named)
    tunnel = method == b"CONNECT" and 200 <= status < 300  # noqa: PLR2004 - the class of success
    if tunnel or status < 200 or status in _WITHOUT_BODY or method == b"HEAD":  # noqa: PLR2004 - interim
        length: int | None = 0
    else:
        length = _length(fields, version)
    length = UNTIL_CLOSE if length is None else length
    return Response(status, match[3] or b"", version, fields, length, close, end)


def passed_on(response: Response, version: int, *, close: bool) -> bytes:
    """A response's head as the client gets it, who speaks HTTP/1.`version`."""
    rows = [b"HTTP/1.1 %d %s" % (response.status, response.reason)]
    rows += [name + b": " + value for name, value in end_to_end(response.fields)]
    if response.length == CHUNKED:
        rows.append(b"Transfer-Encoding: chunked")
    if response.status == 101:  # noqa: PLR2004 - Switching Protocols
        rows += [b"Connection: Upgrade", b"Upgrade: " + _one(response.fields, b"upgrade")]
    elif close:
        rows.append(b"Connection: close")
    elif version == 0 and response.status >= 200:  # noqa: PLR2004 - no interim response
        rows.append(b"Connection: keep-alive")
    return b"\r\n".join(rows) + b"\r\n\r\n"


def connect(host: str, port: int, authorization: bytes = b"") -> bytes:
    """Ask a node that is an HTTP proxy for a tunnel."""
    authority = _authority(host, port, 0)
    rows = [b"CONNECT " + authority + b" HTTP/1.1", b"Host: " + authority]
    if authorization:
        rows.append(b"Proxy-Authorization: " + authorization)
    return b"\r\n".join(rows) + b"\r\n\r\n"


def end_to_end(fields: Fields) -> Fields:
    """The fields that are not for the next hop alone."""
    dropped = _HOP_BY_HOP | _connection(fields)
    return [(name, value) for name, value in fields if name.lower() not in dropped]


class Body:
    """Finds the end of a body that is passed on as it comes.

    Attributes:
        done: Whether the end was seen.
        until_close: Whether only the connection's end is the end.
    """

    __slots__ = ("_chunked", "_left", "_line", "_trailer", "done", "until_close")

    def __init__(self, length: int) -> None:
        """Begin.

        Args:
            length: Bytes, CHUNKED, or UNTIL_CLOSE, of which nothing is ever the end.
        """
        self._chunked = length == CHUNKED
        self._left = length
        self._line = b"" if self._chunked else None
        self._trailer: int | None = None
        self.done = length == 0
        self.until_close = length == UNTIL_CLOSE

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body.

        Raises:
            ParseError: They are not chunks.
        """
        if self._chunked:
            return self._take_chunks(data)
        if self.until_close:
            return len(data)
        taken = min(self._left, len(data))
        self._left -= taken
        self.done = not self._left
        return taken

    def _take_chunks(self, data: bytes) -> int:
        place, size = 0, len(data)
        while place < size and not self.done:
            if self._line is None:  # within a chunk, or the CR LF after it
                taken = min(self._left, size - place)
                end = place + taken
                self._check_end_of_chunk(data, place, end)
                self._left -= taken
                place = end
                if not self._left:
                    self._line = b""
            else:
                place = self._take_line(data, place)
        return place

    def _check_end_of_chunk(self, data: bytes, start: int, end: int) -> None:
        """The last two bytes of what is left are CR LF; they count as the chunk's."""
        for position in range(max(start, start + self._left - 2), end):
            expected = b"\r"[0] if start + self._left - position == 2 else b"\n"[0]  # noqa: PLR2004 - CR LF
            if data[position] != expected:
                raise ParseError("a chunk does not end where its size says")

    def _take_line(self, data: bytes, start: int) -> int:
        """A line of size, or of the trailer."""
        end = data.find(b"\n", start)
        piece = data[start:] if end < 0 else data[start : end + 1]
        self._line = (self._line or b"") + piece
        if len(self._line) > _LARGEST_LINE * (1 if self._trailer is None else 8):
            raise ParseError("a chunk's size or a trailer's line is too long")
        if end < 0:
            return len(data)
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise ParseError("a line of a chunked body does not end with CR LF")
        self._end_of_line(line[:-2])
        return end + 1

    def _end_of_line(self, line: bytes) -> None:
        if self._trailer is not None:
            self._trailer += len(line) + 2
            if self._trailer > _LARGEST_TRAILER:
                raise ParseError("the trailer of a chunked body is too large")
            if line and not _FIELD.fullmatch(line):
                raise ParseError("a line of the trailer is no field")
            self.done = not line
            return
        match = _CHUNK.fullmatch(line)
        if not match:
            raise ParseError("a chunk's size is not hexadecimal")
        size = int(match[1], 16)
        if size:
            self._left, self._line = size + 2, None
        else:
            self._trailer = 0


def _end(data: bytes, scanned: int) -> int:
    """Where the head ends; -1 while it does not."""
    end = data.find(b"\r\n\r\n", max(0, scanned - 3), LARGEST_HEAD)
    if end >= 0:
        return end + 4
    if len(data) >= LARGEST_HEAD:
        raise TooLargeError(f"a head of more than {LARGEST_HEAD} bytes")
    return -1


def _fields(rows: list[bytes]) -> Fields:
    if len(rows) > _MOST_FIELDS:
        raise TooLargeError(f"more than {_MOST_FIELDS} fields")
    fields = []
    for row in rows:
        match = _FIELD.fullmatch(row)
        if not match:
            raise ParseError("a line of the head is not a field")
        fields.append((match[1], match[2].strip(b" ")))
    return fields


def _one(fields: Fields, name: bytes) -> bytes:
    values = [value for other, value in fields if other.lower() == name]
    if len(values) > 1:
        raise ParseError(f"the field {name.decode()} is given more than once")
    return values[0] if values else b""


def _connection(fields: Fields) -> frozenset[bytes]:
    """What Connection and Proxy-Connection name, in lower case."""
    named = frozenset(
        word.strip(b" \t").lower()
        for name, value in fields
        if name.lower() in {b"connection", b"proxy-connection"}
        for word in value.split(b",")
    )
    if named & _NEVER_NAMED:
        raise ParseError("the Connection field names one that says where the message ends")
    return named


def _length(fields: Fields, version: int) -> int | None:
    """The body's length or CHUNKED; None where nothing is said."""
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if codings:
        if lengths or version == 0 or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise ParseError("Transfer-Encoding beside Content-Length, in HTTP/1.0, or other than `chunked`")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _LARGEST_LENGTH:
        raise ParseError("Content-Length is given twice, or is not a number")
    return int(lengths[0])


def _target(method: bytes, target: bytes) -> tuple[str, int, bytes]:
    """Host, port and path."""
    if method == b"CONNECT":
        host, port = _host_port(target)
        if not port:
            raise ParseError("a CONNECT names a host and a port")
        return host, port, b""
    if target.startswith(b"/"):
        return "", 0, target
    match = _ABSOLUTE.fullmatch(target)
    if not match or match[1].lower() != b"http":
        raise ParseError("a request to a proxy names an http:// URL; others go by CONNECT")
    host, port = _host_port(match[2].rpartition(b"@")[2])
    path = match[3]
    if not path and method == b"OPTIONS":
        return host, port or 80, b"*"
    return host, port or 80, path if path.startswith(b"/") else b"/" + path


def _host_port(authority: bytes) -> tuple[str, int]:
    """Host in canonical form, and port; 0 where there is none."""
    host, port = authority, b""
    if b":" in authority and not authority.endswith(b"]"):
        host, _, port = authority.rpartition(b":")
    if port and (not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536):  # noqa: PLR2004 - 16 bits
        raise ParseError("the port is not a number from 1 to 65535")
    bracketed = host.startswith(b"[") and host.endswith(b"]")
    if (b":" in host) != bracketed:
        raise ParseError("an IPv6 address in a URL stands in brackets")
    try:
        return canonical(host.decode("ascii")), int(port or 0)
    except UnicodeDecodeError:
        raise ParseError("the destination's name is not ASCII: international names go as `xn--`") from None


def _authority(host: str, port: int, default: int) -> bytes:
    name = f"[{host}]" if ":" in host else host
    return (name if port == default else f"{name}:{port}").encode("ascii")
