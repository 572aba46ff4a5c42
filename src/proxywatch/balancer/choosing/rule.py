"""Rules: what an operator wants done with certain requests, whatever client and strategy would have.

Rules are tried by ascending priority; at equal priority those of the file come first, then the older one. The
first whose condition holds decides. There are at most MOST_RULES, and each is read whole or refused with
every fault.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Any, Literal

import msgspec

from proxywatch.balancer.choosing.condition import LONGEST, Test, compile_condition, is_text
from proxywatch.balancer.choosing.geography import country_code, is_code
from proxywatch.balancer.request import Request
from proxywatch.errors import ConfigError, Fault, ParseError

MOST_RULES = 1000
Origin = Literal["file", "api"]
Zones = Callable[[str], tzinfo]
_ACTIONS = ("node", "country", "city", "tag", "strategy", "fallback", "deny")
_FALLBACKS = ("none", "region", "any")
_DEFAULT_PRIORITY = 100
_HIGHEST = 1_000_000
_KEYS = ("name", "condition", "action", "priority", "enabled", "timezone")


class Action(msgspec.Struct, frozen=True):
    """What is done.

    Attributes:
        node: Only this node serves; when it is unfit the request is refused, unless `fallback` says
            otherwise.
        country: Serve from this country.
        city: Serve from this city.
        tag: Only nodes with this tag serve.
        strategy: Choose by this strategy.
        fallback: Where to go when none of these has a usable node.
        deny: Refuse.
    """

    node: str = ""
    country: str = ""
    city: str = ""
    tag: str = ""
    strategy: str = ""
    fallback: Literal["", "none", "region", "any"] = ""
    deny: bool = False


class Rule(msgspec.Struct, frozen=True):
    """One rule; `tests` are its compiled condition and are not shown.

    Attributes:
        id: Unique.
        name: For people.
        condition: As written.
        action: What is done.
        priority: Lower ones are tried first.
        enabled: Whether it is tried.
        timezone: In which its times are meant.
        origin: `file` or `api`.
        created: Unix time; the older one of two goes first.
        tests: By key of the condition.
    """

    id: str
    name: str
    condition: dict[str, str]
    action: Action
    priority: int = _DEFAULT_PRIORITY
    enabled: bool = True
    timezone: str = "UTC"
    origin: Origin = "api"
    created: float = 0.0
    tests: dict[str, Test] = {}

    def order(self) -> tuple[int, bool, float, str]:
        """Rules are tried by this."""
        return self.priority, self.origin != "file", self.created, self.id

    def matches(self, request: Request) -> bool:
        """Whether every key of the condition holds."""
        return all(test(request) for test in self.tests.values())

    def document(self) -> dict[str, Any]:
        """For people, the API and the store."""
        action = {key: value for key, value in msgspec.to_builtins(self.action).items() if value}
        return {
            "id": self.id, "name": self.name, "condition": dict(self.condition), "action": action,
            "priority": self.priority, "enabled": self.enabled, "timezone": self.timezone,
            "origin": self.origin, "created": self.created,
        }  # fmt: skip


def read_rule(
    document: object,
    *,
    id: str,  # noqa: A002 - the field's name
    created: float,
    origin: Origin,
    zones: Zones,
    strategies: Iterable[str] = (),
    place: str = "rule",
) -> Rule:
    """A rule as a person or a program wrote it.

    Args:
        document: A mapping of name, condition, action, priority, enabled, timezone.
        id: Of the rule.
        created: Unix time.
        origin: Where it comes from.
        zones: Finds a time zone by name; raises for an unknown one.
        strategies: Names of the known strategies; empty to take any.
        place: For the faults.

    Raises:
        ConfigError: With every fault.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(Fault(place, "expected a mapping"))
    faults = [
        Fault(f"{place} {key!s:.40}", f"unknown key; known are {', '.join(_KEYS)}")
        for key in document
        if key not in _KEYS
    ]
    values = {
        key: _checked(document.get(key, default), key, kind, place, faults)
        for key, kind, default in (
            ("name", str, None), ("priority", int, _DEFAULT_PRIORITY), ("enabled", bool, True),
            ("timezone", str, "UTC"), ("condition", Mapping, None), ("action", Mapping, None),
        )
    }  # fmt: skip
    action = _read_action(values["action"], set(strategies), f"{place} action", faults)
    tests = _read_condition(values["condition"], values["timezone"], zones, place, faults)
    if faults:
        raise ConfigError(*faults)
    return Rule(
        id=id, name=values["name"], condition=dict(values["condition"]), action=action,
        priority=values["priority"], enabled=values["enabled"], timezone=values["timezone"],
        origin=origin, created=created, tests=tests,
    )  # fmt: skip


def _checked(value: Any, key: str, kind: type, place: str, faults: list[Fault]) -> Any:  # noqa: ANN401 - any
    """The value, or one that later steps can bear, and a fault."""
    good = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if kind is str:
        good = is_text(value)
    if good and kind is int:
        good = abs(value) <= _HIGHEST
    if not good:
        words = {str: f"a text of 1 to {LONGEST} characters", int: "a whole number", bool: "true or false"}
        faults.append(Fault(f"{place} {key}", f"expected {words.get(kind, 'a mapping')}"))
    return value if good else {} if kind is Mapping else "UTC"


def _read_condition(
    condition: Mapping[str, str], timezone: str, zones: Zones, place: str, faults: list[Fault]
) -> dict[str, Test]:
    try:
        zone = zones(timezone)
    except (KeyError, ValueError, OSError):  # as zoneinfo tells of an unknown zone
        faults.append(Fault(f"{place} timezone", "unknown time zone"))
        return {}
    try:
        return compile_condition(condition, zone)
    except ParseError as error:
        for line in str(error).splitlines():
            key, _, message = line.partition(": ")
            faults.append(Fault(f"{place} condition.{key}", message))
        return {}


def _read_action(action: Mapping[str, Any], strategies: set[str], place: str, faults: list[Fault]) -> Action:
    known = len(faults)
    for key, value in action.items():
        if key not in _ACTIONS:
            faults.append(Fault(f"{place}.{key!s:.40}", f"unknown; known are {', '.join(_ACTIONS)}"))
        elif key == "deny":
            if not isinstance(value, bool):
                faults.append(Fault(f"{place}.deny", "expected true or false"))
        elif not is_text(value):
            faults.append(Fault(f"{place}.{key}", f"expected a text of 1 to {LONGEST} characters"))
    if len(faults) > known:
        return Action()
    values = dict(action)
    if "country" in values:
        values["country"] = country_code(values["country"])
    for good, key, message in (
        (is_code(values.get("country", "us")), "country", "expected a country's code, such as us"),
        (values.get("fallback", "none") in _FALLBACKS, "fallback", "expected none, region or any"),
        (not strategies or values.get("strategy", "") in {"", *strategies}, "strategy", "unknown strategy"),
        (bool(values), "", "expected at least one of " + ", ".join(_ACTIONS)),
        (not values.get("deny") or len(values) == 1, "deny", "expected nothing beside it"),
        (
            "node" not in values or values.keys() <= {"node", "fallback", "deny"},
            "node",
            "expected nothing beside it but fallback",
        ),
    ):
        if not good:
            faults.append(Fault(f"{place}.{key}".rstrip("."), message))
    return Action(**values) if len(faults) == known else Action()


class Rules:
    """All rules in the order in which they are tried; immutable."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        """Keep the rules.

        Raises:
            ConfigError: When there are too many, or two of one id.
        """
        self._all = tuple(sorted(rules, key=Rule.order))
        self._active = tuple(rule for rule in self._all if rule.enabled)
        if len(self._all) > MOST_RULES:
            raise ConfigError(Fault("rules", f"expected at most {MOST_RULES}"))
        if len({rule.id for rule in self._all}) < len(self._all):
            raise ConfigError(Fault("rules", "an id is given twice"))

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._all)

    def __bool__(self) -> bool:
        return bool(self._active)

    def get(self, rule: str) -> Rule | None:
        """The rule of an id."""
        return next((known for known in self._all if known.id == rule), None)

    def put(self, rule: Rule) -> "Rules":
        """With this rule, in place of one of the same id."""
        return Rules([known for known in self._all if known.id != rule.id] + [rule])

    def without(self, rule: str) -> "Rules":
        """Without the rule of an id."""
        return Rules(known for known in self._all if known.id != rule)

    def first(self, request: Request) -> Rule | None:
        """The rule that decides about a request."""
        for rule in self._active:
            if rule.matches(request):
                return rule
        return None

    def tried(self, request: Request) -> list[tuple[Rule, list[str]]]:
        """For a dry run: each active rule up to the one that decides, with the keys that do not hold."""
        told = []
        for rule in self._active:
            failing = [key for key, test in rule.tests.items() if not test(request)]
            told.append((rule, failing))
            if not failing:
                break
        return told

    def remarks(self, rule: Rule) -> list[str]:
        """What the author of a rule should know: that it can never match, or only some clients."""
        told = [] if rule.enabled else ["It is disabled."]
        for earlier in self._active:
            if earlier.order() >= rule.order():
                break
            same_zone = "time_range" not in earlier.condition or earlier.timezone == rule.timezone
            if same_zone and earlier.condition.items() <= rule.condition.items():
                told.append(
                    f"It never matches: {earlier.name!r} is tried before it and matches all that it would."
                )
                break
        if "source_device" in rule.condition:
            told.append(
                "SOCKS shows no user agent: there source_device is compared with the user's name and tags."
            )
        if "domain" in rule.condition:
            told.append("It does not match requests that give an address instead of a name.")
        if not rule.condition:
            told.append("It has no condition and matches every request.")
        return told
