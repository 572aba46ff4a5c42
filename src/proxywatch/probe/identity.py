"""What a service says about whoever asks it: the address that it sees, and what it knows of that.

Three shapes are read, one per kind of service:

    {"ip": "193.138.7.148", "country": "Sweden", "city": "Gothenburg", "mullvad_exit_ip": true,
     "mullvad_exit_ip_hostname": "se-got-wg-001", ...}          JSON, the names of the keys vary a little
    ip=193.138.7.148 / loc=SE / ...                              a key and a value per line
    193.138.7.148                                                the address alone
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

import msgspec

from proxywatch.errors import ParseError

_ADDRESS = ("ip", "query", "ip_addr", "address", "origin")
_CODE = ("country_iso", "country_code", "countryCode", "loc", "country")
_COUNTRY = ("country", "country_name")
_LONGEST = 64
_CODE_LENGTH = 2


class Identity(msgspec.Struct, frozen=True):
    """Who we are to others.

    Attributes:
        address: As inet_ntop writes it.
        country: Its name; empty when unknown.
        code: The country's two letters in lower case; empty when unknown.
        city: Empty when unknown.
        server: The VPN's own name of the relay; empty when unknown.
        vpn: Whether the address is one of the VPN's exits; None when the service does not know.
    """

    address: str
    country: str = ""
    code: str = ""
    city: str = ""
    server: str = ""
    vpn: bool | None = None


def parse(body: bytes) -> Identity:
    """Read an answer.

    Raises:
        ParseError: It is none of the three shapes, or has no address.
    """
    fields = _json(body) if body.lstrip()[:1] == b"{" else _lines(body)
    vpn = fields.get("mullvad_exit_ip")
    server = _text(fields, ("mullvad_exit_ip_hostname",))
    codes = [text for key in _CODE if len(text := _text(fields, (key,))) == _CODE_LENGTH]
    names = [text for key in _COUNTRY if len(text := _text(fields, (key,))) > _CODE_LENGTH]
    return Identity(
        address=_address(_text(fields, _ADDRESS)),
        country=next(iter(names), ""),
        code=next(iter(codes), _code(server)).lower(),
        city=_text(fields, ("city",)),
        server=server,
        vpn=vpn if isinstance(vpn, bool) else None,
    )


def agree(identities: Iterable[Identity]) -> Identity:
    """One identity of several, at least one, best service first.

    The address that most of them saw wins, the first one among equals; what they know about it is taken from
    the first of its witnesses that knows.
    """
    seen = list(identities)
    addresses = [identity.address for identity in seen]
    address = max(addresses, key=addresses.count)
    merged: dict[str, str | bool] = {}
    for witness in seen:
        if witness.address == address:
            known = {
                name: value
                for name, value in msgspec.structs.asdict(witness).items()
                if value not in {"", None}
            }
            merged = known | merged
    return msgspec.convert(merged, Identity)


def _json(body: bytes) -> Mapping[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ParseError("exit identity: not the JSON object that it begins as") from None


def _lines(body: bytes) -> Mapping[str, object]:
    try:
        lines = body.decode("ascii").split()
    except UnicodeDecodeError:
        raise ParseError("exit identity: neither JSON nor ASCII") from None
    if len(lines) == 1 and "=" not in lines[0]:
        return {"ip": lines[0]}
    return {key: value for key, equals, value in (line.partition("=") for line in lines) if equals}


def _text(fields: Mapping[str, object], keys: Iterable[str]) -> str:
    """The first of the keys that holds text, fit for a label."""
    value = next((value for key in keys if isinstance(value := fields.get(key), str) and value), "")
    return "".join(filter(str.isprintable, value))[:_LONGEST].strip()


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ParseError("exit identity: no address in it") from None


def _code(server: str) -> str:
    """The country of a relay by its name: `se-got-wg-001`."""
    code, dash, _ = server.partition("-")
    return code if dash and len(code) == _CODE_LENGTH and code.isalpha() else ""
