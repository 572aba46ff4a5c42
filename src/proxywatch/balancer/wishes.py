"""What a client wishes for in its user name: `alice-country-se-city-got-session-abc-ttl-30m`.

The first `-` ends the user. After it come pairs of a wish and its value, in any order. The values of `node`
and `server` may hold `-` and run to the next known wish; all others end at the next `-`. What is empty, given
twice or not known is refused with a message that names it: a client whose wish is ignored gets some exit
instead of the one that it counts on. User names may be percent-encoded, as they stand in URLs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from proxywatch.balancer.request import Wishes
from proxywatch.errors import ParseError
from proxywatch.quantity import Duration

STRATEGIES = frozenset({"health_score", "round_robin", "least_connections", "weighted_latency", "random"})
LONGEST = 255
_LONGEST_TTL = 30 * 86400.0
_MANY_WORDS = frozenset({"node", "server"})
_FALLBACKS = ("none", "region", "any")
_WORD = re.compile(r"[A-Za-z0-9_.]+")
_WORDS = re.compile(r"[A-Za-z0-9_.-]+")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@lru_cache(maxsize=4096)
def parse(name: bytes) -> tuple[str, Wishes]:
    """The user and the wishes of a user name as a client sent it.

    Raises:
        ParseError: It cannot be read in exactly one way; the message names the wish.
    """
    user, dash, rest = _decode(name).partition("-")
    if not dash:
        return user, Wishes()
    return user, listed(rest)


def listed(text: str) -> Wishes:
    """Wishes without a user before them: `country-se-city-got`, as a listener has them.

    Raises:
        ParseError: As of `parse`.
    """
    given: dict[str, str] = {}
    words = text.split("-")
    place = 0
    while place < len(words):
        wish = words[place]
        if wish not in _READERS:
            raise ParseError(f"unknown wish {_shown(wish)}; known are {', '.join(_READERS)}")
        if wish in given:
            raise ParseError(f"the wish {wish} is given twice")
        end = place + 2
        if wish in _MANY_WORDS:
            while end < len(words) and words[end] not in _READERS:
                end += 1
        value = "-".join(words[place + 1 : end])
        if not value:
            raise ParseError(f"the wish {wish} is empty")
        given[wish] = value
        place = end
    fields: dict[str, Any] = {}
    for wish, value in given.items():
        fields |= _READERS[wish](value)
    return Wishes(**fields)


def over(wishes: Wishes, defaults: Wishes) -> Wishes:
    """The client's wishes, and the listener's where it has none."""
    if wishes == _NONE:
        return defaults
    names = Wishes.__dataclass_fields__
    own = {name: value for name in names if (value := getattr(wishes, name)) != getattr(_NONE, name)}
    return replace(defaults, **own)


def _decode(name: bytes) -> str:
    if len(name) > LONGEST:
        raise ParseError(f"a user name of more than {LONGEST} bytes")
    try:
        text = name.decode()
        if "%" in text:
            if _BROKEN_ESCAPE.search(text):
                raise ParseError("the user name has a % that is not followed by two hexadecimal digits")
            text = unquote_to_bytes(name).decode()
    except UnicodeDecodeError:
        raise ParseError("the user name is not UTF-8") from None
    if not text.isprintable():
        raise ParseError("the user name holds characters that cannot be printed")
    return text


def _shown(word: str) -> str:
    return repr(word[:32]) if word else "'' (two dashes in a row, or one at the end)"


def _country(value: str) -> dict[str, object]:
    code = value.lower()
    if len(code) != 2 or not code.isascii() or not code.isalpha():  # noqa: PLR2004 - ISO 3166's length
        raise ParseError(f"the wish country expects two letters, got {_shown(value)}")
    return {"country": "gb" if code == "uk" else code, "asked": code}


def _ttl(value: str) -> dict[str, object]:
    try:
        seconds = Duration.parse(value)
    except ParseError:
        raise ParseError(f"the wish ttl expects a duration such as 30m, got {_shown(value)}") from None
    if not 1 <= seconds <= _LONGEST_TTL:
        raise ParseError("the wish ttl is to lie between 1s and 30d")
    return {"ttl": float(seconds)}


def _one_of(wish: str, known: frozenset[str] | tuple[str, ...]) -> Callable[[str], dict[str, object]]:
    def read(value: str) -> dict[str, object]:
        if value not in known:
            expected = ", ".join(sorted(known))
            raise ParseError(f"the wish {wish} expects one of {expected}, got {_shown(value)}")
        return {wish: value}

    return read


def _text(wish: str, pattern: re.Pattern[str]) -> Callable[[str], dict[str, object]]:
    def read(value: str) -> dict[str, object]:
        if not pattern.fullmatch(value):
            raise ParseError(f"the wish {wish} holds characters other than letters, digits, _ and .")
        return {wish: value}

    return read


_READERS: Mapping[str, Callable[[str], dict[str, object]]] = {
    "country": _country,
    "city": lambda value: _text("city", _WORD)(value.lower()),
    "session": _text("session", _WORD),
    "ttl": _ttl,
    "node": _text("node", _WORDS),
    "server": _text("server", _WORDS),
    "strategy": _one_of("strategy", STRATEGIES),
    "fallback": _one_of("fallback", _FALLBACKS),
}
_NONE = Wishes()
