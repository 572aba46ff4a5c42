"""The attacks that the benches make: what each is called, and against which port."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import attackers


@dataclass(frozen=True)
class Attack:
    """One line of the table.

    Attributes:
        name: As people call it.
        target: The port: `http`, `health`; `tls` is the metrics port with TLS.
        act: What the clients do.
    """

    name: str
    target: str
    act: Callable[[attackers.Attacker], Awaitable[None]]


ATTACKS: tuple[Attack, ...] = (
    Attack("slow requests", "http", attackers.slowloris),
    Attack("enormous heads", "http", attackers.enormous),
    Attack("unfinished heads, 2,500 headers", "http", attackers.unfinished_heads),
    Attack("unfinished heads, 100 headers", "http", attackers.unfinished_hundred),
    Attack("100 headers, all at once", "http", attackers.all_at_once),
    Attack("many headers", "http", attackers.many_headers),
    Attack("empty lines", "http", attackers.empty_lines),
    Attack("chunks of newlines", "http", attackers.newline_chunks),
    Attack("chunks of a byte", "http", attackers.small_chunks),
    Attack("packets of a byte", "http", attackers.one_byte_packets),
    Attack("pipelining, unread", "http", attackers.pipelining),
    Attack("pipelining, smallest", "http", attackers.small_requests),
    Attack("other series, unread", "http", attackers.unread),
    Attack("other series, packed", "http", attackers.packed),
    Attack("status, packed", "http", attackers.status_at_once),
    Attack("scrapes, all at once", "http", attackers.scrapes_at_once),
    Attack("half closed, unread", "http", attackers.half_closed),
    Attack("resets", "http", attackers.resets),
    Attack("garbage", "http", attackers.garbage),
    Attack("silence", "http", attackers.silent),
    Attack("found: most time", "http", attackers.found_by_cpu),
    Attack("found: most memory", "http", attackers.found_by_memory),
    Attack("TLS: hello and no more", "tls", attackers.hellos),
    Attack("TLS: handshakes", "tls", attackers.handshakes),
    Attack("TLS: idle", "tls", attackers.tls_idle),
    Attack("TLS: garbage", "tls", attackers.garbage),
    Attack("TLS: found: most time", "tls", attackers.found_by_cpu_tls),
    Attack("TLS: found: most memory", "tls", attackers.found_by_memory_tls),
    Attack("health: silence", "health", attackers.silent),
    Attack("health: long lines", "health", attackers.long_lines),
    Attack("health: packets of a byte", "health", attackers.one_byte_packets),
    Attack("health: garbage", "health", attackers.garbage),
    Attack("health: resets", "health", attackers.resets),
    Attack("health: found: most time", "health", attackers.found_by_cpu_health),
)


def chosen(word: str) -> Iterable[Attack]:
    """The attacks that have a word in their names."""
    return [attack for attack in ATTACKS if word in attack.name]
