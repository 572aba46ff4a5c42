"""What became of a transfer: its phases, and the stage and reason of its failure.

libcurl gives a code, what the proxy answered, and the moments that were reached. The stage of a failure is
the phase that was under way; the reason is one of a closed list per stage. A phase that did not come to
its end has no duration.

    start ----- connected ----- hello/prepared ----- secured ----- answered ----- total
      proxy_connect       socks               tls        first_byte       transfer
"""

from urllib.parse import urlsplit

import msgspec

from proxywatch.probe.exchange import Exchange

STAGES = ("proxy_connect", "socks", "tls", "first_byte", "transfer")

REASONS: dict[tuple[str, str], str] = {
    ("proxy_connect", "dns"): "the proxy's own name could not be resolved",
    ("proxy_connect", "refused"): "nothing listens on the proxy's port",
    ("proxy_connect", "unreachable"): "no route to the proxy",
    ("proxy_connect", "timeout"): "the proxy did not accept the connection in time",
    ("proxy_connect", "reset"): "the proxy dropped the connection while it was being made",
    (
        "proxy_connect",
        "local",
    ): "this machine could not make the connection (out of ports or files, or a setting)",
    (
        "socks",
        "timeout",
    ): "the proxy did not finish its handshake in time: it hangs, or its dial to the target does",
    ("socks", "reset"): "the proxy closed the connection during its handshake",
    ("socks", "malformed"): "the proxy answered with something that is not its protocol",
    ("socks", "auth"): "the proxy refused the user or password, or all ways of logging in",
    ("socks", "general"): "the proxy reported a general failure",
    ("socks", "rule"): "connection refused by the proxy's rule",
    ("socks", "network_unreachable"): "the proxy has no route to the target's network",
    ("socks", "host_unreachable"): "the proxy cannot reach the target's address",
    ("socks", "dns_or_unreachable"): "the proxy cannot resolve the target's name, or not reach it",
    ("socks", "refused"): "the target refused the proxy's connection",
    ("socks", "expired"): "the proxy's connection to the target timed out",
    ("socks", "unsupported"): "the proxy does not support the command or kind of address",
    ("socks", "rejected"): "the proxy rejected the request without a known reason",
    ("socks", "tls"): "the TLS handshake with an https:// proxy itself failed",
    ("socks", "dns"): "the target's name could not be resolved here (socks5h:// leaves that to the proxy)",
    ("tls", "timeout"): "the TLS handshake with the target was not finished in time",
    ("tls", "reset"): "the connection was closed during the TLS handshake",
    ("tls", "handshake"): "the TLS handshake failed: the target does not speak TLS, or none in common",
    ("tls", "expired"): "the target's certificate has expired or is not valid yet",
    ("tls", "name"): "the target's certificate is for another name",
    ("tls", "untrusted"): "the target's certificate is signed by nobody trusted here",
    ("first_byte", "timeout"): "the target did not answer in time",
    ("first_byte", "reset"): "the connection was closed before an answer",
    ("first_byte", "malformed"): "the target answered with something that is not HTTP",
    ("first_byte", "redirect"): "the target answered with a redirect, which is not followed",
    ("first_byte", "status"): "the target answered with an HTTP status that is no success",
    ("transfer", "timeout"): "the body was not finished in time",
    ("transfer", "reset"): "the connection was reset in the middle of the body",
    ("transfer", "short_body"): "the body ended before what was announced or requested",
    ("transfer", "long_body"): "the body is longer than what was requested",
    ("transfer", "wrong_status"): "the status is not the one expected: a captive portal may have answered",
    ("transfer", "wrong_body"): "the body is not the one expected: a captive portal may have answered",
    ("transfer", "malformed"): "the body does not follow HTTP",
}
"""Every stage and reason with what it means."""

USUAL: tuple[tuple[str, str], ...] = (
    ("proxy_connect", "refused"),
    ("proxy_connect", "timeout"),
    ("socks", "timeout"),
    ("socks", "general"),
    ("socks", "rule"),
    ("socks", "dns_or_unreachable"),
    ("socks", "refused"),
    ("first_byte", "timeout"),
    ("first_byte", "status"),
    ("transfer", "timeout"),
    ("transfer", "short_body"),
    ("transfer", "wrong_status"),
    ("transfer", "wrong_body"),
)
"""Counted from 0, so that the first one is an increase; the others appear when they happen."""

WRONG_ANSWERS = ("wrong_status", "wrong_body")


class Phases(msgspec.Struct, frozen=True):
    """Seconds that each phase took; None for one that did not come to its end.

    Attributes:
        proxy_connect: Resolving the proxy's name and connecting to it.
        socks: The proxy's handshake: greeting, login, its DNS, its dial to the target. For HTTP: CONNECT.
        tls: The TLS handshake with the target; None for http.
        first_byte: From there to the first byte of the answer.
        transfer: From there to the last byte.
    """

    proxy_connect: float | None = None
    socks: float | None = None
    tls: float | None = None
    first_byte: float | None = None
    transfer: float | None = None

    def items(self) -> list[tuple[str, float]]:
        """The phases that were reached, in order, by name."""
        return [(stage, seconds) for stage in STAGES if (seconds := getattr(self, stage)) is not None]


class Transfer(msgspec.Struct, frozen=True):
    """One probe, as history, status page and API show it.

    Attributes:
        id: The probe's own; the exemplars of the histograms carry it.
        kind: latency, speed, upload or exit.
        target: The URL.
        at: Unix time of its start.
        duration: Seconds from start to end.
        phases: Seconds per phase.
        stage: At which a failed probe failed; None for a success.
        reason: Why.
        status: HTTP status; 0 for none.
        bytes: Of body.
        speed: Bytes of body per second from the first to the last, of an upload those sent; None when too
            short to measure.
        tail_speed: The same for the second half of the body, when slow start is over.
        sent: Bytes of body sent.
    """

    id: str
    kind: str
    target: str
    at: float
    duration: float
    phases: Phases
    stage: str | None = None
    reason: str | None = None
    status: int = 0
    bytes: int = 0
    speed: float | None = None
    tail_speed: float | None = None
    sent: int = 0

    @property
    def wrong_answer(self) -> bool:
        """Whether somebody answered in place of the target."""
        return self.reason in WRONG_ANSWERS

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.stage is None

    def failed(self, stage: str, reason: str) -> "Transfer":
        """The same transfer, found wanting by whoever looked at its body."""
        return msgspec.structs.replace(self, stage=stage, reason=reason)

    def message(self) -> str:
        """The failure in a sentence; empty for a success."""
        return explain(self.stage, self.reason) if self.stage and self.reason else ""


def judge(exchange: Exchange) -> Transfer:
    """Phases, stage and reason of a transfer that is over."""
    stage, reason = _failure(exchange)
    return Transfer(
        id=exchange.id,
        kind=exchange.request.kind,
        target=str(exchange.request.url),
        at=exchange.at,
        duration=exchange.total,
        phases=_phases(exchange, whole=stage is None),
        stage=stage,
        reason=reason,
        status=exchange.status,
        bytes=exchange.received,
        speed=_upload_speed(exchange) if exchange.request.upload else exchange.speed,
        tail_speed=exchange.tail_speed,
        sent=exchange.sent,
    )


def _upload_speed(exchange: Exchange) -> float | None:
    """Bytes sent per second, from the request's first byte to the answer's: all had arrived by then."""
    seconds = _between(exchange.prepared, exchange.answered)
    return exchange.sent / seconds if seconds and exchange.sent else None


def explain(stage: str, reason: str) -> str:
    """The failure in a sentence that starts with its stage."""
    return f"{stage}: {REASONS[stage, reason]}"


def _phases(exchange: Exchange, *, whole: bool) -> Phases:
    """Differences of moments, each only when both were reached."""
    tls = _tls(exchange)
    shaken = exchange.hello if tls else exchange.prepared
    ready = exchange.secured if tls else exchange.prepared
    return Phases(
        proxy_connect=exchange.connected,
        socks=_between(exchange.connected, shaken) if exchange.handshake else None,
        tls=_between(shaken if exchange.handshake else exchange.connected, ready) if tls else None,
        first_byte=_between(ready, exchange.answered),
        transfer=_between(exchange.answered, exchange.total) if whole else None,
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _tls(exchange: Exchange) -> bool:
    return exchange.request.url.startswith("https:")


def _under_way(exchange: Exchange) -> str:
    """The phase that had begun and not ended."""
    if exchange.connected is None:
        return "proxy_connect"
    if exchange.prepared is None:
        return "socks" if exchange.handshake and exchange.hello is None else "tls"
    return "first_byte" if exchange.answered is None else "transfer"


def _failure(exchange: Exchange) -> tuple[str, str] | tuple[None, None]:
    if exchange.code == _OK or (exchange.code == _WRITE and exchange.full and exchange.request.wanted):
        return _answer(exchange)
    stage = _under_way(exchange)
    if exchange.code == _TIMEOUT:
        return stage, "timeout"
    if stage == "proxy_connect" or exchange.code == _RESOLVE_PROXY:
        return "proxy_connect", _connect_reason(exchange)
    reason = {"socks": _socks_reason, "tls": _tls_reason}.get(stage, _http_reason)(exchange)
    return (
        "first_byte" if reason == "malformed" and not exchange.received and stage == "transfer" else stage
    ), reason


def _answer(exchange: Exchange) -> tuple[str, str] | tuple[None, None]:
    """The verdict on a whole answer."""
    if exchange.status == _LOGIN_AT_PROXY:
        return "socks", "auth"
    request = exchange.request
    if exchange.status != request.status and exchange.status not in _SUCCESSES:
        return "first_byte", "redirect" if exchange.status in _REDIRECTS else "status"
    if request.status and exchange.status != request.status:
        return "transfer", "wrong_status"
    if exchange.received < request.wanted or exchange.sent < request.upload:
        return "transfer", "short_body"
    if request.body is not None and exchange.body.strip() != request.body.strip():
        return "transfer", "wrong_body"
    return None, None


def _connect_reason(exchange: Exchange) -> str:
    if exchange.code in {_RESOLVE_PROXY, _RESOLVE_HOST}:
        return "dns"
    return _ERRNOS.get(exchange.os_error, "local")


def _socks_reason(exchange: Exchange) -> str:
    if exchange.connect_status:
        return "auth" if exchange.connect_status == _LOGIN_AT_PROXY else "rejected"
    if exchange.code == _RESOLVE_HOST:
        return "dns"
    if exchange.code in {_RECEIVE, _SEND}:
        return "reset"
    if exchange.code in {_CERTIFICATE, _TLS_CONNECT}:
        return "tls"
    reason = _PROXY_REASONS.get(exchange.proxy_code, "rejected")
    return "dns_or_unreachable" if reason == "host_unreachable" and _named(exchange.request.url) else reason


def _named(target: str) -> bool:
    """Whether the target's host is a name, which somebody has to resolve, rather than an address."""
    host = urlsplit(target).hostname or ""
    return ":" not in host and not host.replace(".", "").isdigit()


def _tls_reason(exchange: Exchange) -> str:
    if exchange.code == _CERTIFICATE:
        return _CERTIFICATE_REASONS.get(exchange.verify, "untrusted")
    if (
        exchange.code in {_RECEIVE, _SEND}
        or exchange.os_error == _RESET
        or "unexpected eof" in exchange.message
    ):
        return "reset"
    return "handshake"


def _http_reason(exchange: Exchange) -> str:
    if exchange.answered is not None and (exchange.full or exchange.code == _PARTIAL):
        return "long_body" if exchange.full else "short_body"
    if (
        exchange.code in {_NOTHING, _SEND}
        or exchange.os_error == _RESET
        or "unexpected eof" in exchange.message
    ):
        return "reset"
    return "malformed"


_OK, _RESOLVE_PROXY, _RESOLVE_HOST, _PARTIAL, _WRITE, _TIMEOUT = 0, 5, 6, 18, 23, 28
_TLS_CONNECT, _NOTHING, _SEND, _RECEIVE, _CERTIFICATE = 35, 52, 55, 56, 60
_SUCCESSES, _REDIRECTS, _LOGIN_AT_PROXY = range(200, 300), range(300, 400), 407
_RESET = 104
_ERRNOS = {101: "unreachable", 104: "reset", 110: "timeout", 111: "refused", 113: "unreachable"}
_CERTIFICATE_REASONS = {
    0: "name",  # the chain is good, so it is what libcurl looks at by itself
    1: "name",
    9: "expired",
    10: "expired",
    62: "name",
    64: "name",
}
_PROXY_REASONS = {
    1: "malformed",  # an address type that there is not
    2: "malformed",  # another version of SOCKS
    7: "auth",  # SOCKS4: identd
    8: "auth",
    12: "auth",  # none of our ways of logging in
    15: "reset",
    17: "unsupported",
    18: "unsupported",
    19: "refused",
    20: "general",
    21: "host_unreachable",
    22: "network_unreachable",
    23: "rule",
    24: "expired",
    27: "dns",
    32: "malformed",  # a way of logging in that we did not offer
    33: "auth",
} | dict.fromkeys((3, 13, 14, 16, 28, 29, 30), "reset")
