"""A WireGuard device and its peers, as the UAPI socket and `wg show DEVICE dump` tell them.

UAPI, the answer to `get=1` (wireguard.com/xplatform); keys in hexadecimal; a peer begins at its public key:

    private_key=...  listen_port=51820
    public_key=...  preshared_key=...  endpoint=192.0.2.1:51820  last_handshake_time_sec=1795264112
    last_handshake_time_nsec=254412946  tx_bytes=180  rx_bytes=92  persistent_keepalive_interval=5  errno=0

boringtun, whose answer begins with own_public_key, writes the age of the handshake there, not its time. From
others, too, a time before 1973 is taken for an age, unless the clock itself stands there. For "never"
wireguard-go writes 0 in both fields; boringtun leaves both out.

`dump` (wg(8)): tabs between fields, keys in base64, the device's line first:

    PRIVATE-KEY  PUBLIC-KEY  LISTEN-PORT  FWMARK
    PUBLIC-KEY  PRESHARED-KEY  ENDPOINT  ALLOWED-IPS  LATEST-HANDSHAKE  RX  TX  KEEPALIVE

Both hold secrets. They are overwritten in the caller's own buffer before anything else looks at it, so that
no copy of them comes to be, whatever happens next.
"""

import re
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass, replace

from proxywatch.errors import ParseError, SourceError

_UAPI_SECRET = re.compile(rb"^(?:private|preshared)_key=([^\n]*)", re.MULTILINE)
_DUMP_SECRET = re.compile(rb"\A([^\t\n]*)|^[^\t\n]*\t([^\t\n]*)", re.MULTILINE)
_BASE64_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_LONGEST_NUMBER = 20
_DEVICE_FIELDS, _PEER_FIELDS = 4, 8
_OLDEST_TIME = 10**8  # Unix time in 1973: as an age it would be three years
_PEER_KEYS = {
    "last_handshake_time_sec", "last_handshake_time_nsec", "rx_bytes", "tx_bytes",
    "persistent_keepalive_interval", "endpoint",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer.

    Attributes:
        public_key: In base64.
        endpoint: `ADDRESS:PORT`, an IPv6 address in brackets; None when it is not known.
        last_handshake: Unix time in whole seconds; 0 for never, or where only its age is known.
        receive_bytes: From the peer, all of WireGuard's own packets included.
        transmit_bytes: To the peer, the same.
        keepalive: Seconds between keepalives that we send; 0 for none.
        handshake_age: Seconds since the last handshake, from an implementation that tells no time.
    """

    public_key: str
    endpoint: str | None = None
    last_handshake: int = 0
    receive_bytes: int = 0
    transmit_bytes: int = 0
    keepalive: int = 0
    handshake_age: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One device: its UDP port, and its peers in the order of their keys."""

    listen_port: int
    peers: tuple[Peer, ...]


def parse_uapi(content: memoryview) -> Device:
    """Read the answer of a UAPI socket.

    Args:
        content: Writable; the secrets in it are overwritten.

    Raises:
        SourceError: The device's own refusal.
        ParseError: Not such an answer; the message quotes nothing.
    """
    _blank(_UAPI_SECRET, content)
    device: dict[str, str] = {}
    peers: list[dict[str, str]] = []
    for line in _text(content).split("\n"):
        key, equals, value = line.partition("=")
        if key == "public_key":
            peers.append({key: _hex_key(value)})
        elif key in _PEER_KEYS:
            if not peers:
                raise ParseError("UAPI: a peer without a key")
            peers[-1][key] = value
        elif key in ("listen_port", "errno", "own_public_key"):
            device[key] = value
        elif line and not equals:
            raise ParseError("UAPI: a line without `=`")
    if _number(device.get("errno", "").removeprefix("-")):
        raise SourceError("the UAPI socket refused to tell (errno is not 0)")
    ages = "own_public_key" in device
    known = _sorted(_uapi_peer(peer, ages=ages) for peer in peers)
    return Device(_number(device.get("listen_port", "0")), known)


def parse_dump(content: memoryview) -> Device:
    """Read what `wg show DEVICE dump` writes.

    Args:
        content: Writable; the secrets in it are overwritten.

    Raises:
        ParseError: Not such an output; the message quotes nothing.
    """
    _blank(_DUMP_SECRET, content)
    first, *rest = (line.split("\t") for line in _text(content).removesuffix("\n").split("\n"))
    if len(first) != _DEVICE_FIELDS:
        raise ParseError("wg dump: the first line has not four fields")
    return Device(_number(first[2]), _sorted(_dump_peer(fields) for fields in rest))


def base64_key(key: bytes | memoryview) -> str:
    """A public key as people know it."""
    return b2a_base64(key, newline=False).decode()


def dated(device: Device, now: float) -> Device:
    """The device with the times of handshakes of which only the age was known.

    Args:
        device: As it was read.
        now: Unix time of the reading. A clock that stands before 1973 itself tells no age from a time.
    """
    peers = []
    for peer in device.peers:
        age = peer.handshake_age
        if age is None:
            peers.append(peer)
        elif now < _OLDEST_TIME:
            peers.append(replace(peer, last_handshake=int(age), handshake_age=None))
        else:
            peers.append(replace(peer, last_handshake=max(1, round(now - age))))
    return Device(device.listen_port, tuple(peers))


def _sorted(peers: Iterable[Peer]) -> tuple[Peer, ...]:
    return tuple(sorted(peers, key=lambda peer: peer.public_key))


def _uapi_peer(peer: dict[str, str], *, ages: bool) -> Peer:
    seconds = _number(peer.get("last_handshake_time_sec", "0"))
    age = seconds + _number(peer.get("last_handshake_time_nsec", "0")) / 1e9
    is_age = "last_handshake_time_sec" in peer if ages else 0 < age < _OLDEST_TIME
    return Peer(
        peer["public_key"],
        peer.get("endpoint"),
        0 if is_age else seconds,
        _number(peer.get("rx_bytes", "0")),
        _number(peer.get("tx_bytes", "0")),
        _number(peer.get("persistent_keepalive_interval", "0")),
        age if is_age else None,
    )


def _dump_peer(fields: list[str]) -> Peer:
    if len(fields) != _PEER_FIELDS or not _BASE64_KEY.fullmatch(fields[0]):
        raise ParseError("wg dump: a peer's line has not eight fields, a public key first")
    key, _, endpoint, _, handshake, received, transmitted, keepalive = fields
    return Peer(
        key,
        None if endpoint == "(none)" else endpoint,
        _number(handshake),
        _number(received),
        _number(transmitted),
        0 if keepalive == "off" else _number(keepalive),
    )


def _blank(secret: re.Pattern[bytes], content: memoryview) -> None:
    """Overwrite whatever the pattern's groups match."""
    for match in secret.finditer(content):
        start, end = match.span(match.lastindex or 0)
        content[start:end] = b"-" * (end - start)


def _text(content: memoryview) -> str:
    return bytes(content).decode("ascii", errors="replace")


def _number(digits: str) -> int:
    # int() would quote what it cannot read, and so might tell a secret that stands in the wrong place.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER):
        raise ParseError("WireGuard: a field that should be a number is none")
    return int(digits)


def _hex_key(value: str) -> str:
    if not _HEX_KEY.fullmatch(value):
        raise ParseError("UAPI: a public key that is none")
    return base64_key(bytes.fromhex(value))
