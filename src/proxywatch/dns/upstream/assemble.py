"""Upstreams out of settings."""

import ssl
from asyncio import TaskGroup
from pathlib import Path
from random import Random
from urllib.parse import unquote, urlsplit

from proxywatch.clock import Clock
from proxywatch.dns.settings import Settings, UpstreamUrl
from proxywatch.dns.upstream.base import Upstream, UpstreamError
from proxywatch.dns.upstream.bootstrap import Bootstrap
from proxywatch.dns.upstream.dialer import Dialer, Direct, Resolve, Socks5
from proxywatch.dns.upstream.pool import Pool
from proxywatch.dns.upstream.stream import Stream, Tls
from proxywatch.dns.upstream.udp import Udp

_PASSWORD = 256


def pool(
    settings: Settings, group: TaskGroup, clock: Clock, dice: Random, through: Dialer | None = None
) -> Pool:
    """All resolvers of the settings.

    Args:
        settings: Which, and by which way.
        group: Where connections are read.
        clock: For lives and pauses.
        dice: For ids and spellings; must not be predictable.
        through: The way through a node or country of a balancer, which `via: node:` and `country:` need.

    Raises:
        ValueError: `via` names a node or country, and no way through one was given.
    """
    bootstrap = Bootstrap([_plain(url, group, dice) for url in settings.bootstrap], clock)
    dialer = through or _dialer(settings, bootstrap.resolve)
    direct = settings.via == "direct" and through is None
    resolve = bootstrap.resolve if direct else None
    upstreams = [
        _upstream(url, settings, dialer, resolve, group=group, dice=dice)
        for url in dict.fromkeys(settings.upstream)
    ]
    return Pool(upstreams, clock, timeout=settings.timeout, deadline=settings.deadline)


def _dialer(settings: Settings, resolve: Resolve) -> Dialer:
    via = settings.via or ""
    if via == "direct":
        return Direct(resolve)
    parts = urlsplit(via)
    if parts.scheme != "socks5h":
        raise ValueError(f"via: {via} needs a balancer")
    file = settings.via_password_file
    return Socks5(
        parts.hostname or "", parts.port or 0, resolve, unquote(parts.username or ""), lambda: _read(file)
    )


def _upstream(
    url: UpstreamUrl,
    settings: Settings,
    dialer: Dialer,
    resolve: Resolve | None,
    *,
    group: TaskGroup,
    dice: Random,
) -> Upstream:
    place = url.host, url.port
    if url.scheme == "https":
        from proxywatch.dns.upstream.https import Https  # noqa: PLC0415 - HTTP/2 is not for everybody's memory

        return Https(str(url), place, url.path, dialer, group=group, tls=_tls(settings, url, "h2"))
    if url.scheme == "tls":
        return Stream(str(url), place, dialer, group, dice, tls=_tls(settings, url, "dot"))
    stream = Stream(str(url), place, dialer, group, dice)
    if url.scheme == "tcp" or resolve is None:
        return stream
    return Udp(str(url), place, resolve, stream, dice, randomize_case=settings.randomize_case)


def _plain(url: UpstreamUrl, group: TaskGroup, dice: Random) -> Upstream:
    place = url.host, url.port
    stream = Stream(str(url), place, Direct(_itself), group, dice)
    return stream if url.scheme == "tcp" else Udp(str(url), place, _itself, stream, dice)


async def _itself(host: str) -> list[str]:
    return [host]


def _tls(settings: Settings, url: UpstreamUrl, protocol: str) -> Tls:
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    return Tls(context, url.tls_name)


def _read(file: str) -> str:
    try:
        with Path(file).open() as opened:
            return opened.read(_PASSWORD).strip("\r\n")
    except (OSError, ValueError) as error:
        raise UpstreamError("local", f"the password file cannot be read: {type(error).__name__}") from None
