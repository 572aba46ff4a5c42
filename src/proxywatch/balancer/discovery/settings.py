"""The section `discovery`, and the sources that it asks for."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from proxywatch.balancer.choosing.geography import country_code, is_code
from proxywatch.balancer.discovery.dns import DnsSource
from proxywatch.balancer.discovery.docker import DockerSource
from proxywatch.balancer.discovery.files import FileSource
from proxywatch.balancer.discovery.http import Server
from proxywatch.balancer.discovery.kubernetes import KubernetesSource
from proxywatch.balancer.discovery.mullvad import Wanted
from proxywatch.balancer.discovery.names import NameSettings
from proxywatch.balancer.discovery.relay_list import RelayListFile, RelayListUrl
from proxywatch.balancer.discovery.source import Source
from proxywatch.balancer.node import Upstream
from proxywatch.balancer.nodes import upstream
from proxywatch.clock import Clock
from proxywatch.errors import ConfigError, Fault, ParseError
from proxywatch.quantity import Duration, Url

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_LOOK = 2.0  # seconds between two looks at a file
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NotNegative = Annotated[Duration, msgspec.Meta(ge=0)]
_Positive = Annotated[Duration, msgspec.Meta(gt=0)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Dns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nodes by name.

    Attributes:
        names: The names.
        resolvers: Addresses to ask; empty for those of the system.
        port: On which these are asked.
    """

    names: tuple[NameSettings, ...]
    resolvers: tuple[str, ...] = ()
    port: _Port = 53


class Docker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Containers of a Docker-compatible engine.

    Attributes:
        socket: Path of the engine's socket.
        label: Which containers: `KEY`, or `KEY=VALUE`.
        network: By which network containers with several are reached, unless their label says.
        host_address: The address of containers on the host's network.
    """

    socket: str = "/var/run/docker.sock"
    label: str = "proxywatch.country"
    network: str = ""
    host_address: str = "127.0.0.1"


class Kubernetes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pods.

    Attributes:
        selector: Labels of the pods, as `kubectl -l` takes them.
        namespace: Which; empty for that of our own pod, `*` for all.
        url: The API server; empty for that of the cluster that we run in.
        token_file: File with a token; empty for that of our own account, where `url` is empty too.
        ca_file: Who signs the server's certificate; the same.
    """

    selector: str = "proxywatch/country"
    namespace: str = ""
    url: str = ""
    token_file: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no namespace, or no server."""
        if self.namespace not in ("", "*") and not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError("namespace: expected the name of one, or `*`")
        if self.url:
            try:
                Url.parse(self.url)
            except ParseError as error:
                raise ValueError(f"url: {error}") from None


class Mullvad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mullvad's relays, each of which has a SOCKS server inside the tunnel.

    Attributes:
        via: The proxy that is in a tunnel of Mullvad's, through which they are reached: a URL, or the id of a node.
        file: The relay list, as a file; or
        url: the relay list, by http or https.
        interval: How often a URL is asked whether the list has changed.
        countries: Codes of the countries to take; empty takes all.
        cities: City codes.
        owned: Whether to take Mullvad's own machines only.
        providers: Whose machines to take.
    """

    via: str
    file: str = ""
    url: str = ""
    interval: _Positive = Duration(3600)
    countries: tuple[str, ...] = ()
    cities: tuple[str, ...] = ()
    owned: bool = False
    providers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if bool(self.file) == bool(self.url):
            raise ValueError("file: expected either that or url")
        if self.url:
            try:
                Url.parse(self.url)
            except ParseError as error:
                raise ValueError(f"url: {error}") from None
        if "://" in self.via:
            try:
                upstream(self.via)
            except ParseError as error:
                raise ValueError(f"via: {error}") from None

    @property
    def wanted(self) -> Wanted:
        """Which relays to take."""
        countries = frozenset(map(country_code, self.countries))
        cities, providers = (frozenset(map(str.lower, it)) for it in (self.cities, self.providers))
        return Wanted(countries, cities, self.owned, providers)

    @property
    def hop(self) -> Upstream | str:
        """Through what they are reached."""
        return upstream(self.via) if "://" in self.via else self.via


class Discovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where nodes come from beside `nodes`.

    Attributes:
        files: Globs of target files of Prometheus's file-based service discovery.
        dns: Names whose addresses are nodes.
        docker: Containers.
        kubernetes: Pods.
        mullvad: Relays of Mullvad's.
        drain: How long leases stay on a node that goes.
    """

    files: tuple[str, ...] = ()
    dns: Dns | None = None
    docker: Docker | None = None
    kubernetes: Kubernetes | None = None
    mullvad: Mullvad | None = None
    drain: _NotNegative = Duration(300)


def sources(settings: Discovery, clock: Clock, environ: Mapping[str, str] = os.environ) -> dict[str, Source]:
    """The sources by name.

    Raises:
        ConfigError: With every fault found.
    """
    faults = list(_faults(settings, environ))
    if faults:
        raise ConfigError(*faults)
    found: dict[str, Source] = {}
    if settings.files:
        found["files"] = FileSource(settings.files, _LOOK, clock)
    if (names := settings.dns) is not None and names.names:
        found["dns"] = DnsSource(names.names, names.resolvers, names.port, clock)
    if (docker := settings.docker) is not None:
        found["docker"] = DockerSource(
            docker.socket, docker.label, docker.network, docker.host_address, clock
        )
    if (kubernetes := settings.kubernetes) is not None:
        found["kubernetes"] = _kubernetes(kubernetes, clock, environ)
    if (mullvad := settings.mullvad) is not None:
        found["mullvad"] = (
            RelayListFile(mullvad.file, mullvad.wanted, mullvad.hop, _LOOK, clock)
            if mullvad.file
            else RelayListUrl(mullvad.url, mullvad.wanted, mullvad.hop, mullvad.interval, clock)
        )
    return found


def _kubernetes(settings: Kubernetes, clock: Clock, environ: Mapping[str, str]) -> KubernetesSource:
    namespace, url = settings.namespace, settings.url.rstrip("/")
    token, authority = settings.token_file, settings.ca_file
    if not url:
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
        url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        token, authority = token or f"{_ACCOUNT}/token", authority or f"{_ACCOUNT}/ca.crt"
    if not namespace:
        namespace = environ.get("POD_NAMESPACE") or _own_namespace()
    return KubernetesSource(
        Server(url, token_file=token, ca_file=authority),
        "" if namespace == "*" else namespace,
        settings.selector,
        clock,
    )


def _own_namespace() -> str:
    try:
        with open(f"{_ACCOUNT}/namespace", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 1 MB
            return file.read(64).strip() or "default"
    except OSError:
        return "default"


def _faults(settings: Discovery, environ: Mapping[str, str]) -> Iterator[Fault]:
    for index, name in enumerate(settings.dns.names if settings.dns else ()):
        if not is_code(country_code(name.country)):
            yield Fault(f"discovery.dns.names[{index}].country", "expected a country code of two letters, se")
    if settings.mullvad is not None:
        for country in settings.mullvad.countries:
            if not is_code(country_code(country)):
                yield Fault("discovery.mullvad.countries", "expected country codes of two letters, se")
    kubernetes = settings.kubernetes
    if kubernetes is not None and not kubernetes.url and "KUBERNETES_SERVICE_HOST" not in environ:
        yield Fault("discovery.kubernetes.url", "expected one: we do not run in a pod")
