"""Why a request failed, from the words of Dante's log: a closed list of reasons, each with who is to blame.

The words are the server's own, the resolver's (gai_strerror) and the kernel's (strerror); the last two differ
between glibc and musl. What a client chose (names of hosts and users) stands between fixed words, so a text is
judged by how it begins and how it ends. A dial is told from the two forms that its failure has: `connect(2) to
... failed`, the kernel here refused to send it, so the way out is missing; `remote peer error`, something
answered, or nothing did, out there.
"""

import re
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
_NOT_SENT = re.compile(rb"connect\(2\) to (\S.*) from \S+ failed: ([^:]+)", re.DOTALL).fullmatch
_IN_NEGOTIATION = re.compile(
    rb"error after reading (\d+) bytes?(?:, [^:]*)? in \d+ seconds?: (.*)", re.DOTALL
).fullmatch
_BY_RULE = re.compile(rb"blocked by higher-level ([a-z]+)-rule #\d+(?:: (.*))?", re.DOTALL).fullmatch
_BY_LIMIT = re.compile(rb"session (?:rate )?limit reached").match
_UNRESOLVED = re.compile(rb"(?:could|can) not resolve (?:hostname|target address|host) ").match
_AFTER_GRANT = re.compile(
    rb"bind-reply from |expected bindreply from |eof from client$|failed to accept\(2\)"
).match
_PEER_ERROR = re.compile(rb"remote peer error \((.*)\)", re.DOTALL).fullmatch
_AUTHENTICATION = re.compile(
    rb"system password|could not access user |no user \"|pam_|PAM |bsd|gssapi|GSSAPI|ldap|LDAP|sasl|radius"
    rb"|.*authenticat", re.IGNORECASE,
).match  # fmt: skip
_RESOURCES = re.compile(
    rb".*(?:Too many open files|No buffer space|Cannot allocate memory|Out of memory)", re.DOTALL
).match


def of_probe(text: bytes) -> bool:
    """Whether a connection ended without having sent a byte: a health check, a port scan; no request."""
    negotiation = _IN_NEGOTIATION(text)
    return negotiation is not None and int(negotiation[1]) == 0


def after_grant(text: bytes) -> bool:
    """Whether a BIND that ended like this had been granted."""
    return _AFTER_GRANT(text) is not None


def of_dial(text: bytes) -> str | None:
    """The reason of a `pass ... ]` that moved no data and was never opened; None when it was no failed dial."""
    if text == b"connect timeout":
        return "connect_timeout"
    error = _PEER_ERROR(text)
    if error is not None:
        return _NETWORK.get(error[1], "destination_error")
    return None


def of_refusal(text: bytes) -> str:
    """The reason of a `block ... ]` of a request."""
    text = text.removeprefix(_DURING_REQUEST)
    rule = _BY_RULE(text)
    if rule is not None:
        detail = rule[2] or b""
        return of_refusal(detail) if _BY_LIMIT(detail) or detail.startswith(_DURING_REQUEST) else "socks_rule"
    if not text:
        return "socks_rule"
    negotiation = _IN_NEGOTIATION(text)
    if negotiation is not None:
        return _of_negotiation(negotiation[2])
    return of_resolver(text) or _of_connect(text) or _of_server(text)


def of_resolver(text: bytes) -> str | None:
    """The kind of a name that did not resolve; None when the text is about something else."""
    if _UNRESOLVED(text) is None:
        return None
    words = text.rstrip().rpartition(b": ")[2]
    return _RESOLVER.get(words, "dns_error")


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
    if text.startswith(b"unknown SOCKS version"):
        return "not_socks"
    if text.startswith(b"client offered no acceptable"):
        return "no_auth_method"
    if _AUTHENTICATION(text):
        return "auth_failed"
    return "bad_request"


def _of_server(text: bytes) -> str:
    if text.startswith((b"negotiate timeout", b"negotiation timeout")):
        return "negotiation_timeout"
    if _BY_LIMIT(text):
        return "session_limit"
    if text.startswith(
        (b"no rules matched", b"blocked by", b"DNS IP/hostname mismatch", b"no dns entry found")
    ):
        return "socks_rule"
    if text.startswith((b"could not bind address to use on external", b"could not get address to use on external",
                        b"failed to bind address on external")):  # fmt: skip
        return "no_external_address"
    if b"configured for our usage on the external interface" in text:
        return "no_external_address"
    if text.startswith(
        (b"eof from client", b"local client ", b"sending response to client", b"could not send")
    ):
        return "client_gone"
    if text.startswith((b"unbound ", b"unrecognized ", b"unknown ", b"client requested", b"client is requesting",
                        b"client says", b"client wants")):  # fmt: skip
        return "bad_request"
    return "proxy_error" if text.startswith(b"could not create") or _RESOURCES(text) else "other"


def by_rule(text: bytes) -> bool:
    """Whether a `block ... ]` comes from a rule or a limit, which `log: error` alone does not write."""
    return text.startswith(
        (b"blocked by", b"session limit", b"session rate limit", b"bind-reply from", b"expected bindreply")
    )


def is_error(text: bytes) -> bool:
    """Whether a `pass ... ]` ended by an error, which `log: error` writes too."""
    return text.startswith((b"remote peer error", b"local client error"))
