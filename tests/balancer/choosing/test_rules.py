"""Rules: the documented examples, every key, order, refusals."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from proxywatch.balancer.choosing.condition import LONGEST
from proxywatch.balancer.choosing.rule import MOST_RULES, Rule, Rules, read_rule
from proxywatch.balancer.request import Destination, Request, Wishes
from proxywatch.errors import ConfigError
from support.pools import Bench, node

MIDNIGHT = 1_699_920_000.0  # 2023-11-14 00:00 UTC


def rule(condition: dict[str, str] | None = None, action: object = None, **more: object) -> Rule:
    """A rule as the API takes it."""
    known: dict[str, Any] = {
        key: more.pop(key) for key in ("id", "created", "origin", "strategies") if key in more
    }
    document = {"name": "r", "condition": condition or {}, "action": action or {"deny": True}, **more}
    given: dict[str, Any] = {"id": "1", "created": 0.0, "origin": "api", "zones": ZoneInfo, **known}
    return read_rule(document, **given)


def request(host: str = "", time: float = MIDNIGHT, **more: object) -> Request:
    """A request at a time of day."""
    fields = {"client": "192.0.2.7", **more}
    country = str(fields.pop("country", ""))
    destination = Destination(host, 443) if host else None
    return Request(0.0, time, destination=destination, wishes=Wishes(country=country), **fields)  # type: ignore[arg-type]


def at(clock: str) -> float:
    """Unix time of a time of day."""
    hours, minutes = clock.split(":")
    return MIDNIGHT + int(hours) * 3600 + int(minutes) * 60


# The documented examples


def test_documented_example_source_device_and_domain() -> None:
    """E37: {"source_device": "iPhone", "domain": "*.streaming.com"}."""
    it = rule({"source_device": "iPhone", "domain": "*.streaming.com"})
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)"
    assert it.matches(request("a.streaming.com", user_agent=agent))
    assert not it.matches(request("a.example.com", user_agent=agent))
    assert not it.matches(request("a.streaming.com", user_agent="curl/8"))


def test_documented_example_time_range_and_country() -> None:
    """E37: {"time_range": "09:00-17:00", "country": "us"}; both ends count."""
    it = rule({"time_range": "09:00-17:00", "country": "us"})
    times = ("08:59", "09:00", "17:00", "17:01")
    assert [it.matches(request(time=at(time), country="us")) for time in times] == [False, True, True, False]
    assert not it.matches(request(time=at("12:00"), country="se"))


def test_documented_example_client_ip_range() -> None:
    """E37: {"client_ip_range": "192.168.1.0/24"}."""
    it = rule({"client_ip_range": "192.168.1.0/24"})
    clients = ("192.168.1.9", "::ffff:192.168.1.9", "192.168.2.9", "2001:db8::1", "not an address")
    assert [it.matches(request(client=client)) for client in clients] == [True, True, False, False, False]


# Keys


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("*.streaming.com", "streaming.com", False),
        ("*.streaming.com", "a.b.streaming.com", True),
        (".streaming.com", "streaming.com", True),
        (".streaming.com", "a.b.streaming.com", True),
        (".streaming.com", "notstreaming.com", False),
        ("*.STREAMING.com", "a.streaming.com", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("*.bücher.example", "a.bücher.example", True),
        ("shop?.example", "shop1.example", True),
        ("shop[12].example", "shop3.example", False),
        ("*", "anything.example", True),
        ("*", "203.0.113.5", False),
        ("*", "2001:db8::5", False),
        ("10.*", "10.0.0.1", False),
        ("*", "", False),
    ],
)
def test_domains(pattern: str, host: str, matches: bool) -> None:  # noqa: FBT001 - a parameter
    """E39: shell patterns, the suffix form, case and IDNA; an address is no name."""
    assert rule({"domain": pattern}).matches(request(host)) is matches


def test_a_range_over_midnight() -> None:
    """E38: 22:00-06:00 wraps."""
    it = rule({"time_range": "22:00-06:00"})
    times = ("21:59", "22:00", "23:59", "00:00", "06:00", "06:01", "12:00")
    assert [it.matches(request(time=at(time))) for time in times] == [
        False,
        True,
        True,
        True,
        True,
        False,
        False,
    ]


def test_time_zone_of_a_rule() -> None:
    """E38: its own time zone; UTC where none is given, whatever the machine's is."""
    utc, tokyo = (
        rule({"time_range": "09:00-10:00"}),
        rule({"time_range": "09:00-10:00"}, timezone="Asia/Tokyo"),
    )
    assert utc.matches(request(time=at("09:30")))
    assert not tokyo.matches(request(time=at("09:30")))
    assert tokyo.matches(request(time=at("00:30")))


def test_source_device_over_socks() -> None:
    """E40: where no user agent is shown the user's name or a tag is compared."""
    it = rule({"source_device": "iPhone"})
    assert it.matches(request(user="anna-iphone"))
    assert it.matches(request(tags=frozenset({"iphone"})))
    assert not it.matches(request(user="anna", tags=frozenset({"iphones"})))
    assert not it.matches(request(user="anna-iphone", user_agent="curl/8"))


def test_remarks() -> None:
    """E40: a rule says what it cannot see, and that it can never match."""
    device, domain = rule({"source_device": "iPhone"}, id="2"), rule({"domain": "*.example.com"}, id="3")
    assert "SOCKS shows no user agent" in Rules().remarks(device)[0]
    assert "an address instead of a name" in Rules().remarks(domain)[0]
    wide, narrow = rule({"user": "a"}, id="1"), rule({"user": "a", "country": "us"}, id="2", created=1.0)
    assert "never matches: 'r' is tried before it" in Rules([wide, narrow]).remarks(narrow)[0]
    assert Rules([wide, narrow]).remarks(wide) == []
    assert Rules().remarks(rule({}, enabled=False)) == [
        "It is disabled.",
        "It has no condition and matches every request.",
    ]


def test_users_tags_and_countries() -> None:
    """By name; `uk` is `gb`."""
    assert rule({"user": "anna"}).matches(request(user="anna"))
    assert not rule({"user": "anna"}).matches(request(user="annabel"))
    assert rule({"tag": "office"}).matches(request(tags=frozenset({"office"})))
    assert rule({"country": "uk"}).matches(request(country="gb"))


# Refusals


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], "rule"),
        ({"name": "r", "condition": {"port": "80"}, "action": {"deny": True}}, "rule condition.port"),
        ({"name": "r", "condition": {}, "action": {"drop": True}}, "rule action.drop"),
        ({"name": "r", "condition": {}, "action": {"deny": True}, "prio": 1}, "rule prio"),
        ({"condition": {}, "action": {"deny": True}}, "rule name"),
        ({"name": "", "condition": {}, "action": {"deny": True}}, "rule name"),
        ({"name": "r", "action": {"deny": True}}, "rule condition"),
        ({"name": "r", "condition": {}, "action": {}}, "rule action"),
        ({"name": "r", "condition": {}, "action": {"deny": "yes"}}, "rule action.deny"),
        ({"name": "r", "condition": {}, "action": {"deny": True, "node": "a"}}, "rule action.deny"),
        ({"name": "r", "condition": {}, "action": {"node": "a", "country": "se"}}, "rule action.node"),
        ({"name": "r", "condition": {}, "action": {"country": "Utopia"}}, "rule action.country"),
        ({"name": "r", "condition": {}, "action": {"fallback": "maybe"}}, "rule action.fallback"),
        ({"name": "r", "condition": {}, "action": {"strategy": "fastest"}}, "rule action.strategy"),
        ({"name": "r", "condition": {"time_range": "9-17"}, "action": {"deny": True}},
         "rule condition.time_range"),
        ({"name": "r", "condition": {"time_range": "09:00"}, "action": {"deny": True}},
         "rule condition.time_range"),
        ({"name": "r", "condition": {"client_ip_range": "x"}, "action": {"deny": True}},
         "rule condition.client_ip_range"),
        ({"name": "r", "condition": {"country": "Utopia"}, "action": {"deny": True}},
         "rule condition.country"),
        ({"name": "r", "condition": {"domain": "https://a.example/"}, "action": {"deny": True}},
         "rule condition.domain"),
        ({"name": "r", "condition": {"domain": "*" * (LONGEST + 1)}, "action": {"deny": True}},
         "rule condition.domain"),
        ({"name": "r", "condition": {"user": 7}, "action": {"deny": True}}, "rule condition.user"),
        ({"name": "r", "condition": {}, "action": {"deny": True}, "timezone": "Mars/Olympus"},
         "rule timezone"),
        ({"name": "r", "condition": {}, "action": {"deny": True}, "priority": "high"}, "rule priority"),
        ({"name": "r", "condition": {}, "action": {"deny": True}, "enabled": 1}, "rule enabled"),
    ],
)  # fmt: skip
def test_what_is_no_rule(document: object, place: str) -> None:
    """E37: an unknown or impossible key is refused when the rule is made, not read as a match."""
    with pytest.raises(ConfigError) as error:
        read_rule(document, id="1", created=0.0, origin="api", zones=ZoneInfo, strategies=["random"])
    assert [fault.place for fault in error.value.faults] == [place]


def test_every_fault_at_once() -> None:
    """All that is wrong with a rule is told together."""
    with pytest.raises(ConfigError) as error:
        rule({"port": "80", "country": "Utopia"}, {"drop": 1}, priority="x")
    assert len(error.value.faults) == 4


def test_bounds() -> None:
    """No more than a thousand rules, each id once."""
    many = [rule(id=str(number)) for number in range(MOST_RULES)]
    assert len(list(Rules(many))) == MOST_RULES
    with pytest.raises(ConfigError):
        Rules([*many, rule(id="more")])
    with pytest.raises(ConfigError):
        Rules([rule(), rule()])


# Order and keeping


def test_order() -> None:
    """E41: by ascending priority, those of the file first, then the older one."""
    names = ("late", "api-new", "api-old", "file", "early")
    rules = Rules(
        [
            rule(id="late", priority=101, created=1.0),
            rule(id="api-new", created=9.0),
            rule(id="api-old", created=2.0),
            rule(id="file", origin="file", created=5.0),
            rule(id="early", priority=1, created=99.0),
        ]
    )
    assert [it.id for it in rules] == list(reversed(names))


def test_rules_are_kept_changed_and_deleted() -> None:
    """E41: an id finds a rule; putting one of the same id changes it."""
    rules = Rules().put(rule({"user": "a"}, id="x")).put(rule({"user": "b"}, id="y", created=1.0))
    assert rules.first(request(user="b")).id == "y"  # type: ignore[union-attr]
    rules = rules.put(rule({"user": "c"}, id="y"))
    assert rules.first(request(user="b")) is None
    assert rules.without("y").get("y") is None
    assert rules.get("x").document() == {  # type: ignore[union-attr]
        "id": "x", "name": "r", "condition": {"user": "a"}, "action": {"deny": True}, "priority": 100,
        "enabled": True, "timezone": "UTC", "origin": "api", "created": 0.0,
    }  # fmt: skip


def test_documented_defaults() -> None:
    """Priority 100 and enabled unless said otherwise; a disabled rule is not tried."""
    assert (rule().priority, rule().enabled) == (100, True)
    assert Rules([rule(enabled=False)]).first(request()) is None


def test_dry_run() -> None:
    """Which rules were tried for a described request, and which keys failed."""
    rules = Rules([
        rule({"user": "a", "country": "us"}, id="1"),
        rule({"user": "b"}, id="2", created=1.0),
        rule({}, id="3", created=2.0),
    ])  # fmt: skip
    told = rules.tried(request(user="b", country="us"))
    assert [(it.id, failing) for it, failing in told] == [("1", ["user"]), ("2", [])]


# What rules do


def chosen(bench: Bench, action: object, condition: dict[str, str] | None = None) -> Bench:
    """With one rule."""
    bench.brain.set_rules(Rules([rule(condition, action)]))
    return bench


def test_deny() -> None:
    """Refused, and the reason names the rule."""
    bench = chosen(Bench("se-1"), {"deny": True}, {"domain": ".example.com"})
    refusal = bench.refused(host="a.example.com", country="se")
    assert (refusal.kind, refusal.reason) == ("denied", "forbidden by rule 'r'")
    assert bench.choose(host="a.example.org", country="se").route == "se"


def test_a_rule_beats_the_wish() -> None:
    """Country, city and node of a wish give way."""
    bench = chosen(Bench("se-1", "no-1", node("no-2", city="osl")), {"country": "no"})
    assert bench.choose(country="se").route == "no"
    assert bench.choose(node="se-1").route == "no"
    assert bench.choose(country="se", city="got").route == "no"
    assert chosen(bench, {"country": "no", "city": "osl"}).choose(country="se").node.id == "no-2"


def test_a_rules_node() -> None:
    """E37: only it serves; unfit it is refused, unless a fallback is given."""
    bench = chosen(Bench("se-1", "se-2"), {"node": "se-1"})
    assert set(bench.picks(3, country="no")) == {"se-1"}
    bench.facts("se-1", tunnel_up=False)
    assert bench.refused(country="no").reason == "node se-1 is not usable: its tunnel is down"
    assert chosen(bench, {"node": "se-1", "fallback": "region"}).choose(country="no").node.id == "se-2"
    assert "not in the pool" in chosen(bench, {"node": "gone"}).refused().reason


def test_a_rules_tag() -> None:
    """Only nodes with it, whatever the fallback."""
    bench = Bench(node("se-1", tags=frozenset({"fast"})), "se-2", "no-1")
    chosen(bench, {"tag": "fast"})
    assert set(bench.picks(4, country="se")) == {"se-1"}
    assert bench.refused(country="no").kind == "no_node"
    assert bench.choose(country="no", fallback="any").node.id == "se-1"


def test_a_rules_strategy_and_fallback() -> None:
    """For the requests that it matches."""
    bench = chosen(Bench("se-1", "se-2"), {"strategy": "round_robin", "fallback": "any"}, {"user": "a"})
    choice = bench.choose(user="a", country="no", strategy="random")
    decision = bench.brain.decisions.get(choice.decision)
    assert decision is not None
    assert (decision.strategy, decision.rule, decision.substituted) == ("round_robin", "r", True)
    assert bench.refused(user="b", country="no").kind == "no_node"


def test_a_users_countries_hold_against_rules() -> None:
    """A rule does not lead a user to a country that is not theirs."""
    bench = chosen(Bench("se-1", "us-1"), {"country": "us"})
    assert bench.refused(countries=frozenset({"se"})).kind == "denied"
