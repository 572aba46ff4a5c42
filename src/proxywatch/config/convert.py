"""From nodes to values: a node and the type that is wanted, the value or a fault with its place out.

The types: structs of msgspec, `tuple[T, ...]`, `list[T]`, `dict[str, T]`, `Literal`, unions, `bool`, `int`,
`float`, `str`, `Any`, and every class with a `parse` of its own (durations, sizes, addresses, secrets), which
is given the text, or the list of texts. `Annotated[T, msgspec.Meta(...)]` sets bounds.

Text is read as it was written: `no` and `1e3` stay what they are. A word of YAML's for nothing (`null`, `~`)
is refused where text is expected, as it may be meant either way.
"""

import math
import operator
import re
from collections.abc import Callable
from collections.abc import Mapping as Items
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from proxywatch.config.document import Mapping, Node, Scalar, Sequence
from proxywatch.config.faults import Faults
from proxywatch.config.place import Place
from proxywatch.errors import ParseError
from proxywatch.quantity import show

_StructT = TypeVar("_StructT", bound=msgspec.Struct)

_TRUE = frozenset(("true", "yes", "on"))
_FALSE = frozenset(("false", "no", "off"))
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?")
_EXPECTED = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping",
    Any: "a value", NoneType: "nothing",
}  # fmt: skip
_COMPARE = {
    "gt": (operator.gt, "more than"),
    "ge": (operator.ge, "at least"),
    "lt": (operator.lt, "less than"),
    "le": (operator.le, "at most"),
}


class _Wrong(Exception):  # noqa: N818 - never leaves this file
    """The value is none of the type's; the message says what is expected."""


def convert(node: Node, kind: Any, faults: Faults) -> Any:  # noqa: ANN401 - a type expression and its value
    """The value of a node; None, and a fault, where it is none of the type's."""
    base, extras = plain(kind)
    members = [plain(member)[0] for member in union(base)]
    if isinstance(node, Mapping):
        return _from_mapping(node, members, kind, faults)
    if isinstance(node, Sequence):
        return _from_sequence(node, members, kind, faults)
    try:
        value = _from_scalar(node, members, kind)
    except _Wrong as wrong:
        faults.add(node.place, str(wrong))
        return None
    if not within(value, extras):
        faults.add(node.place, f"expected {expected(kind)}, got {show(node.text)}")
        return None
    return value


def structure(
    given: Items[str, Node], settings: type[_StructT], place: Place, faults: Faults
) -> _StructT | None:
    """A struct of the nodes by key, each fault found; None when there is any."""
    before = faults.count
    hints = get_type_hints(settings, include_extras=True)
    fields = {each.encode_name: each for each in msgspec.structs.fields(settings)}
    values = {}
    for key, node in given.items():
        if key not in fields:
            faults.add_unknown(node.place, "key", key, fields)
        elif not (isinstance(node, Scalar) and node.empty):
            values[fields[key].name] = convert(node, hints[fields[key].name], faults)
    for key, each in fields.items():
        if each.required and each.name not in values:
            faults.add(place.key(key), f"missing; expected {expected(hints[each.name])}")
    if faults.count > before:
        return None
    try:
        return settings(**values)
    except (TypeError, ValueError) as error:
        # A struct that refuses a combination says so in lines of `key: message`.
        for line in str(error).splitlines():
            key, _, message = line.partition(": ")
            faults.add(given[key].place if key in given else place.key(key), message)
        return None


def _from_mapping(node: Mapping, members: list[Any], kind: Any, faults: Faults) -> Any:  # noqa: ANN401
    for member in members:
        if is_struct(member):
            return structure(node.items, member, node.place, faults)
        if get_origin(member) is dict:
            value = get_args(member)[1]
            return {key: convert(item, value, faults) for key, item in node.items.items()}
        if member is Any:
            return {key: convert(item, Any, faults) for key, item in node.items.items()}
    faults.add(node.place, f"expected {expected(kind)}, got a mapping")
    return None


def _from_sequence(node: Sequence, members: list[Any], kind: Any, faults: Faults) -> Any:  # noqa: ANN401
    for member in members:
        origin = get_origin(member)
        if origin in (tuple, list):
            item = get_args(member)[0]
            return origin(convert(each, item, faults) for each in node.items)
        if member is Any:
            return [convert(each, Any, faults) for each in node.items]
        texts = [each.text for each in node.items if isinstance(each, Scalar)]
        if hasattr(member, "parse") and len(texts) == len(node.items):
            try:
                return member.parse(texts)
            except ParseError as error:
                faults.add(node.place, str(error))
                return None
    faults.add(node.place, f"expected {expected(kind)}, got a list")
    return None


def _from_scalar(node: Scalar, members: list[Any], kind: Any) -> Any:  # noqa: ANN401
    """The first of the members that the text is one of."""
    if node.null and NoneType in members:
        return None
    complaint = ""
    for member in members:
        try:
            return _scalar(node, member)
        except _Wrong as wrong:
            complaint = complaint or str(wrong)
    if len(members) == 1 and complaint:
        raise _Wrong(complaint)
    got = "" if any(map(is_struct, members)) else f", got {show(node.text)}"
    raise _Wrong(f"expected {expected(kind)}{got}")


def _scalar(node: Scalar, kind: Any) -> Any:  # noqa: ANN401
    if hasattr(kind, "parse"):
        try:
            return kind.parse(node.text)
        except ParseError as error:
            raise _Wrong(str(error)) from None
    if get_origin(kind) is Literal and node.text in get_args(kind):
        return node.text
    read = _READ.get(kind)
    value = read(node) if read else None
    if value is None and kind is not Any:
        raise _Wrong(_unfit(kind, node))
    return value


def _unfit(kind: Any, node: Scalar) -> str:  # noqa: ANN401
    message = f"expected {expected(kind)}"
    if kind is str:
        return f'{message}, got nothing; write "{node.text}" in quotes if the word is meant'
    # A text in place of a mapping may be a password after a wrong indentation: it is not shown.
    item = get_args(kind)[0] if get_origin(kind) in (tuple, list) else kind
    return message if is_struct(item) or get_origin(item) is dict else f"{message}, got {show(node.text)}"


def _text(node: Scalar) -> str | None:
    return None if node.null and node.text else node.text


def _flag(node: Scalar) -> bool | None:
    word = node.text.lower()
    return word in _TRUE if word in _TRUE | _FALSE else None


def _integer(node: Scalar) -> int | None:
    return int(node.text) if _INTEGER.fullmatch(node.text) else None


def _number(node: Scalar) -> float | None:
    number = float(node.text) if _NUMBER.fullmatch(node.text) else math.inf
    return number if math.isfinite(number) else None


def _free(node: Scalar) -> object:
    """A value where anything goes: true, false, nothing, numbers; else text."""
    if node.quoted:
        return node.text
    if node.null:
        return None
    if node.text in ("true", "false"):
        return node.text == "true"
    return next((value for read in (_integer, _number) if (value := read(node)) is not None), node.text)


_READ: dict[Any, Callable[[Scalar], object]] = {
    str: _text, bool: _flag, int: _integer, float: _number, Any: _free,
}  # fmt: skip


# Types


def plain(kind: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401
    """The type without annotations, and these."""
    return (get_args(kind)[0], get_args(kind)[1:]) if get_origin(kind) is Annotated else (kind, ())


def union(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The members of a union; of any other type, itself. Text comes last, as every scalar is one."""
    if get_origin(kind) not in (Union, UnionType):
        return (kind,)
    return tuple(sorted(get_args(kind), key=lambda member: member is str))


def is_struct(kind: Any) -> bool:  # noqa: ANN401
    """Whether it is a struct of msgspec."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def within(value: Any, extras: tuple[Any, ...]) -> bool:  # noqa: ANN401
    """Whether a value keeps the bounds of its annotation."""
    for extra in extras:
        for name, (test, _) in _COMPARE.items():
            bound = getattr(extra, name, None)
            if bound is not None and not test(value, bound):
                return False
        pattern = getattr(extra, "pattern", None)
        if pattern is not None and not re.search(pattern, value):
            return False
    return True


def expected(kind: Any) -> str:  # noqa: ANN401
    """The type, for a message."""
    base, extras = plain(kind)
    description = next((extra.description for extra in extras if getattr(extra, "description", None)), "")
    return description or _described(base) + _bounds(base, extras)


def _described(kind: Any) -> str:  # noqa: ANN401
    members = union(kind)
    origin = get_origin(kind)
    if len(members) > 1:
        return " or ".join(expected(member) for member in members if member is not NoneType)
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if origin in (tuple, list):
        return f"a list, each {expected(get_args(kind)[0])}"
    if is_struct(kind) or origin is dict:
        return "a mapping"
    return str(getattr(kind, "expected", _EXPECTED.get(kind, str(kind))))


def _bounds(kind: Any, extras: tuple[Any, ...]) -> str:  # noqa: ANN401
    shown = kind if isinstance(kind, type) and kind not in (int, float) else "{:g}".format
    parts = [
        f"{comparison} {shown(getattr(extra, name))}"
        for extra in extras
        for name, (_, comparison) in _COMPARE.items()
        if getattr(extra, name, None) is not None
    ]
    return f" of {' and '.join(parts)}" if parts else ""
