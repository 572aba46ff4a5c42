"""Target files as nodes, and the files as a source: what is wrong with one never empties the pool."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.discovery import file_sd
from proxywatch.balancer.discovery.files import FileSource
from proxywatch.balancer.node import Upstream
from proxywatch.errors import ParseError
from support.fakes import FakeClock


def group(*targets: str, socks: str = ":1080", **labels: str) -> dict[str, Any]:
    return {"targets": list(targets), "labels": {"__proxywatch_socks__": socks, "country": "se"} | labels}


def read(*groups: dict[str, Any], name: str = "a.json") -> Any:
    text = json.dumps(groups) if name.endswith("json") else yaml.safe_dump(list(groups))
    return file_sd.read(text.encode(), name)


@pytest.mark.parametrize("name", ["a.json", "a.yml"])
def test_a_group_is_a_node_for_each_target(name: str) -> None:
    """The target is the sidecar, the label says where the proxy is, the others describe it."""
    nodes, foreign = read(
        group("10.0.0.1:9090", "[2001:db8::1]:9090", city="GOT", server="se-got-wg-001", tags="fast, tv"),
        group("10.0.0.3:9090", socks="http://10.0.0.9:3128", id="se-9", country="UK", weight="2.5"),
        {"targets": ["10.0.0.5:9100"], "labels": {"job": "node"}},
        name=name,
    )
    assert foreign == 1
    assert [node.id for node in nodes] == ["10.0.0.1-9090", "2001-db8--1-9090", "se-9"]
    assert nodes[0].upstream == Upstream("socks5", "10.0.0.1", 1080)
    assert nodes[0].sidecar == "http://10.0.0.1:9090"
    assert (nodes[0].city, nodes[0].server, nodes[0].tags) == ("got", "se-got-wg-001", {"fast", "tv"})
    assert nodes[1].upstream == Upstream("socks5", "2001:db8::1", 1080)
    assert nodes[2].upstream == Upstream("http", "10.0.0.9", 3128)
    assert (nodes[2].country, nodes[2].weight) == ("gb", 2.5)


def test_the_scheme_and_path_of_the_sidecar_are_prometheus_own() -> None:
    """As it takes them from these labels."""
    nodes, _ = read(group("a.example:443", __scheme__="https", __metrics_path__="/se/metrics"))
    assert nodes[0].sidecar == "https://a.example:443/se"


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        (group("10.0.0.1:9090", country=""), "no country"),
        (group("10.0.0.1:9090", country="Atlantis"), "country"),
        (group("10.0.0.1"), "HOST:PORT"),
        (group("10.0.0.1:99999"), "HOST:PORT"),
        (group("10.0.0.1:9090", socks=":0"), "port"),
        (group("10.0.0.1:9090", socks="ftp://10.0.0.1"), "socks5"),
        (group("10.0.0.1:9090", socks="socks5://u:secret@10.0.0.1"), "credentials"),
        (group("10.0.0.1:9090", __proxywatch_sock__="1"), "unknown label"),
        (group("10.0.0.1:9090", "10.0.0.2:9090", socks="10.0.0.1:1080"), "several targets"),
        (group("10.0.0.1:9090", "10.0.0.2:9090", id="x"), "several targets"),
        (group("10.0.0.1:9090", id="results"), "word of the API"),
        (group("10.0.0.1:9090", weight="-1"), "weight"),
        (group("10.0.0.1:9090", __metrics_path__="/other"), "__metrics_path__"),
        (group("10.0.0.1:9090", city="x" * 300), "city"),
        ({"targets": "10.0.0.1:9090"}, "array"),
        ({"targets": [], "labels": {}, "more": 1}, "unknown field"),
    ],
)
def test_one_fault_makes_the_whole_file_wrong(faulty: dict[str, Any], words: str) -> None:
    """With its name and what is wrong; never with a password."""
    with pytest.raises(ParseError, match=words) as error:
        read(group("10.0.0.8:9090"), faulty)
    assert "a.json" in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "text", ['[{"targets": [], "targets": []}]', "[" * 100_000, "{}", "nonsense", '"x"', "[1]", "\xff"]
)
def test_what_is_no_list_of_groups_is_refused(text: str) -> None:
    """A key that is there twice too: it would have two readings."""
    for name in ("a.json", "a.yaml"):
        with pytest.raises(ParseError):
            file_sd.read(text.encode("latin-1"), name)


@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.yml"]))
def test_no_bytes_raise_anything_else(content: bytes, name: str) -> None:
    """Nodes, or a ParseError."""
    try:
        file_sd.read(content, name)
    except ParseError as error:
        assert str(error).startswith(name)  # noqa: PT017 - there may be none


def test_no_and_on_are_norway_and_text() -> None:
    """YAML's words for false and true are read as written."""
    text = '- targets: ["10.0.0.1:9090"]\n  labels: {__proxywatch_socks__: ":1080", country: no, city: on}\n'
    nodes, _ = file_sd.read(text.encode(), "a.yml")
    assert (nodes[0].country, nodes[0].city) == ("no", "on")


async def test_a_file_that_breaks_keeps_its_nodes_and_says_so(tmp_path: Path) -> None:
    """Broken, gone and well again, beside one that changes."""
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(json.dumps([group("10.0.0.1:9090")]))
    two.write_text(json.dumps([group("10.0.0.2:9090")]))
    clock = FakeClock()
    source = FileSource((str(one), str(tmp_path / "t*.json"), str(tmp_path / "none-*.yml")), 0.0, clock)
    watch = source.watch()
    first = await anext(watch)
    assert (list(first.nodes), first.faults) == (["10.0.0.1-9090", "10.0.0.2-9090"], ())
    one.write_text("[{")
    two.write_text(json.dumps([group("10.0.0.3:9090")]))
    second = await anext(watch)
    assert list(second.nodes) == ["10.0.0.1-9090", "10.0.0.3-9090"]
    assert "one.json: not JSON" in second.faults[0]
    one.unlink()
    two.unlink()
    third = await anext(watch)
    assert list(third.nodes) == [
        "10.0.0.1-9090"
    ]  # what a pattern no longer finds is gone, a named file is a fault
    assert "one.json: no such file" in third.faults[0]
    one.write_text(json.dumps([group("10.0.0.4:9090")]))
    fourth = await anext(watch)
    assert (list(fourth.nodes), fourth.faults) == (["10.0.0.4-9090"], ())


async def test_a_file_that_never_ends_is_not_read(tmp_path: Path) -> None:
    """Nor is one that is too long."""
    big = tmp_path / "big.json"
    big.write_bytes(b"[" + b" " * (1 << 20) + b"]")
    clock = FakeClock()
    sighting = await anext(FileSource(("/dev/zero", str(big)), 5.0, clock).watch())
    assert not sighting.nodes
    assert "not a regular file" in sighting.faults[0]
    assert "longer than" in sighting.faults[1]


async def test_one_id_in_two_files_is_a_fault(tmp_path: Path) -> None:
    """The first file's node stays."""
    for name, where in (("a.json", "10.0.0.1"), ("b.json", "10.0.0.2")):
        (tmp_path / name).write_text(json.dumps([group(f"{where}:9090", id="se-1")]))
    sighting = await anext(FileSource((str(tmp_path / "*.json"),), 5.0, FakeClock()).watch())
    assert sighting.nodes["se-1"].upstream.host == "10.0.0.1"
    assert sighting.faults == ("se-1 is there twice",)
