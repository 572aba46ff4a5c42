"""Names that YAML reads as something else: quoted wherever they are written, or refused with a sentence."""

from typing import Any

import pytest

from support.charts import MATRIX, NEWEST, POOL, Manifest, containers, of_kind, pods, render, validate

WORDS = ("no", "off", "true", "null", "123", "0x1f", "1e3", "0o17", "1-2")
LETTERS = [word for word in WORDS if word[0].isalpha()]
DIGITS = [word for word in WORDS if word[0].isdigit()]
SENTENCE = "a Service's name begins with a letter and holds only"
ALL = {key: value for key, value in MATRIX["everything"].items() if key not in {"dashboards", "rules"}}
majors = pytest.mark.parametrize("major", ["4", pytest.param("3", marks=pytest.mark.slow)])


def proxies(*names: str) -> dict[str, Any]:
    """A pool of these, with Secrets of the same names."""
    return {"proxies": [{"name": name, "secret": name} for name in names]}


def valid(values: dict[str, Any], major: str, release: str = "rel", namespace: str = "vpn") -> list[Manifest]:
    """What is rendered, after it has been held against the schemas."""
    manifests = render(values, major=major, release=release, namespace=namespace)
    for manifest in manifests:
        validate(manifest, NEWEST)
    return manifests


@majors
def test_a_proxy_may_have_any_of_them(major: str) -> None:
    """In names, labels, host names, Secrets and settings it is the same text."""
    made = pods(valid(ALL | proxies(*WORDS), major))
    assert [pod["spec"]["hostname"] for pod in made] == list(WORDS)
    assert [pod["metadata"]["labels"]["proxywatch/proxy"] for pod in made] == list(WORDS)
    secrets = [volume["secret"]["secretName"] for volume in made[0]["spec"]["volumes"] if "secret" in volume]
    assert WORDS[0] in secrets


@majors
@pytest.mark.parametrize("word", WORDS)
def test_a_release_and_its_namespace_may_have_any_of_them(word: str, major: str) -> None:
    """Where the release's name cannot begin that of a Service, `fullnameOverride` does."""
    begin = {"fullnameOverride": "vpn"} if word in DIGITS else {}
    manifests = valid(ALL | begin, major, release=word, namespace=word)
    for pod in pods(manifests):
        assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == word
    assert {each["metadata"]["namespace"] for each in of_kind(manifests, "Deployment")} == {word}


@majors
@pytest.mark.parametrize("word", WORDS)
def test_the_charts_name_may_be_any_of_them(word: str, major: str) -> None:
    """It is a label, and a part of names."""
    for pod in pods(valid(ALL | {"nameOverride": word}, major)):
        assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == word


@majors
@pytest.mark.parametrize("word", LETTERS)
def test_a_full_name_may_be_any_that_begins_with_a_letter(word: str, major: str) -> None:
    """Every object is named by it."""
    manifests = valid(POOL | {"fullnameOverride": word}, major)
    assert {each["metadata"]["name"].partition("-")[0] for each in manifests} == {word}


@majors
@pytest.mark.parametrize(
    ("values", "release"),
    [
        *(({"fullnameOverride": word}, "rel") for word in (*DIGITS, "a.b.c", "Vpn")),
        *(({}, word) for word in (*DIGITS, "a.b.c")),
        ({"nameOverride": "a.b.c"}, "rel"),
    ],
)
def test_what_no_service_can_be_called_is_refused_with_a_sentence(
    values: dict[str, Any], release: str, major: str
) -> None:
    """Before anything of it reaches the cluster."""
    with pytest.raises(RuntimeError, match=SENTENCE):
        render(POOL | values, major=major, release=release)


@majors
@pytest.mark.parametrize("read", [False, 123, True, None, 31, 1000.0])
@pytest.mark.parametrize("place", ["name", "secret"])
def test_what_yaml_has_read_as_something_else_is_refused(place: str, read: object, major: str) -> None:
    """A name without quotes is no text any more: it is not turned into another one."""
    with pytest.raises(RuntimeError, match=place):
        render({"proxies": [{"name": "a", "secret": "a", place: read}]}, major=major)


@majors
def test_a_name_with_dots_is_no_proxys(major: str) -> None:
    """It is a host name and a part of a Service's."""
    with pytest.raises(RuntimeError, match="name"):
        render(proxies("a.b.c"), major=major)


@majors
def test_other_names_are_quoted_too(major: str) -> None:
    """Volumes, keys, classes, accounts, users, labels."""
    values = POOL | {
        "sidecar": {"logVolume": "log", "tunnelVolume": "123", "login": {
            "username": "null", "secret": "1e3", "key": "no"}},
        "proxy": {"usersSecret": "off", "wireguard": {"key": "0x1f"}},
        "extraVolumes": [{"name": "123", "emptyDir": {}}],
        "priorityClassName": "true",
        "serviceAccount": {"name": "123"},
        "commonLabels": {"a": "no"},
        "commonAnnotations": {"b": "1e3"},
    }  # fmt: skip
    (pod, _) = pods(valid(values, major))
    assert pod["spec"]["priorityClassName"] == "true"
    assert pod["spec"]["serviceAccountName"] == "123"
    assert pod["metadata"]["labels"]["a"] == "no"
    assert pod["metadata"]["annotations"]["b"] == "1e3"
    mounts = {each["name"] for each in containers(pod)["proxywatch"]["volumeMounts"]}
    assert "123" in mounts
