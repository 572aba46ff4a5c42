"""The tunnel's collector on sources that behave as told."""

import logging
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from proxywatch.errors import ParseError, SourceError
from proxywatch.exporter.collector.wireguard import Settings, WireguardCollector, build
from proxywatch.wireguard.device import Device, Peer
from proxywatch.wireguard.tunnel import State
from support.fakes import FakeClock
from support.metrics import samples

_KEY = "+Bze3Cxj44SRqfw9fHieKne4hDMR97E+oHzDW8WFBjw="
_SECRET = b"the private key"


class Machine:
    """A machine with a WireGuard device; tests change what is true of it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.present = True
        self.flags = 0x1091
        self.index = 5
        self.packets = 100
        self.multicast = 3
        self.received = 1000
        self.peer = Peer(_KEY, "192.0.2.1:51820", int(self.clock.now()) - 30, 5000, 6000, 25)
        self.peers: tuple[Peer, ...] | None = None
        self.refusals: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.buffer: bytearray | None = None

    def read(self, path: str) -> bytes:
        row = f"wg0: {self.received} 1 0 0 0 0 0 0 7 {self.packets} 0 0 0 0 0 0" if self.present else ""
        files = {
            "/proc/self/net/dev": f"title\ntitle\neth0: {'1 ' * 16}\n{row}",
            "/proc/self/net/dev_snmp6/wg0": f"Ip6OutMcastPkts {self.multicast}\n",
            "/sys/class/net/wg0/ifindex": f"{self.index}\n",
            "/sys/class/net/wg0/flags": f"{self.flags:#x}\n",
        }
        if path != "/proc/self/net/dev" and not self.present:
            raise SourceError(f"{path}: No such file or directory")
        return files[path].encode()

    def source(self, name: str) -> Callable[[bytearray], Awaitable[Device]]:
        async def ask(buffer: bytearray) -> Device:
            self.asked.append(name)
            self.buffer = buffer
            buffer[: len(_SECRET)] = _SECRET
            if name in self.refusals:
                raise self.refusals[name]
            return Device(51820, (self.peer,) if self.peers is None else self.peers)

        return ask

    def collector(self) -> WireguardCollector:
        sources = {name: self.source(name) for name in ("uapi", "netlink", "command")}
        return WireguardCollector("wg0", self.read, sources, self.clock)


@pytest.fixture
def machine() -> Machine:
    return Machine()


async def test_a_working_tunnel_in_full(machine: Machine) -> None:
    """The state, its source, and the peer's own numbers."""
    collector = machine.collector()
    assert samples(collector) == {}
    assert collector.tunnel() is None
    assert collector.status() is None
    await collector.update()
    labels = f'{{device="wg0",public_key="{_KEY}"}}'
    assert samples(collector) == {
        "vpn_connection_status": 1,
        **{f'vpn_tunnel_state{{state="{state}"}}': float(state is State.FRESH) for state in State},
        'vpn_tunnel_source{source="uapi"}': 1,
        'vpn_tunnel_source{source="netlink"}': 0,
        'vpn_tunnel_source{source="command"}': 0,
        'vpn_tunnel_source{source="device"}': 0,
        f"wireguard_peer_receive_bytes_total{labels}": 5000,
        f"wireguard_peer_transmit_bytes_total{labels}": 6000,
        f"wireguard_peer_last_handshake_seconds{labels}": machine.peer.last_handshake,
    }
    status = msgspec.json.decode(msgspec.json.encode(collector.status()))
    assert status["sentence"] == "wg0 works: last handshake 30 s ago"
    assert status["peers"][0]["endpoint"] == "192.0.2.1:51820"


async def test_each_source_is_taken_when_those_before_it_fail(machine: Machine) -> None:
    """And the first again as soon as it works."""
    collector = machine.collector()
    taken = []
    for refused in (["uapi"], ["uapi", "netlink"], ["uapi", "netlink", "command"], []):
        machine.refusals = {name: SourceError("no") for name in refused}
        await collector.update()
        status = collector.status()
        assert status
        taken.append(status.source)
    assert taken == ["netlink", "command", "device", "uapi"]


async def test_a_garbled_answer_is_no_answer(machine: Machine) -> None:
    """The next source is asked."""
    machine.refusals = {"uapi": ParseError("not that format")}
    collector = machine.collector()
    await collector.update()
    assert machine.asked == ["uapi", "netlink"]


async def test_a_child_process_that_failed_is_left_alone_for_a_minute(machine: Machine) -> None:
    """The other sources cost nothing and are asked each time."""
    machine.refusals = {name: SourceError("no") for name in ("uapi", "netlink", "command")}
    collector = machine.collector()
    for _ in range(13):
        await collector.update()
        await machine.clock.advance(5)
    assert machine.asked.count("uapi") == 13
    assert machine.asked.count("command") == 2


@pytest.mark.parametrize("refusal", [None, SourceError("no"), ParseError("no"), RuntimeError("a bug")])
async def test_the_buffer_is_wiped_whatever_happens(machine: Machine, refusal: Exception | None) -> None:
    """Of what held the private key nothing is left."""
    machine.refusals = {"uapi": refusal} if refusal else {}
    collector = machine.collector()
    try:
        await collector.update()
    except RuntimeError:
        assert isinstance(refusal, RuntimeError)
    assert machine.buffer is not None
    assert not any(machine.buffer)


async def test_a_removed_peer_vanishes(machine: Machine) -> None:
    """Nothing of it is exposed any more."""
    collector = machine.collector()
    await collector.update()
    machine.peers = ()
    await collector.update()
    assert not any("peer" in name for name in samples(collector))
    tunnel = collector.tunnel()
    assert tunnel
    assert (tunnel.state, tunnel.sentence) == (State.NEVER, "wg0 has no peer")


async def test_a_peer_that_never_shook_hands_has_no_time_of_it(machine: Machine) -> None:
    """Absent, not 1970."""
    machine.peer = Peer(_KEY)
    collector = machine.collector()
    await collector.update()
    assert not any("handshake" in name for name in samples(collector))
    assert samples(collector)["vpn_connection_status"] == 0


@pytest.mark.parametrize("flags", [None, 0x1090])
async def test_no_device_and_one_that_is_down_are_absent(machine: Machine, flags: int | None) -> None:
    """A state, no failure; nobody is asked."""
    machine.present = flags is not None
    machine.flags = flags or 0
    collector = machine.collector()
    await collector.update()
    values = samples(collector)
    assert values['vpn_tunnel_state{state="absent"}'] == 1
    assert values["vpn_connection_status"] == 0
    assert machine.asked == []
    (finding,) = await collector.examine()
    assert finding.level == "fault"
    if flags is None:
        assert finding.text == "wg0 is not there"
    else:
        assert finding.text == "wg0 is there, but was not brought up"
        assert "ip link set wg0 up" in finding.fix


async def test_the_kernels_own_multicast_is_no_unanswered_data(machine: Machine) -> None:
    """Router solicitations are among the transmitted packets, and nobody answers them."""
    collector = machine.collector()
    for _ in range(24):
        await collector.update()
        await machine.clock.advance(5)
        machine.packets += 1
        machine.multicast += 1
    assert samples(collector)['vpn_tunnel_state{state="fresh"}'] == 1


async def test_a_cut_is_seen_and_logged_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """With the reason, for whoever reads the log."""
    caplog.set_level(logging.INFO)
    collector = machine.collector()
    for _ in range(8):
        await collector.update()
        await machine.clock.advance(5)
        machine.packets += 4
    states = [(record.levelname, getattr(record, "state", "")) for record in caplog.records]
    assert states == [("INFO", "fresh"), ("WARNING", "dead")]
    tunnel = collector.tunnel()
    assert tunnel
    assert "nothing heard" in tunnel.sentence
    assert [finding.level for finding in await collector.examine()] == ["ok", "fault"]


async def test_the_device_alone_is_said_to_be_less(machine: Machine) -> None:
    """With every refusal, and what to do about it."""
    machine.refusals = {
        "uapi": SourceError("/var/run/wireguard/wg0.sock: Permission denied", temporary=False),
        "netlink": SourceError("netlink: not permitted", temporary=False),
        "command": SourceError("wg: No such file or directory", temporary=False),
    }
    collector = machine.collector()
    source, state = await collector.examine()
    assert source.level == "hint"
    assert all(str(refusal) in source.text for refusal in machine.refusals.values())
    assert "NET_ADMIN" in source.fix
    assert state.level == "ok"
    assert "device alone" in state.text


async def test_without_sys_and_without_ipv6_it_works(machine: Machine) -> None:
    """Some sandboxes have neither."""

    def read(path: str) -> bytes:
        if path != "/proc/self/net/dev":
            raise SourceError(f"{path}: No such file or directory")
        return machine.read(path)

    collector = WireguardCollector("wg0", read, {"uapi": machine.source("uapi")}, machine.clock)
    await collector.update()
    assert samples(collector)["vpn_connection_status"] == 1


async def test_what_can_no_longer_be_read_is_no_longer_told(machine: Machine) -> None:
    """Neither as a state nor as series; when it can be read again, it goes on."""
    readable = True

    def read(path: str) -> bytes:
        if not readable:
            raise SourceError(f"{path}: Permission denied", temporary=False)
        return machine.read(path)

    collector = WireguardCollector("wg0", read, {"uapi": machine.source("uapi")}, machine.clock)
    await collector.update()
    readable = False
    with pytest.raises(SourceError):
        await collector.update()
    assert samples(collector) == {}
    assert collector.tunnel() is None
    readable = True
    await collector.update()
    assert samples(collector)["vpn_connection_status"] == 1


async def test_the_real_machine_has_no_such_device() -> None:
    """On the real /proc."""
    collector = build(Settings(name="wg-none"), FakeClock())
    await collector.update()
    tunnel = collector.tunnel()
    assert tunnel
    assert tunnel.state is State.ABSENT
