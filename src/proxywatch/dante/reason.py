"""Why a request failed, from the words of Dante's log: a closed list of reasons, each with who is to blame.

The words are the server's own, the resolver's (gai_strerror) and the kernel's (strerror); the last two differ
between glibc and musl. What a client chose (names of hosts and users) stands between fixed words, so a text
is judged by how it begins and how it ends. A dial is told from the two forms that its failure has:
`connect(2) to ... failed`, the kernel here refused to send it, so the way out is missing; `remote peer
error`, something answered, or nothing did, out there.
"""

import re
from functools import lru_cache
from typing import Final, Literal

Blame = Literal["client", "policy", "proxy", "tunnel", "destination"]

REASONS: Final[dict[str, Blame]] = {
    "not_socks": "client",
    "bad_request": "client",
    "no_auth_method": "client",
    "auth_failed": "client",
    "negotiation_aborted": "client",
    "negotiation_timeout": "client",
    "client_gone": "client",
    "socks4a": "client",
    "client_rule": "policy",
    "socks_rule": "policy",
    "session_limit": "policy",
    "dns_temporary": "proxy",
    "dns_error": "proxy",
    "proxy_error": "proxy",
    "other": "proxy",
    "upstream": "tunnel",
    "no_external_address": "tunnel",
    "no_route": "tunnel",
    "not_permitted": "tunnel",
    "dns_not_found": "destination",
    "dns_no_address": "destination",
    "refused": "destination",
    "reset": "destination",
    "unreachable": "destination",
    "connect_timeout": "destination",
    "destination_error": "destination",
}

_RESOLVER: Final = {
    b"Name or service not known": "dns_not_found",
    b"Name does not resolve": "dns_not_found",
    b"No address associated with hostname": "dns_no_address",
    b"Name has no usable address": "dns_no_address",
    b"Address family for hostname not supported": "dns_no_address",
    b"Temporary failure in name resolution": "dns_temporary",
    b"Try again": "dns_temporary",
}
_NETWORK: Final = {
    b"Connection refused": "refused",
    b"Connection reset by peer": "reset",
    b"Broken pipe": "reset",
    b"Software caused connection abort": "reset",
    b"Connection aborted": "reset",
    b"No route to host": "unreachable",
    b"Host is unreachable": "unreachable",
    b"Host is down": "unreachable",
    b"Network is unreachable": "unreachable",
    b"Network unreachable": "unreachable",
    b"Network is down": "unreachable",
    b"Connection timed out": "connect_timeout",
    b"Operation timed out": "connect_timeout",
}
_LOCAL: Final = {
    b"No route to host": "no_route",
    b"Host is unreachable": "no_route",
    b"Network is unreachable": "no_route",
    b"Network unreachable": "no_route",
    b"Network is down": "no_route",
    b"Invalid argument": "no_route",
    b"No such device": "no_route",
    b"Required key not available": "no_route",
    b"Permission denied": "not_permitted",
    b"Operation not permitted": "not_permitted",
    b"Cannot assign requested address": "no_external_address",
    b"Address not available": "no_external_address",
    b"Connection refused": "refused",
    b"Connection reset by peer": "reset",
    b"Connection timed out": "connect_timeout",
    b"Operation timed out": "connect_timeout",
}
_DURING_REQUEST = b"request was not performed due to error: "
_NOT_SENT = re.compile(rb"connect\(2\) to (.+) from \S+ failed: ([^:]+)", re.DOTALL).fullmatch
_IN_NEGOTIATION = re.compile(
    rb"error after reading \d+ bytes?(?:, [^:]*)? in \d+ seconds?: (.*)", re.DOTALL
).fullmatch
_BY_RULE = re.compile(rb"blocked by higher-level [a-z]+-rule #\d+(?:: (.*))?", re.DOTALL).fullmatch
_LIMITS = (b"session limit", b"session rate limit", b"per-key session")
_CHAINED = b"serverchain failed: "
_BEHIND: Final = {
    b"target refused connection by": "refused",
    b"target unreachable by": "unreachable",
    b"net unreachable by": "unreachable",
    b"connection to target from proxy server timed out": "connect_timeout",
}
_UNRESOLVED = re.compile(rb"(?:could|can) not resolve (?:hostname|target address|host) ").match
_UNRESOLVED_NAME = re.compile(
    rb"(?:request was not performed due to error: )?could not resolve hostname \"(.*)\": [^\"]*", re.DOTALL
).fullmatch
_AFTER_GRANT = re.compile(
    rb"bind-reply from |expected bindreply |eof from client$|failed to accept\(2\)"
    rb"|receiving request from client failed|sending bind-response to client failed"
).match
_PEER_ERROR = re.compile(rb"remote peer error \((.*)\)", re.DOTALL).fullmatch
_AUTHENTICATION = re.compile(
    rb"system password|could not access user |no user \"|pam_|PAM |bsd|gssapi|GSSAPI|ldap|LDAP|sasl|radius"
    rb"|.*authenticat", re.IGNORECASE,
).match  # fmt: skip
_RESOURCES = re.compile(
    rb".*(?:Too many open files|No file descriptors|No buffer space|Cannot allocate memory|Out of memory)",
    re.DOTALL,
).match
_NEGOTIATION: Final = {
    b"unknown SOCKS version": "not_socks",
    b"client offered no acceptable": "no_auth_method",
}
_SERVER: Final = {
    b"negotiate timeout": "negotiation_timeout",
    b"session limit": "session_limit",
    b"session rate limit": "session_limit",
    b"per-key session": "session_limit",
    b"no rules matched": "socks_rule",
    b"blocked by": "socks_rule",
    b"DNS IP/hostname mismatch": "socks_rule",
    b"no dns entry found": "socks_rule",
    b"could not bind address to use on external": "no_external_address",
    b"could not get address to use on external": "no_external_address",
    b"failed to bind address on external": "no_external_address",
    b"eof from client": "client_gone",
    b"local client ": "client_gone",
    b"sending response to client": "client_gone",
    b"could not send": "client_gone",
    b"receiving request from client": "client_gone",
    b"unbound ": "bad_request",
    b"unrecognized ": "bad_request",
    b"unknown ": "bad_request",
    b"client requested": "bad_request",
    b"client is requesting": "bad_request",
    b"client says": "bad_request",
    b"client wants": "bad_request",
    b"no IPv": "bad_request",
    b"could not create": "proxy_error",
}
_CUT = 3
_LONGEST = 240
_REFUSALS = (
    b"blocked by",
    *_LIMITS,
    b"bind-reply from",
    b"expected bindreply",
)


def of_probe(text: bytes) -> bool:
    """Whether a connection ended without having sent a byte: a health check, a port scan; no request."""
    return text.startswith((b"error after reading 0 bytes in", b"error after reading 0 bytes,"))


@lru_cache(maxsize=256)  # few texts make up nearly all ends
def of_dial(text: bytes) -> str | None:
    """The reason of a `pass ... ]` that moved no data and never began; None when no dial failed."""
    if text == b"connect timeout":
        return "connect_timeout"
    error = _PEER_ERROR(text)
    if error is not None:
        return _NETWORK.get(error[1], "destination_error")
    return None


@lru_cache(maxsize=256)
def of_refusal(text: bytes) -> str | None:
    """The reason of a `block ... ]` of a request; None when it ended a BIND that had been granted."""
    if _AFTER_GRANT(text):
        return None
    text = text.removeprefix(_DURING_REQUEST)
    if text.startswith(b"error after reading "):
        negotiation = _IN_NEGOTIATION(text)
        return _of_negotiation(negotiation[1]) if negotiation else "bad_request"
    if text.startswith(b"blocked by higher-level "):
        rule = _BY_RULE(text)
        return "session_limit" if rule and (rule[1] or b"").startswith(_LIMITS) else "socks_rule"
    if text.startswith(_CHAINED):
        return _by_begin(text.removeprefix(_CHAINED), _BEHIND) or "upstream"
    return of_resolver(text) or _of_connect(text) or _of_server(text)


def of_resolver(text: bytes) -> str | None:
    """The kind of a name that did not resolve; None when the text is about something else."""
    if _UNRESOLVED(text) is None:
        return None
    words = text.rstrip().rpartition(b": ")[2]
    if words in _RESOLVER:
        return _RESOLVER[words]
    # ` for IPv4 address` may follow; and the server cuts its texts at 255 bytes: in the words, after them,
    # or before.
    for known, kind in _RESOLVER.items():
        if words.startswith(known) or (len(words) > _CUT and known.startswith(words)):
            return kind
    return "dns_error" if len(text) < _LONGEST else "dns_not_found"  # nobody has a name as long as that


@lru_cache(maxsize=256)
def unresolved_name(text: bytes) -> bytes:
    """The name that a request could not resolve, whose line names no target; empty where that was cut."""
    match = _UNRESOLVED_NAME(text)
    return match[1] if match else b""


def _of_connect(text: bytes) -> str | None:
    failed = _NOT_SENT(text)
    if failed is None:
        return None
    if failed[1].startswith(b"0.0.0."):
        return "socks4a"
    return _LOCAL.get(failed[2], "proxy_error")


def _of_negotiation(text: bytes) -> str:
    if text == b"eof from local client" or text in _NETWORK:
        return "negotiation_aborted"
    return _by_begin(text, _NEGOTIATION) or ("auth_failed" if _AUTHENTICATION(text) else "bad_request")


def _of_server(text: bytes) -> str:
    if not text:
        return "socks_rule"
    if b"configured for our usage on the external interface" in text:
        return "no_external_address"
    begun = _by_begin(text, _SERVER)
    if begun is not None:
        return begun
    if _AUTHENTICATION(text):
        return "auth_failed"
    # The system's words alone: a child that could not hand the request on.
    return "proxy_error" if text in _LOCAL or _RESOURCES(text) else "other"


def _by_begin(text: bytes, table: dict[bytes, str]) -> str | None:
    return next((reason for begin, reason in table.items() if text.startswith(begin)), None)


def sort(text: bytes, *, passed: bool) -> Literal["end", "error", "refusal"]:
    """Which keyword of `log:` wrote a `]`: `disconnect` alone, `error` too, or any but `error`."""
    if passed:
        return "error" if text.startswith((b"remote peer error", b"local client error")) else "end"
    if not text or text.startswith(_REFUSALS):
        return "refusal"
    return "error"
