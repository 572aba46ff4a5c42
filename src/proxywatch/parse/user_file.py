"""The file of users: htpasswd lines with bcrypt hashes, and options behind them.

    alice:$2b$12$...
    bob:$2b$12$...:role=read countries=se,de max_connections=50 bytes_per_second=1MB bytes_per_day=10GB

Options are parted by blanks or colons. A user's name has no `-`, as wishes begin there.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from proxywatch.errors import ConfigError, Fault, ParseError
from proxywatch.quantity import Size

_HASH = re.compile(r"\$2[abxy]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}")
_NAME = re.compile(r"[^\s:%$-]{1,64}")
_COUNTRY = re.compile(r"[a-z]{2}")
_MOST_USERS = 100_000
_ROLES = frozenset({"read", "operate"})
_SIZES = frozenset({"bytes_per_second", "bytes_per_day", "bytes_per_month"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One user.

    Attributes:
        name: Without `-`.
        hashed: The bcrypt hash of the password.
        role: What the user may do at the API: `read` or `operate`; empty for nothing said.
        countries: The exits that the user may have, in lower case; empty for all.
        max_connections: Open at once; 0 for no limit of its own.
        bytes_per_second: Of both directions; 0 for no limit.
        bytes_per_day: Of both directions, by UTC; 0 for no limit.
        bytes_per_month: The same for a calendar month.
    """

    name: str
    hashed: str
    role: str = ""
    countries: frozenset[str] = frozenset()
    max_connections: int = 0
    bytes_per_second: int = 0
    bytes_per_day: int = 0
    bytes_per_month: int = 0


def parse(text: str, file: str = "users") -> dict[str, Entry]:
    """The users by name.

    Raises:
        ConfigError: Everything that is wrong with the lines. No name is quoted: in a broken line a hash may
            stand in its place.
    """
    entries: dict[str, Entry] = {}
    faults: list[Fault] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        place = f"{file}:{number}"
        try:
            entry = _entry(line.strip())
        except ParseError as error:
            faults.append(Fault(place, str(error)))
            continue
        if entry.name in entries:
            faults.append(Fault(place, "the user is given twice"))
        entries[entry.name] = entry
    if len(entries) > _MOST_USERS:
        faults.append(Fault(file, f"more than {_MOST_USERS} users"))
    if not entries and not faults:
        faults.append(Fault(file, "no users in it"))
    if faults:
        raise ConfigError(*faults)
    return entries


def _entry(line: str) -> Entry:
    name, _, rest = line.partition(":")
    hashed, _, options = rest.partition(":")
    if not _NAME.fullmatch(name) or not name.isprintable():
        raise ParseError("a user's name has 1 to 64 characters, and none of `-`, `:`, `%`, `$` and blanks")
    if not _HASH.fullmatch(hashed):
        raise ParseError("expected a bcrypt hash, as `htpasswd -B` makes them")
    entry = Entry(name, hashed)
    seen = set()
    for option in options.replace(":", " ").split():
        key, _, value = option.partition("=")
        if key in seen:
            raise ParseError(f"{key} is given twice")
        seen.add(key)
        entry = replace(entry, **_option(key, value))
    return entry


def _option(key: str, value: str) -> dict[str, Any]:
    if key == "role":
        if value not in _ROLES:
            raise ParseError("role is `read` or `operate`")
        return {key: value}
    if key == "countries":
        countries = ["gb" if code == "uk" else code for code in value.lower().split(",")]
        if not all(map(_COUNTRY.fullmatch, countries)):
            raise ParseError("countries are two letters each, with commas between them")
        return {key: frozenset(countries)}
    if key == "max_connections":
        if not value.isascii() or not value.isdigit() or len(value) > 9:  # noqa: PLR2004 - digits
            raise ParseError("max_connections is a whole number")
        return {key: int(value)}
    if key in _SIZES:
        try:
            return {key: int(Size.parse(int(value) if value.isdigit() else value))}
        except ParseError:
            raise ParseError(f"{key} is a size such as 1MB") from None
    known = ", ".join(["role", "countries", "max_connections", *sorted(_SIZES)])
    raise ParseError(f"unknown option {key[:32]!r}; known are {known}")
