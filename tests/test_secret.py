"""A secret shows itself to nobody but who asks for it by name."""

import json
import logging
import pickle

import msgspec
import pytest

from proxywatch import logs
from proxywatch.config import Schema, load
from proxywatch.errors import ConfigError
from proxywatch.logs import Formatter
from proxywatch.secret import Secret

SECRET = "8642097531"


class Login(msgspec.Struct, frozen=True):
    """With a password."""

    user: str = ""
    password: Secret = Secret()


def test_what_prints_it_prints_stars() -> None:
    """By itself, in a struct, in a message, in a log line."""
    login = Login("me", Secret(SECRET))
    record = logging.makeLogRecord({"msg": "login %s", "args": (login,), "login": login.password})
    shown = (repr(login), f"{login.password}", f"{login!r}", str([login]))
    logged = (Formatter("logfmt").format(record), Formatter("json").format(record))
    assert not [text for text in (*shown, *logged) if SECRET in text]
    assert "***" in repr(login)
    assert login.password.reveal() == SECRET


@pytest.mark.parametrize("encode", [msgspec.json.encode, json.dumps, pickle.dumps])
def test_it_gets_into_no_document(encode: object) -> None:
    """It is refused rather than written."""
    with pytest.raises(TypeError):
        encode(Secret(SECRET))  # type: ignore[operator]


def test_secrets_are_equal_by_their_text() -> None:
    """A reload replaces what is made from another one alone."""
    assert Secret("a") == Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret()


@pytest.mark.parametrize(
    "text",
    [
        f"login: {{password: [{SECRET}]}}",
        f"login: {{password: {{{SECRET}: 1}}}}",
        f"login: {{password:{SECRET}}}",
        f"login: {{user: {{password: {SECRET}}}}}",
        f"login: {{passwort: {SECRET}}}",
        f"login: {SECRET}",
        f"login: [{SECRET}]",
        f"login:\n  password: {SECRET}\n  password: {SECRET}\n",
        f"login:\n  password: '{SECRET}\n",
        f"login:\n  password: {SECRET}: x\n",
        f"{SECRET}",
        f"log: {{level: 'x\n  password: {SECRET}'}}",
    ],
)
def test_no_fault_quotes_one(text: str) -> None:
    """Whatever is wrong around it."""
    with pytest.raises(ConfigError) as caught:
        load(text, {}, Schema({"login": Login, "log": logs.Settings}))
    assert SECRET not in str(caught.value)


def test_one_is_read_as_it_is_written() -> None:
    """Digits, words of YAML's, other alphabets; from the file and from the environment."""
    schema = Schema({"login": Login})
    for text in (SECRET, "no", "0x1f", "2021-01-01", "пароль"):
        assert load(f"login: {{password: {text}}}", {}, schema)[Login].password == Secret(text)
        assert load("", {"PROXYWATCH_LOGIN_PASSWORD": text}, schema)[Login].password == Secret(text)
