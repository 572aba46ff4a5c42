"""Dante or another proxy, by what is on the machine."""

import socket
from pathlib import Path

import pytest

from proxywatch.config import Config, load
from proxywatch.exporter import kind, library
from proxywatch.exporter.kind import Machine
from proxywatch.exporter.settings import SCHEMA
from proxywatch.probe.proxy import Proxy


def config(text: str = "") -> Config:
    return load(text, {}, SCHEMA)


def machine(files: str = "", names: str = "", holders: str = "") -> Machine:
    return Machine(
        exists=lambda path: path in files.split(),
        names=lambda: set(names.split()),
        holders=lambda port: set(holders.split()) if port == 1080 else set(),
    )


@pytest.mark.parametrize(
    ("text", "there", "found"),
    [
        ("", machine(), "dante"),
        ("", machine(names="sshd bash"), "dante"),
        ("", machine(names="microsocks"), "generic"),
        ("", machine(holders="ssh"), "generic"),
        ("", machine(names="ssh"), "dante"),  # whatever that is for
        ("", machine(names="microsocks danted"), "dante"),
        ("", machine(holders="microsocks", files="/etc/danted.conf"), "generic"),
        ("", machine(holders="danted", names="danted microsocks"), "dante"),
        ("", machine(names="microsocks", files="/etc/danted.conf"), "dante"),
        ("", machine(names="microsocks", files="/var/log/danted.log"), "dante"),
        ("sessions: {log: /var/log/dante/danted.log}", machine(holders="microsocks"), "dante"),
        ("children: {pid_file: /run/danted.pid}", machine(holders="microsocks"), "dante"),
        ("children: {names: [mydanted]}", machine(names="mydanted", holders="mydanted"), "dante"),
        ("proxy: {url: 'http://127.0.0.1:8888'}", machine(holders="microsocks"), "dante"),
        ("proxy: {kind: dante}", machine(holders="microsocks"), "dante"),
        ("proxy: {kind: generic}", machine(names="danted"), "generic"),
    ],
)
def test_the_kind(text: str, there: Machine, found: str) -> None:
    """Who listens decides, unless settings say otherwise; where nothing is seen it is taken for Dante."""
    settled, why = kind.settled(config(text), there)
    assert settled[Proxy].kind == found
    assert bool(why) == (found == "generic" and "generic" not in text)


def test_a_generic_proxy_has_nothing_of_dantes() -> None:
    """Neither log nor children are looked for; all else runs."""
    names = [set(library.wanted(config(f"proxy: {{kind: {it}}}"))) for it in ("generic", "dante")]
    assert names[1] - names[0] == {"sessions", "children"}
    assert names[0] > {"tcp", "traffic", "sockets", "active", "latency"}


def test_the_real_machine(tmp_path: Path) -> None:
    """We ourselves listen, and are seen to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert kind.MACHINE.holders(port) & kind.MACHINE.names()
    assert kind.MACHINE.holders(port) == set()
    assert kind.MACHINE.exists(str(tmp_path))
