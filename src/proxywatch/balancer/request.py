"""What a client asks of the pool: a destination, and wishes about the exit."""

from dataclasses import dataclass
from typing import Literal

import msgspec

Fallback = Literal["none", "region", "any"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a client wished for in its user name; an empty field is no wish.

    Args:
        country: ISO 3166 code in lower case (`gb`, also where `uk` was asked for).
        asked: The country as the client spelled it, for answers (`uk`).
        city: City code.
        session: Name of the client's session; connections of one session share an exit.
        ttl: Idle seconds after which the session's lease ends; 0 for the configured time.
        node: Node id.
        server: VPN server behind the node.
        strategy: Name of a strategy.
        fallback: Where to go when the country has no usable node; None for the configured way.
    """

    country: str = ""
    asked: str = ""
    city: str = ""
    session: str = ""
    ttl: float = 0.0
    node: str = ""
    server: str = ""
    strategy: str = ""
    fallback: Fallback | None = None


class Destination(msgspec.Struct, frozen=True, gc=False):  # these two are made for every request
    """Where the client wants to go.

    Args:
        host: Name in lower case without a trailing dot, or an address literal in canonical form without
            brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Request(msgspec.Struct, frozen=True, gc=False):
    """One connection that a client wants opened.

    Args:
        at: When it arrived, monotonic seconds.
        time: The same moment as Unix time, for rules that know the time of day.
        client: The client's address, without port.
        user: Name of the authenticated user; empty where nobody has to log in.
        destination: Where to; None when an exit is asked for without a destination (the API's assign).
        wishes: What the user name, or the listener, asks for.
        user_agent: As HTTP shows it; empty over SOCKS.
        countries: The countries that this user may use; empty for all.
        tags: Words that the listener or the user's entry attaches, for rules.
    """

    at: float
    time: float
    client: str
    user: str = ""
    destination: Destination | None = None
    wishes: Wishes = Wishes()
    user_agent: str = ""
    countries: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
