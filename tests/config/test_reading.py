"""Settings: strict, every fault at once with its place, the environment over the file."""

from typing import Annotated, Literal

import msgspec
import pytest

from proxywatch.config import Config, Schema, load
from proxywatch.config import read as read_struct
from proxywatch.errors import ConfigError
from proxywatch.exporter.settings import SCHEMA as EXPORTER
from proxywatch.quantity import Address, Duration, Size


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping within a section."""

    country: str | None = None
    mullvad: bool | None = None


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key of every kind."""

    enabled: bool = True
    interval: Annotated[Duration, msgspec.Meta(gt=0)] = Duration(30)
    timeout: Duration = Duration(10)
    targets: tuple[str, ...] = ("http://a.test/",)
    max_bytes: Size = Size(10**6)
    expect: Expect = Expect()
    format: Literal["logfmt", "json"] = "logfmt"

    def __post_init__(self) -> None:
        problems = []
        if self.timeout > self.interval:
            problems.append("timeout: expected at most the interval")
        if not self.targets:
            problems.append("targets: expected at least one")
        if problems:
            raise ValueError("\n".join(problems))


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to listen."""

    listen: Address = Address(":9090")


class Proxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The proxy."""

    name: str = ""
    url: str = "socks5h://127.0.0.1:1080"


SCHEMA = Schema({"probe": Probe, "http": Http, "proxy": Proxy}, aliases=EXPORTER.aliases)


def read(text: str = "", **environ: str) -> Config:
    return load(text, environ, SCHEMA, "proxywatch.yaml")


def faults(text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("text", ["", "# nothing\n", "probe:\n", "probe: {}\n", "{}"])
def test_an_empty_file_means_defaults(text: str) -> None:
    """No file, an empty one, an empty section: all the defaults."""
    assert read(text)[Probe] == Probe()


def test_quantities_are_read_as_people_write_them() -> None:
    """Durations, sizes, addresses, lists and mappings."""
    config = read(
        "probe: {interval: 1m30s, max_bytes: 64KiB, targets: [http://b.test/], expect: {country: se}}\n"
        "http: {listen: '[::]:0'}\n"
    )
    probe = config[Probe]
    expected = Probe(
        interval=Duration(90), max_bytes=Size(65536), targets=("http://b.test/",), expect=Expect("se")
    )
    assert probe == expected
    assert (config[Http].listen.host, config[Http].listen.port) == ("::", 0)


def test_seven_mistakes_get_seven_messages_with_their_places() -> None:
    """Nobody has to fix one mistake to be told of the next."""
    text = """\
probe:
  enabled: perhaps
  intervall: 30s
  interval: 30
  targets: http://a.test/
  max_bytes: lots
  format: xml
http:
  listen: "9090:"
"""
    assert faults(text) == [
        "proxywatch.yaml:2 probe.enabled: expected true or false, got 'perhaps'",
        "proxywatch.yaml:3 probe.intervall: unknown key; did you mean interval?",
        "proxywatch.yaml:4 probe.interval: expected a duration such as 500ms, 30s, 5m or 1h30m, got '30'",
        "proxywatch.yaml:5 probe.targets: expected a list, each text, got 'http://a.test/'",
        "proxywatch.yaml:6 probe.max_bytes: expected a size such as 1MB, 64KiB or 1000000, got 'lots'",
        "proxywatch.yaml:7 probe.format: expected one of logfmt, json, got 'xml'",
        "proxywatch.yaml:9 http.listen: expected an address such as :9090, 127.0.0.1:9090, [::1]:9090 or "
        "unix:/run/proxywatch.sock, got '9090:'",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("porbe: {}", "proxywatch.yaml:1 porbe: unknown section; did you mean probe?"),
        ("[1, 2]", "proxywatch.yaml:1 the file: expected a mapping of keys to values"),
        ("probe: 3", "proxywatch.yaml:1 probe: expected a mapping of keys to values"),
        ("probe: {enabled: true, enabled: false}", "proxywatch.yaml:1 probe.enabled: given twice"),
        ("probe:\n\tx: 1", "proxywatch.yaml:2: not YAML: a tab where spaces are expected"),
        ("a: b\n---\nc: d", "proxywatch.yaml:2: a second document; expected one"),
        ("? [a]\n: b", "proxywatch.yaml:1: expected a plain key"),
        ("probe: {targets: [a, [5]]}", "proxywatch.yaml:1 probe.targets[1]: expected text, got a list"),
        ("probe: {targets: []}", "proxywatch.yaml:1 probe.targets: expected at least one"),
        ("probe: {expect: {land: se}}", "proxywatch.yaml:1 probe.expect.land: unknown key; known are "
         "country, mullvad"),
        ("probe: {expect: 3}", "proxywatch.yaml:1 probe.expect: expected a mapping"),
        ("probe: {interval: 0s}", "proxywatch.yaml:1 probe.interval: expected a duration such as 500ms, 30s, "
         "5m or 1h30m of more than 0s, got '0s'"),
        ("probe: {interval: 5s}", "proxywatch.yaml:1 probe.timeout: expected at most the interval"),
        ("proxy: {name: ~}", 'proxywatch.yaml:1 proxy.name: expected text, got nothing; write "~" in quotes '
         "if the word is meant"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_place(text: str, expected: str) -> None:
    """A sentence that says what was expected and what was found."""
    assert faults(text) == [expected]


def test_the_environment_wins_over_the_file() -> None:
    """Any key, lists with commas, and the short names."""
    config = read(
        "probe: {interval: 1m, targets: [http://b.test/]}\nhttp: {listen: ':1'}",
        PROXYWATCH_PROBE_INTERVAL="2m",
        PROXYWATCH_PROBE_TARGETS="http://c.test/, http://d.test/",
        PROXYWATCH_PROBE_EXPECT="{country: se, mullvad: true}",
        PROXYWATCH_PROBE_MAX_BYTES="2MB",
        METRICS_PORT="9191",
        PROXY_NAME="golden-crab",
    )
    assert config[Probe] == Probe(
        interval=Duration(120),
        targets=("http://c.test/", "http://d.test/"),
        expect=Expect("se", mullvad=True),
        max_bytes=Size(2_000_000),
    )
    assert (config[Http].listen, config[Proxy].name) == (":9191", "golden-crab")


def test_the_socks_port_replaces_the_port_of_the_url_alone() -> None:
    """Scheme, user and host of the file stay."""
    url = read("proxy: {url: 'socks5h://user@[::1]:1080'}", SOCKS5_PORT="1090")[Proxy].url
    assert url == "socks5h://user@[::1]:1090"
    assert read(SOCKS5_PORT="1090")[Proxy].url == "socks5h://127.0.0.1:1090"


def test_mistakes_in_the_environment_are_faults_too() -> None:
    """With the variable as their place."""
    assert faults(PROXYWATCH_PROBE_INTERVAL="soon", PROXYWATCH_PROBE_SPEED="1", METRICS_PORT="http") == [
        "environment PROXYWATCH_PROBE_SPEED: unknown key; known are enabled, interval, timeout, targets, "
        "max_bytes, expect, format",
        "environment PROXYWATCH_PROBE_INTERVAL: expected a duration such as 500ms, 30s, 5m or 1h30m, "
        "got 'soon'",
        "environment METRICS_PORT: expected an address such as :9090, 127.0.0.1:9090, [::1]:9090 or "
        "unix:/run/proxywatch.sock, got ':http'",
    ]


def test_variables_of_kubernetes_services_are_nobodys_settings() -> None:
    """A Service called `metrics` or `proxywatch-probe` must not stop the daemon."""
    config = read(
        METRICS_PORT="tcp://10.0.0.1:9090",
        PROXYWATCH_PORT="tcp://10.0.0.1:9090",
        PROXYWATCH_SERVICE_HOST="10.0.0.1",
        PROXYWATCH_PROBE_SERVICE_HOST="10.0.0.1",
        PROXYWATCH_PROBE_SERVICE_PORT_HTTP="80",
        PROXYWATCH_PROBE_PORT_80_TCP_ADDR="10.0.0.1",
    )
    assert config == read()


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("PROXYWATCH_PROBE_EXPECT_COUNTRY", "no", Probe(expect=Expect("no"))),
        ("PROXYWATCH_PROBE_EXPECT_MULLVAD", "off", Probe(expect=Expect(mullvad=False))),
        ("PROXYWATCH_PROBE", "{interval: 1m}", Probe(interval=Duration(60))),
        ("PROXYWATCH_PROBE_TARGETS", '["http://a.test/,b"]', Probe(targets=("http://a.test/,b",))),
    ],
)
def test_the_environment_reaches_every_key(variable: str, text: str, expected: Probe) -> None:
    """A key within a mapping, a whole section, an item with a comma."""
    assert read(**{variable: text})[Probe] == expected


def test_a_nested_variable_wins_over_the_mapping_and_keeps_the_rest() -> None:
    """Of the file, and of another variable."""
    mapping = "{country: se, mullvad: true}"
    for config in (
        read("probe: {expect: " + mapping + "}", PROXYWATCH_PROBE_EXPECT_COUNTRY="de"),
        read(PROXYWATCH_PROBE_EXPECT_COUNTRY="de", PROXYWATCH_PROBE_EXPECT=mapping),
    ):
        assert config[Probe].expect == Expect("de", mullvad=True)


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("PROXYWATCH_PORBE_INTERVAL", "unknown section; did you mean probe?"),
        ("PROXYWATCH_GOLDEN", "unknown section; known are probe, http, proxy"),
        ("PROXYWATCH_PROBE_EXPECT_LAND", "unknown key; known are country, mullvad"),
    ],
)  # fmt: skip
def test_a_misspelled_variable_is_refused(variable: str, expected: str) -> None:
    """A section as well as a key: it would be ignored in silence otherwise."""
    assert faults(**{variable: "1"}) == [f"environment {variable}: {expected}"]


def test_variables_of_another_daemon_are_ignored() -> None:
    """Both may share one file of variables."""
    schema = Schema({"probe": Probe}, ignored=("PROXYWATCH_OTHER_",))
    assert load("", {"PROXYWATCH_OTHER_X": "1"}, schema)[Probe] == Probe()


def test_a_password_in_a_url_is_not_repeated_in_a_message() -> None:
    """Messages go to logs."""
    assert "hunter2" not in faults("http: {listen: 'http://me:hunter2@host:99999'}")[0]


def test_one_file_serves_a_reader_of_one_section() -> None:
    """The health check reads its own section of a file whose others it does not know."""
    config = load(
        "probe: {x: 1}\nhttp: {listen: ':1'}", {"PROXYWATCH_X_Y": "1"}, Schema({"http": Http}), others=True
    )
    assert config[Http].listen == ":1"


def test_a_file_that_is_one_struct() -> None:
    """Faults have the same places."""
    assert read_struct("name: no", Proxy, "web.yml") == Proxy(name="no")
    with pytest.raises(ConfigError) as caught:
        read_struct("a: 1\nurl: {}", Proxy, "web.yml")
    assert [str(fault) for fault in caught.value.faults] == [
        "web.yml:1 a: unknown key; known are name, url",
        "web.yml:2 url: expected text, got a mapping",
    ]
