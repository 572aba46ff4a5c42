"""Conditions of rules: each key a test of the request. All keys of a condition must hold; no key is unknown.

source_device    part of the user agent where HTTP shows one; else part of the user's name, or one of its tags
domain           shell pattern (`*.streaming.com`), or `.streaming.com` for the name itself and all below it;
an
                 address never matches
time_range       `09:00-17:00`, both minutes included; over midnight when the end is the earlier one
client_ip_range  network, `192.168.1.0/24`
country          the country that was asked for
user, tag        by name
"""

import fnmatch
import re
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from ipaddress import ip_address, ip_network

from proxywatch.balancer.choosing.geography import country_code, is_code
from proxywatch.balancer.request import Request
from proxywatch.errors import ParseError

LONGEST = 255
Test = Callable[[Request], bool]
_LABEL = re.compile(r"[a-z0-9_*?\[\]!-]+")
_MINUTE = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_LITERAL = re.compile(r"[0-9.]+|.*:.*")


def compile_condition(condition: Mapping[str, str], zone: tzinfo) -> dict[str, Test]:
    """A test for each key.

    Args:
        condition: As written.
        zone: In which the times of day are meant.

    Raises:
        ParseError: With every fault, one per line: `key: message`.
    """
    tests, faults = {}, []
    for key, value in condition.items():
        make = _TESTS.get(key)
        if make is None:
            faults.append(f"{key[:40]}: unknown; known are {', '.join(_TESTS)}")
        elif not is_text(value):
            faults.append(f"{key}: expected a text of 1 to {LONGEST} characters")
        else:
            try:
                tests[key] = make(value, zone)
            except ParseError as error:
                faults.append(f"{key}: {error}")
    if faults:
        raise ParseError("\n".join(faults))
    return tests


def is_text(value: object) -> bool:
    """Whether a value from outside is a text of reasonable length."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()


def ascii_name(name: str) -> str:
    """A domain name in lower case, by its A-labels, without a trailing dot.

    Raises:
        ParseError: For what cannot be one.
    """
    text = name.lower().removesuffix(".")
    if text.isascii():
        return text
    if len(text) > LONGEST:
        raise ParseError("expected a domain name of at most 255 characters")
    try:
        return ".".join(label.encode("idna").decode() if label else "" for label in text.split("."))
    except UnicodeError:
        raise ParseError("expected a domain name") from None


def _source_device(value: str, _: tzinfo) -> Test:
    word = value.casefold()

    def matches(request: Request) -> bool:
        if request.user_agent:
            return word in request.user_agent.casefold()
        return word in request.user.casefold() or any(word == tag.casefold() for tag in request.tags)

    return matches


def _domain(value: str, _: tzinfo) -> Test:
    suffix = value.startswith(".")
    pattern = ascii_name(value.removeprefix("."))
    labels = pattern.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ParseError(
            "expected a pattern such as *.example.com, or .example.com; this one can never match a name"
        )
    if suffix:
        below = f".{pattern}"

        def ends(request: Request) -> bool:
            name = _name(request)
            return name == pattern or name.endswith(below)

        return ends
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda request: bool(name := _name(request)) and match(name) is not None


def _name(request: Request) -> str:
    """The name of the destination; empty for an address, or when there is none."""
    host = request.destination.host if request.destination else ""
    if not host or len(host) > LONGEST or _LITERAL.fullmatch(host):
        return ""
    try:
        return ascii_name(host)
    except ParseError:
        return ""


def _time_range(value: str, zone: tzinfo) -> Test:
    start, _, end = (part.strip() for part in value.partition("-"))
    if not (first := _MINUTE.fullmatch(start)) or not (last := _MINUTE.fullmatch(end)):
        raise ParseError("expected a range such as 09:00-17:00")
    since, until = (int(found[1]) * 60 + int(found[2]) for found in (first, last))

    def matches(request: Request) -> bool:
        now = datetime.fromtimestamp(request.time, zone)
        minute = now.hour * 60 + now.minute
        if since <= until:
            return since <= minute <= until
        return minute >= since or minute <= until

    return matches


def _client_ip_range(value: str, _: tzinfo) -> Test:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ParseError("expected a network such as 192.168.1.0/24") from None

    def matches(request: Request) -> bool:
        try:
            client = ip_address(request.client.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(client, "ipv4_mapped", None)
        return (mapped or client) in network

    return matches


def _country(value: str, _: tzinfo) -> Test:
    code = country_code(value)
    if not is_code(code):
        raise ParseError("expected a country's code, such as us")
    return lambda request: request.wishes.country == code


def _user(value: str, _: tzinfo) -> Test:
    return lambda request: request.user == value


def _tag(value: str, _: tzinfo) -> Test:
    return lambda request: value in request.tags


_TESTS: Mapping[str, Callable[[str, tzinfo], Test]] = {
    "source_device": _source_device,
    "domain": _domain,
    "time_range": _time_range,
    "client_ip_range": _client_ip_range,
    "country": _country,
    "user": _user,
    "tag": _tag,
}
