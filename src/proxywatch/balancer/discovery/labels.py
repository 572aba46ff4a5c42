"""A node described by labels: of a target in a file, of a container, of a pod. Pure.

    country         required
    id, city, server, slot, weight, max_connections, tags (with commas between)

There is no label for a password, nor for a file that holds one: whoever may set a label could read any file of ours.
"""

from collections.abc import Mapping

from proxywatch.balancer.node import Node
from proxywatch.balancer.nodes import NodeSettings, node_of
from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical

KNOWN = ("country", "id", "city", "server", "slot", "weight", "max_connections", "tags")
_LONGEST = 256
_LONGEST_ID = 64
_MOST_TAGS = 32


def described(
    labels: Mapping[str, str], *, url: str, sidecar: str = "", name: str = "", instance: str = ""
) -> Node:
    """The node.

    Args:
        labels: Those of KNOWN; others are passed over.
        url: Of its proxy.
        sidecar: Base URL of its exporter; empty for none.
        name: Its id where the labels have none.
        instance: What runs there.

    Raises:
        ParseError: With everything that is wrong with it.
    """
    known = {key: labels[key] for key in KNOWN if labels.get(key)}
    for key, value in known.items():
        if len(value) > _LONGEST or not value.isprintable():
            raise ParseError(f"{key}: expected at most {_LONGEST} printable characters")
    if "country" not in known:
        raise ParseError("it has no country")
    entry = NodeSettings(
        id=known.get("id") or identifier(name),
        country=known["country"],
        url=url if "://" in url else f"socks5h://{url}",
        city=known.get("city", ""),
        server=known.get("server", ""),
        sidecar=sidecar,
        weight=_weight(known.get("weight", "1")),
        max_connections=_count(known.get("max_connections", "0")),
        slot=known.get("slot", ""),
        tags=_tags(known.get("tags", "")),
    )
    return node_of(entry, instance)


def identifier(text: str) -> str:
    """A text as an id: what no id may have becomes a dash."""
    plain = "".join(it if it.isascii() and (it.isalnum() or it in "._-") else "-" for it in text)
    return plain.strip("._-")[:_LONGEST_ID]


def at(host: str, port: int) -> str:
    """Host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def endpoint(text: str) -> tuple[str, int]:
    """Host, without brackets, and port of `HOST:PORT`.

    Raises:
        ParseError: It is none.
    """
    host, _, number = text.rpartition(":")
    try:
        return canonical(host), port(number)
    except ParseError:
        raise ParseError("expected HOST:PORT") from None


def port(text: str) -> int:
    """A port.

    Raises:
        ParseError: It is none.
    """
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 1 << 16:  # noqa: PLR2004
        return int(text)
    raise ParseError("expected a port from 1 to 65535")


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight <= 1000:  # noqa: PLR2004 - as in the settings
        raise ParseError("weight: expected a number above 0, of at most 1000")
    return weight


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):  # noqa: PLR2004
        raise ParseError("max_connections: expected a whole number")
    return int(text)


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(tag.strip() for tag in text.split(",") if tag.strip())
    if len(tags) > _MOST_TAGS:
        raise ParseError(f"tags: expected at most {_MOST_TAGS}")
    return tags
