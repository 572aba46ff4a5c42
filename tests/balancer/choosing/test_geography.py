"""Countries, regions and fallback."""

import pytest

from proxywatch.balancer.choosing.decision import document
from proxywatch.balancer.choosing.geography import Regions, country_code
from proxywatch.balancer.choosing.settings import REGIONS
from support.pools import Bench, node


@pytest.mark.parametrize(
    ("region", "requested", "usable", "served"),
    [
        ("europe", "fr", {"fr", "de"}, "fr"),
        ("europe", "fr", {"de", "nl", "us"}, "de"),
        ("europe", "fr", {"uk", "nl"}, "gb"),
        ("asia", "jp", {"au", "hk"}, "hk"),
        ("africa", "za", {"us"}, "us"),
        ("nowhere", "us", {"br"}, "br"),
        ("europe", "fr", set(), ""),
    ],
)
def test_documented_order(region: str, requested: str, usable: set[str], served: str) -> None:
    """E35: requested, then the region in its order, then any: the documented function keeps its order."""
    codes = {country_code(country) for country in usable}
    assert Regions(REGIONS).preferred(region, requested, codes.__contains__, sorted(codes)) == served


def test_documented_regions() -> None:
    """E36: `uk` is `gb`; `au` is in two regions and belongs to the first that lists it."""
    regions = Regions({"europe": ("de", "uk", "fr", "nl"), "asia": ("jp", "au"), "oceania": ("au", "nz")})
    assert regions.neighbours("gb") == ("de", "fr", "nl")
    assert regions.region("au") == "asia"
    assert regions.region("nz") == "oceania"
    assert regions.neighbours("se") == ()


def test_uk_is_echoed_as_asked() -> None:
    """E36: what was asked is shown, what is stored is `gb`."""
    bench = Bench("gb-1")
    assert bench.brain.best_node("uk")["country"] == "uk"  # type: ignore[index]
    assert bench.brain.best_node("uk")["selected_node"]["country"] == "gb"  # type: ignore[index]
    choice = bench.choose(country="gb", asked="uk")
    assert document(bench.brain.decisions.get(choice.decision))["country"] == "uk"  # type: ignore[arg-type]
    bench.facts("gb-1", tunnel_up=False)
    assert bench.refused(country="gb", asked="uk").reason == "No healthy nodes available in uk: 1 down"


def test_strict_by_default() -> None:
    """E35: no fallback unless it is asked for or set."""
    bench = Bench("fr-1", "us-1")
    assert bench.refused(country="de").kind == "no_node"


def test_fallback_to_the_region() -> None:
    """E35: another country of the region, and the answer says so."""
    bench = Bench("fr-1", "us-1")
    choice = bench.choose(country="de", fallback="region")
    assert (choice.node.id, choice.route, choice.substituted) == ("fr-1", "fr", True)
    assert "in fr, as de had no usable node" in (bench.brain.explain(choice.decision) or "")
    assert bench.brain.counts.substituted == 1
    assert bench.refused(country="jp", fallback="region").kind == "no_node"


def test_fallback_to_any() -> None:
    """E35: any country, after those of the region."""
    bench = Bench("us-1", "nl-1", geography={"fallback": "any"})
    assert bench.choose(country="de").node.id == "nl-1"
    assert bench.choose(country="jp").node.id in {"us-1", "nl-1"}
    assert bench.refused(country="jp", fallback="none").kind == "no_node"


def test_requested_country_first() -> None:
    """No substitution while the country has a usable node."""
    bench = Bench("de-1", "fr-1", geography={"fallback": "any"})
    choice = bench.choose(country="de")
    assert (choice.node.id, choice.substituted) == ("de-1", False)


def test_cities() -> None:
    """A city is strict too, unless a fallback is allowed: then its country goes first."""
    bench = Bench(node("se-1", city="got"), node("se-2", city="sto"), "no-1")
    assert set(bench.picks(4, country="se", city="sto")) == {"se-2"}
    assert bench.refused(country="se", city="mma").kind == "no_node"
    choice = bench.choose(country="se", city="mma", fallback="any")
    assert choice.route == "se"
    assert not choice.substituted


def test_no_country_is_any_country() -> None:
    """A request without a wish is served from everywhere; nothing is substituted."""
    bench = Bench("se-1", "us-1")
    choices = [bench.choose() for _ in range(4)]
    assert {it.node.id for it in choices} == {"se-1", "us-1"}
    assert not any(it.substituted for it in choices)


def test_countries_of_a_user() -> None:
    """A user with countries gets no other, neither by wish nor by fallback nor without one."""
    bench = Bench("se-1", "us-1", "fr-1", geography={"fallback": "any"})
    only = {"countries": frozenset({"se", "fr"})}
    assert bench.refused(country="us", **only).reason == "the user may not use us"
    assert {it.node.id for it in (bench.choose(**only) for _ in range(6))} == {"se-1", "fr-1"}
    bench.facts("se-1", tunnel_up=False)
    assert bench.choose(country="se", **only).node.id == "fr-1"
