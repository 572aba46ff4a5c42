"""How an attempt can end, and what the client is told: SOCKS replies, HTTP statuses and reasons in one table.

A failure is the node's (`node`, or `hop` for the proxy before it), the destination's or our own. Only the
first kind is tried on another node: `always`, or `once` where the node may just as well be right about the
destination, and the second answer decides who is blamed.
"""

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from proxywatch.balancer.attempt import Blame
from proxywatch.parse import socks

Retry = Literal["never", "once", "always"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a client gets no connection.

    Attributes:
        reason: A label of a closed set, for metrics.
        blame: Whose fault it is; `client` where it asked for what it may not have.
        reply: Of SOCKS5.
        status: Of HTTP.
        error: The error type of the Proxy-Status field (RFC 9209).
        detail: A sentence for the client and the log.
        retry: Whether another node may be tried.
    """

    reason: str
    blame: Blame | Literal["client"]
    reply: int
    status: int
    error: str
    detail: str
    retry: Retry = "never"


def _node(reason: str, detail: str, error: str = "destination_unavailable") -> Outcome:
    return Outcome(reason, "node", socks.GENERAL, 503, error, detail, "always")


def _self(reason: str, detail: str) -> Outcome:
    return Outcome(reason, "self", socks.GENERAL, 503, "proxy_internal_error", detail)


def _destination(  # noqa: PLR0917 - a row of the table
    reason: str, reply: int, status: int, error: str, detail: str, retry: Retry = "never"
) -> Outcome:
    return Outcome(reason, "destination", reply, status, error, detail, retry)


DIAL_REFUSED = _node("dial_refused", "the node refuses connections")
DIAL_TIMEOUT = _node("dial_timeout", "the node does not answer in time", "connection_timeout")
DIAL_UNREACHABLE = _node("dial_unreachable", "the node cannot be reached")
DIAL_NAME = _node("dial_name", "the node's own name cannot be resolved")
DIAL_RESET = _node("dial_reset", "the node ended the connection before its answer")
DIAL_TLS = _node("dial_tls", "no TLS with the node")
NODE_PROTOCOL = _node("node_protocol", "the node does not answer as its protocol says")
NODE_LOGIN = _node("node_login", "the node does not accept our login")
EXIT_DRIFT = _node("exit_drift", "the node's exit turned out to be wrong")
NODE_PASSWORD = _self("node_password", "the file with the node's password cannot be read")
NODE_VIA = _self("node_via", "the node is reached through another that is not known")

NO_DESCRIPTORS = _self("no_descriptors", "out of file descriptors")
NO_PORTS = _self("no_ports", "out of local ports toward the node")
NO_MEMORY = _self("no_memory", "out of memory for sockets")
LATE = _self("late", "this relay was too busy to see the answer in time")
INTERNAL = _self("internal", "an error of this relay; its log says more")
FULL = _self("full", "as many connections are open as are allowed")
STOPPING = _self("stopping", "this relay is about to stop")

DENIED = Outcome("denied", "client", socks.FORBIDDEN, 403, "http_request_denied", "forbidden")
LOCAL = Outcome(
    "deny_list", "client", socks.FORBIDDEN, 403, "destination_ip_prohibited", "forbidden destination"
)
NO_NODE = Outcome("no_node", "node", socks.GENERAL, 503, "destination_unavailable", "no usable node")
BAD_ANSWER = Outcome(
    "bad_answer", "destination", socks.GENERAL, 502, "http_protocol_error", "an answer with no one reading"
)
CUT_ANSWER = Outcome(
    "cut_answer", "destination", socks.GENERAL, 502, "connection_terminated", "the answer was cut"
)
LOGIN = Outcome("login", "client", socks.GENERAL, 407, "http_request_denied", "wrong user or password")
WISH = Outcome("wish", "client", socks.GENERAL, 407, "http_request_denied", "a wish that cannot be read")
HANDSHAKE_TIMEOUT = Outcome(
    "handshake_timeout", "client", socks.GENERAL, 408, "http_request_error", "no request"
)
NO_COMMAND = Outcome(
    "command", "client", socks.NO_COMMAND, 405, "http_request_denied", "not a command served here"
)
MALFORMED = Outcome("malformed", "client", socks.GENERAL, 400, "http_request_error", "a malformed request")
LIMITED = Outcome(
    "user_limit", "client", socks.FORBIDDEN, 403, "http_request_denied", "a limit of the user is reached"
)
NO_UDP = Outcome(
    "no_udp", "client", socks.NO_COMMAND, 405, "http_request_denied", "the node carries no datagrams"
)

_REPLIES = {
    socks.GENERAL: _node("socks_general", "the node's proxy failed"),
    socks.NETWORK: _node("socks_network", "the node's network is unreachable"),
    socks.FORBIDDEN: _destination(
        "socks_forbidden", socks.FORBIDDEN, 403, "http_request_denied", "the node forbids the destination"),
    socks.HOST: _destination(
        "socks_host", socks.HOST, 502, "destination_ip_unroutable", "the destination cannot be reached",
        "once"),
    socks.REFUSED: _destination(
        "socks_refused", socks.REFUSED, 502, "connection_refused", "the destination refuses the connection"),
    socks.EXPIRED: _destination(
        "socks_expired", socks.EXPIRED, 504, "connection_timeout", "the destination does not answer", "once"),
    socks.NO_COMMAND: _destination(
        "socks_command", socks.NO_COMMAND, 502, "http_request_denied", "the node does not serve the command"),
    socks.NO_ADDRESS_TYPE: _destination(
        "socks_address_type", socks.NO_ADDRESS_TYPE, 502, "destination_ip_unroutable",
        "the node does not serve this type of address"),
}  # fmt: skip
_STATUSES = {
    403: _REPLIES[socks.FORBIDDEN], 451: _REPLIES[socks.FORBIDDEN], 404: _REPLIES[socks.HOST],
    405: _REPLIES[socks.NO_COMMAND], 407: NODE_LOGIN, 502: _REPLIES[socks.HOST], 504: _REPLIES[socks.EXPIRED],
}  # fmt: skip
_OURS = {
    errno.EMFILE: NO_DESCRIPTORS, errno.ENFILE: NO_DESCRIPTORS, errno.EADDRNOTAVAIL: NO_PORTS,
    errno.EAGAIN: NO_PORTS, errno.ENOBUFS: NO_MEMORY, errno.ENOMEM: NO_MEMORY,
}  # fmt: skip
_THEIRS = {
    errno.ECONNREFUSED: DIAL_REFUSED, errno.ECONNRESET: DIAL_RESET, errno.ETIMEDOUT: DIAL_TIMEOUT,
}  # fmt: skip


def of_reply(code: int) -> Outcome:
    """What a node's SOCKS reply means."""
    return _REPLIES.get(code, NODE_PROTOCOL)


def of_status(status: int) -> Outcome:
    """What the answer of a node that is an HTTP proxy means."""
    return _STATUSES.get(status, _REPLIES[socks.GENERAL])


def of_error(error: Exception) -> Outcome:
    """What a dial's exception means."""
    if isinstance(error, socket.gaierror):
        return DIAL_NAME
    if isinstance(error, ssl.SSLError):
        return DIAL_TLS
    number = getattr(error, "errno", None) or 0
    return _OURS.get(number) or _THEIRS.get(number) or DIAL_UNREACHABLE
