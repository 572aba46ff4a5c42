"""What HTTP clients are told, whole; each says why in a Proxy-Status field (RFC 9209) and in words."""

from http import HTTPStatus

from proxywatch.balancer.relay.outcome import Outcome

# A tunnel's answer has no field that says how long a body is.
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_REALM = b'Proxy-Authenticate: Basic realm="proxywatch", charset="UTF-8"\r\n'


def failure(why: Outcome, *, close: bool = True) -> bytes:
    """No connection."""
    details = f"{why.reason}: {why.detail}".replace("\\", "").replace('"', "'")
    if not details.isascii() or not details.isprintable():
        details = why.reason
    field = f'Proxy-Status: proxywatch; error={why.error}; details="{details}"\r\n'
    return _response(why.status, f"{why.detail} ({why.reason})", field.encode(), close=close)


def status(code: int, sentence: str, *, close: bool = True) -> bytes:
    """A status with a sentence."""
    return _response(code, sentence, b"", close=close)


def challenge(sentence: str, *, close: bool) -> bytes:
    """407: log in."""
    return _response(407, sentence, _REALM, close=close)


def document(content_type: str, body: bytes, *, close: bool, head: bool) -> bytes:
    """Something of our own, such as /proxy.pac."""
    end = "Connection: close\r\n" if close else ""
    lines = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{end}\r\n"
    return lines.encode() + (b"" if head else body)


def _response(code: int, sentence: str, fields: bytes, *, close: bool) -> bytes:
    body = (sentence + "\n").encode()
    end = b"Connection: close\r\n" if close else b""
    return (
        b"HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        % (code, HTTPStatus(code).phrase.encode(), len(body))
        + fields
        + end
        + b"\r\n"
        + body
    )
