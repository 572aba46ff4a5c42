"""Discovery in a running balancer, before real Dantes: nodes come, go, and stay when their source breaks."""

import json
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.balancer import balancer
from testbed.danted import BINARY, danted
from testbed.exporter import proxywatch

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="needs danted")


def group(port: int, name: str, country: str) -> dict[str, object]:
    labels = {"__proxywatch_socks__": f"127.0.0.1:{port}", "id": name, "country": country}
    return {"targets": ["127.0.0.1:1"], "labels": labels}


def test_nodes_of_a_file_come_and_go_and_outlive_its_faults(tmp_path: Path) -> None:
    """In the API, the metrics and `check`; a reload may bring another source."""
    targets = tmp_path / "targets.json"
    with ExitStack() as stack:
        ports = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            ports.append(stack.enter_context(danted(tmp_path / name)).port)
        targets.write_text(json.dumps([group(ports[0], "se-1", "se")]))
        settings = {"discovery": {"files": [str(tmp_path / "*.json")]}}
        variable = {"PROXYWATCH_BALANCER_DISCOVERY_DRAIN": "7m"}
        running = stack.enter_context(balancer(tmp_path, settings, environ=variable))
        assert running.api("/api/config")[1]["discovery"]["drain"] == "7m"
        running.until("found", lambda: set(running.nodes()) == {"se-1"})
        targets.write_text(json.dumps([group(ports[0], "se-1", "se"), group(ports[1], "de-1", "de")]))
        running.until("another", lambda: set(running.nodes()) == {"se-1", "de-1"})
        targets.write_text("[")
        running.until("broken", lambda: running.api("/api/discovery")[1]["files"]["fault"])
        assert set(running.nodes()) == {"se-1", "de-1"}
        assert running.metric("balancer_discovery_up", source="files") == 0
        assert running.metric("balancer_discovery_nodes", source="files") == 2
        checked = proxywatch("balancer", "check", "-c", str(running.conf))
        assert checked.returncode == 1
        assert "targets.json: not JSON" in checked.stdout
        targets.write_text(json.dumps([group(ports[1], "de-1", "de")]))
        running.until("gone", lambda: set(running.nodes()) == {"de-1"})
        assert running.metric("balancer_discovery_up", source="files") == 1
        well = proxywatch("balancer", "check", "-c", str(running.conf)).stdout
        assert re.search(r"files +1 node$", well, re.MULTILINE)
        assert running.log.read_text().count("source of nodes has a fault") == 1
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a.yml").write_text(json.dumps([group(ports[0], "fr-1", "fr")]))
        running.conf.write_text(running.conf.read_text().replace("*.json", "other/*.yml"))
        running.process.send_signal(signal.SIGHUP)
        running.until("reloaded", lambda: set(running.nodes()) == {"fr-1"})


def test_faults_of_the_section_are_told_with_their_places(tmp_path: Path) -> None:
    """All at once."""
    conf = tmp_path / "b.yaml"
    conf.write_text(
        "discovery:\n"
        "  dns: {names: [{name: a.example, country: Atlantis}, {name: b.example, country: se, type: MX}]}\n"
        "  mullvad: {via: 'socks5h://10.0.0.1:1080', file: a, url: 'https://b.example/'}\n"
        "  kubernetes: {namespace: 'a/b'}\n"
    )
    refused = proxywatch("balancer", "check", "--offline", "-c", str(conf))
    assert refused.returncode == 2
    for words in ("dns.names[1].type", "either that or url", "kubernetes.namespace"):
        assert words in refused.stderr, refused.stderr
    conf.write_text(
        "discovery:\n"
        "  dns: {names: [{name: a.example, country: Atlantis}]}\n"
        "  mullvad: {via: 'socks5h://10.0.0.1:1080', file: a, countries: [Atlantis]}\n"
        "  kubernetes: {}\n"
    )
    refused = proxywatch("balancer", "check", "--offline", "-c", str(conf))
    assert refused.returncode == 2
    for words in ("dns.names[0].country", "mullvad.countries", "we do not run in a pod"):
        assert words in refused.stderr, refused.stderr


def test_check_says_that_the_way_to_a_relay_list_is_missing(tmp_path: Path) -> None:
    """Its nodes are found, and none of them can be reached."""
    relay = {
        "hostname": "se-got-wg-001", "country_code": "se", "city_code": "got", "active": True, "type": "wireguard",
        "socks_name": "se-got-wg-socks5-001.relays.example", "socks_port": 1080,
    }  # fmt: skip
    (tmp_path / "relays.json").write_text(json.dumps([relay]))
    conf = tmp_path / "b.yaml"
    conf.write_text(
        f"discovery: {{mullvad: {{via: entry, file: '{tmp_path}/relays.json'}}}}\nprobe: {{enabled: false}}\n"
    )
    checked = proxywatch("balancer", "check", "-c", str(conf))
    assert checked.returncode == 1
    assert re.search(r"ok +mullvad +1 node$", checked.stdout, re.MULTILINE)
    assert "there is no node entry" in checked.stdout
