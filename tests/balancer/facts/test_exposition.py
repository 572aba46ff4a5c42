"""What a sidecar's metrics say about its node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.facts.exposition import Cpu, Reading, facts_of, read_exposition
from proxywatch.errors import ParseError

NOW, TIME = 5000.0, 1_795_264_112.0
FULL = """\
# HELP proxy_latency_ms The last round of latency probes.
# TYPE proxy_latency_ms gauge
proxy_latency_ms{proxy_name="a"} 61.7
proxy_success_rate_percent{proxy_name="a"} 98.5
proxy_download_speed_mbps{proxy_name="a"} 25.4
proxy_active_connections{proxy_name="a"} 25.0
vpn_connection_status{proxy_name="a"} 1.0
proxy_exit_check{check="vpn",proxy_name="a"} 1.0
proxy_exit_check{check="not_direct",proxy_name="a"} 1.0
proxy_exit_info{city="Gothenburg",country="Sweden",ip="193.138.7.148",proxy_name="a",server="se-got-wg-001"} 1.0
proxy_exit_last_success_timestamp_seconds{proxy_name="a"} 1795264052.0
proxy_pod_cpu_seconds_total{proxy_name="a"} 100.0
proxy_pod_memory_bytes{proxy_name="a"} 2.5e+08
proxy_process_cpu_seconds_total{program="dante",proxy_name="a"} 7.0
proxy_latency_ms_other 5
process_cpu_seconds_total 3.5
"""


def test_every_series_gives_its_fact() -> None:
    """Values by name; the exit is as old as its sighting; the pod's own figures win over its programs'."""
    reading = read_exposition(FULL)
    assert reading.values == {
        "proxy_latency_ms": 61.7,
        "success_rate_percent": 98.5,
        "speed_mbps": 25.4,
        "connections": 25.0,
        "tunnel_up": True,
        "not_direct": True,
        "memory_mb": 250.0,
    }
    assert reading.cpu_seconds == 100.0
    facts = facts_of(reading, NOW, TIME)
    assert (facts["proxy_latency_ms"].at, facts["proxy_latency_ms"].source) == (NOW, "sidecar")
    assert (facts["exit_country"].value, facts["exit_country"].at) == ("Sweden", NOW - 60)
    assert facts["exit_ip"].value == "193.138.7.148"


def test_an_older_exporter_has_fewer_facts() -> None:
    """The series that users have today, without labels."""
    reading = read_exposition("proxy_latency_ms 120\nvpn_connection_status 0\n")
    assert reading == Reading({"proxy_latency_ms": 120.0, "tunnel_up": False})


def test_what_is_absent_is_no_fact() -> None:
    """An exit that was never seen has no country, whatever else is published."""
    without = "\n".join(line for line in FULL.splitlines() if "last_success" not in line)
    reading = read_exposition(without)
    assert reading.exits == {}
    assert "exit_country" not in facts_of(reading, NOW, TIME)


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1e300"])
def test_a_value_that_cannot_be_is_passed_over(value: str) -> None:
    """The others count all the same."""
    reading = read_exposition(f"proxy_latency_ms {value}\nproxy_active_connections 3\n")
    assert reading.values == {"connections": 3.0}


def test_an_exit_by_both_families() -> None:
    """Two countries are two facts; a lone IPv6 exit is the exit."""
    both = (
        'proxy_exit_info{ip="193.138.7.148",country="Sweden"} 1\n'
        'proxy_exit_info{ip="2a03:1b20::1",country="Germany"} 1\n'
        "proxy_exit_last_success_timestamp_seconds 1795264112\n"
    )
    assert read_exposition(both).exits == {
        "exit_ip": "193.138.7.148",
        "exit_country": "Sweden",
        "exit_country_ipv6": "Germany",
    }
    lone = "\n".join(both.splitlines()[1:]) + "\n"
    assert read_exposition(lone).exits["exit_country"] == "Germany"


def test_a_sighting_in_the_future_counts_as_made_now() -> None:
    """Clocks differ; no fact is younger than its fetch."""
    facts = facts_of(read_exposition(FULL), NOW, TIME - 3600)
    assert facts["exit_country"].at == NOW


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no series"),
        ("up 1\n", "no series"),
        ("<html>login</html>", "no series"),
        ('proxy_latency_ms{a="1"} 5\nproxy_latency_ms{a="2"} 6\n', "2 times"),
        ('proxy_latency_ms{a="1} 5\n', "cannot be read"),
        ("proxy_latency_ms five\n", "cannot be read"),
        ('proxy_exit_info{ip="' + "x" * 5000 + '"} 1\n', "longer than"),
        ('proxy_process_cpu_seconds_total{program="p"} 1\n' * 201, "more than 200"),
    ],
)
def test_what_has_no_one_reading_is_refused(text: str, words: str) -> None:
    """A page of somebody else, two proxies in one exposition, lines that are none, too much."""
    with pytest.raises(ParseError, match=words):
        read_exposition(text)


@given(st.text() | st.lists(st.sampled_from(FULL.splitlines())).map("\n".join))
def test_any_text_gives_a_reading_or_a_parse_error(text: str) -> None:
    """Never another exception."""
    try:
        reading = read_exposition(text)
    except ParseError:
        return
    facts_of(reading, NOW, TIME)


def test_cpu_comes_from_two_readings() -> None:
    """Of one core; a counter that began anew gives nothing."""
    cpu = Cpu()
    assert cpu.percent("a", 100.0, 0.0) is None
    assert cpu.percent("a", 104.5, 10.0) == pytest.approx(45.0)
    assert cpu.percent("a", 1.0, 20.0) is None
    assert cpu.percent("a", 2.0, 30.0) == pytest.approx(10.0)
    assert cpu.percent("a", None, 40.0) is None
    assert cpu.percent("a", 3.0, 50.0) is None
