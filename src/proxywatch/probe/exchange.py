"""One transfer as libcurl saw it: a record, from which `outcome` concludes."""

from dataclasses import dataclass

from proxywatch.probe.request import Request


@dataclass(frozen=True, slots=True)
class Exchange:
    """What happened; times in seconds from the start of the transfer, None where it did not get that far.

    Attributes:
        id: For finding it again.
        request: What was requested.
        at: Unix time of the start.
        handshake: Whether there is a handshake with a proxy before the request.
        connected: TCP connection to the proxy (to the server, when there is no proxy).
        hello: The first TLS record to the server left.
        secured: TLS is established.
        prepared: All is ready for the request.
        answered: The first byte of the answer.
        total: The end.
        code: libcurl's CURLE code, 0 for success.
        message: libcurl's own message.
        proxy_code: libcurl's CURLPX code, 0 for none.
        connect_status: An HTTP proxy's own status, 0 for none.
        os_error: errno of the failed connect, 0 for none.
        verify: OpenSSL's X509_V code.
        status: HTTP status, 0 for none.
        received: Bytes of body.
        full: The limit was reached and the transfer was ended by us.
        speed: Bytes of body per second from the first to the last; None for less than two readings.
        tail_speed: The same for the second half of the body.
        sent: Bytes of body sent.
        endpoints: Our side's addresses and ports, one for each connection that was tried.
        body: Empty unless it was to be kept.
    """

    id: str
    request: Request
    at: float
    handshake: bool
    connected: float | None
    hello: float | None
    secured: float | None
    prepared: float | None
    answered: float | None
    total: float
    code: int
    message: str
    proxy_code: int
    connect_status: int
    os_error: int
    verify: int
    status: int
    received: int
    full: bool
    speed: float | None
    tail_speed: float | None
    sent: int
    endpoints: tuple[tuple[str, int], ...]
    body: bytes
