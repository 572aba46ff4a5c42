"""The exit: what the services see, how it is judged, and that every change is counted."""

from collections.abc import Callable
from random import Random

import pytest

from proxywatch.errors import NoData
from proxywatch.exporter.collector import exit as exit_
from proxywatch.exporter.collector.exit import ExitCollector, Expect, Settings
from proxywatch.probe.history import History
from proxywatch.probe.identity import Identity
from proxywatch.probe.outcome import Transfer
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.prober import Prober
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request
from proxywatch.probe.transfer import Transfers
from proxywatch.quantity import Url
from support.fakes import FakeClock
from support.metrics import samples
from support.probing import failure, success

URLS = (Url("http://a.test/"), Url("http://b.test/"), Url("http://c.test/"))
EXIT = Identity("192.0.2.1", "Sweden", "se", "Gothenburg", "se-got-wg-001", vpn=True)
NODE = Identity("198.51.100.7", "Germany", vpn=False)


class FakeServices(Prober):
    """Services by URL, as seen through the proxy and beside it."""

    def __init__(self) -> None:
        super().__init__(Proxy(), Transfers(), OwnTraffic(), History())
        self.through: dict[str, Identity | None] = dict.fromkeys(URLS, EXIT)
        self.beside: dict[int, Identity | None] = {4: None, 6: None}
        self.asked: list[Request] = []

    async def ask(  # type: ignore[override]
        self, asked: Request, _: Callable[[bytes], Identity]
    ) -> tuple[Transfer, Identity | None]:
        identity = self.through[asked.url]
        return (success(asked) if identity else failure(asked)), identity

    async def ask_directly(  # type: ignore[override]
        self, asked: Request, _: Callable[[bytes], Identity]
    ) -> Identity | None:
        self.asked.append(asked)
        return self.beside[asked.family]


def _collector(services: FakeServices, *, tunnel: bool = True, **settings: object) -> ExitCollector:
    chosen = Settings(**{"urls": URLS, "direct": True, **settings})  # type: ignore[arg-type]
    return exit_.build(chosen, services, tunnel=lambda: tunnel, clock=FakeClock(1000), dice=Random(1))


async def test_the_exit_is_where_most_services_see_us() -> None:
    """With what they know about it, and every check that can be judged."""
    services = FakeServices()
    services.through[URLS[0]] = NODE
    collector = _collector(services, expect=Expect(country="se", mullvad=True))
    await collector.update()
    seen = samples(collector)
    assert seen['proxy_exit_info{city="Gothenburg",country="se",ip="192.0.2.1",server="se-got-wg-001"}'] == 1
    for check in ("vpn", "country", "not_direct", "no_leak", "no_leak_ipv6", "dns"):
        assert seen[f'proxy_exit_check{{check="{check}"}}'] == 1
    assert seen["proxy_exit_last_success_timestamp_seconds"] == 1000
    status = collector.status()
    assert status
    assert status.answers == (2, 3)


async def test_a_leak_is_told() -> None:
    """What leaves beside the tunnel, in either family."""
    services = FakeServices()
    services.beside = {4: NODE, 6: Identity("2001:db8::7", vpn=False)}
    collector = _collector(services)
    await collector.update()
    seen = samples(collector)
    assert seen['proxy_exit_check{check="not_direct"}'] == 1
    assert seen['proxy_exit_check{check="no_leak"}'] == 0
    assert seen['proxy_exit_check{check="no_leak_ipv6"}'] == 0
    assert {asked.family for asked in services.asked} == {4, 6}
    faults = [finding for finding in await collector.examine() if finding.level == "fault"]
    assert [finding.text.partition(":")[0] for finding in faults] == ["no_leak", "no_leak_ipv6"]


async def test_where_the_proxy_alone_uses_the_tunnel_its_exit_is_judged_all_the_same() -> None:
    """What gets out beside it is no leak there, but an exit that is this host's own address is wrong."""
    services = FakeServices()
    services.beside = {4: NODE, 6: None}
    collector = _collector(services, leaks=False)
    await collector.update()
    seen = samples(collector)
    assert seen['proxy_exit_check{check="not_direct"}'] == 1
    assert not [name for name in seen if "no_leak" in name]


async def test_a_proxy_that_does_not_use_the_tunnel() -> None:
    """The exit is this host's own address, which is no VPN's."""
    services = FakeServices()
    services.through = dict.fromkeys(URLS, NODE)
    services.beside = {4: NODE, 6: None}
    collector = _collector(services, expect=Expect(country="se", mullvad=True), tunnel=False)
    await collector.update()
    seen = samples(collector)
    assert seen['proxy_exit_check{check="vpn"}'] == 0
    assert seen['proxy_exit_check{check="not_direct"}'] == 0
    assert 'proxy_exit_check{check="no_leak"}' not in seen


async def test_nothing_is_asked_directly_unless_that_is_wanted() -> None:
    """Then what needs it is not judged."""
    services = FakeServices()
    collector = _collector(services, direct=Settings().direct)
    await collector.update()
    assert services.asked == []
    assert [name for name in samples(collector) if "check" in name] == [
        'proxy_exit_check{check="vpn"}',
        'proxy_exit_check{check="dns"}',
    ]


async def test_a_change_is_counted_over_an_outage() -> None:
    """The info goes while nothing answers; the next address is compared with the last one seen."""
    services = FakeServices()
    collector = _collector(services)
    await collector.update()
    await collector.update()
    assert samples(collector)["proxy_exit_changes_total"] == 0
    services.through = dict.fromkeys(URLS, None)
    with pytest.raises(NoData, match="socks: connection refused"):
        await collector.update()
    seen = samples(collector)
    assert not [name for name in seen if name.startswith(("proxy_exit_info", "proxy_exit_check"))]
    assert seen["proxy_exit_last_success_timestamp_seconds"] == 1000
    services.through = dict.fromkeys(URLS, Identity("192.0.2.2", vpn=True))
    await collector.update()
    assert samples(collector)["proxy_exit_changes_total"] == 1
    services.through = dict.fromkeys(URLS, None)
    (finding,) = await collector.examine()
    assert finding.level == "fault"


async def test_a_scrape_during_a_round_sees_the_last_one() -> None:
    """Nothing vanishes while services are being asked."""
    services = FakeServices()
    collector = _collector(services)
    await collector.update()
    during: list[bool] = []

    async def look(asked: Request, _: Callable[[bytes], Identity], /) -> tuple[Transfer, Identity | None]:
        during.append(any("proxy_exit_info" in name for name in samples(collector)))
        return success(asked), EXIT

    services.ask = look  # type: ignore[method-assign, assignment]
    await collector.update()
    assert during == [True] * 3


def test_no_services_at_all() -> None:
    """Is refused."""
    with pytest.raises(ValueError, match="urls"):
        Settings(urls=())
