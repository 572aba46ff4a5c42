"""Settings: a YAML file and the environment in, frozen structs by section out, or every fault at once.

The file is a mapping of sections, each section a mapping of keys; a section's keys, types, defaults and
sentences are those of the struct that belongs to whoever it sets. Unknown keys are refused.

Over the file goes the environment: `PROXYWATCH_<SECTION>_<KEY>` (read as YAML, so lists and mappings can be
written too; what follows from it is not split further), and the daemon's short names, its aliases.
Kubernetes puts variables of the same look into a pod for each Service (`METRICS_PORT=tcp://10.0.0.1:9090`):
these are nobody's settings and are passed over.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec
import yaml

from proxywatch.errors import ConfigError, Fault, ParseError
from proxywatch.quantity import show

Sections = Mapping[str, type[msgspec.Struct]]
Alias = Callable[[str, object], object]  # text of the variable, value of the file: the value in force
_Settings = TypeVar("_Settings", bound=msgspec.Struct)

_SERVICE_LINK = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)$|^tcp://|^udp://"
)
_USER_INFO = re.compile(r"//[^/@\s']*@")
_EXPECTED = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text",
    dict: "a mapping",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """What a daemon's settings may be.

    Attributes:
        sections: The structs by section.
        prefix: Of the environment's variables, `PROXYWATCH_`.
        aliases: Variables with names of their own: the keys that each sets, `(section, key)`, and how.
    """

    sections: Sections
    prefix: str = "PROXYWATCH_"
    aliases: Mapping[str, Mapping[tuple[str, str], Alias]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as somebody wrote it, and where."""

    value: object
    place: str


class Config:
    """All settings, frozen: `config[Settings]` is the section of that type."""

    def __init__(self, sections: Mapping[str, msgspec.Struct]) -> None:
        self.sections = dict(sections)

    def __getitem__(self, settings: type[_Settings]) -> _Settings:
        for section in self.sections.values():
            if type(section) is settings:
                return section
        raise KeyError(settings.__qualname__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.sections == other.sections

    __hash__ = None  # type: ignore[assignment]


def load(
    text: str,
    environ: Mapping[str, str],
    schema: Schema,
    name: str = "proxywatch.yaml",
    *,
    others: bool = False,
) -> Config:
    """Read the settings.

    Args:
        text: The file's content; empty for defaults.
        environ: The environment.
        schema: The known sections, and the names of the environment's variables.
        name: The file's name, for the places of faults.
        others: Whether there may be other sections, which are passed over.

    Raises:
        ConfigError: With every fault found.
    """
    faults: list[Fault] = []
    sections = schema.sections
    given = _from_file(text, sections, name, faults, others=others)
    _apply_aliases(environ, schema, given)
    for section, values in _from_environment(environ, schema, faults).items():
        given.setdefault(section, {}).update(values)
    structs = {
        section: _struct(section, settings, given.get(section, {}), faults)
        for section, settings in sections.items()
    }
    if faults:
        raise ConfigError(*faults)
    return Config(cast("dict[str, msgspec.Struct]", structs))


# The file as written


def _from_file(
    text: str, sections: Sections, name: str, faults: list[Fault], *, others: bool
) -> dict[str, dict[str, _Given]]:
    try:
        loader = yaml.SafeLoader(text)
        try:
            return _read_sections(loader, sections, name, faults, others=others)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        faults.append(Fault(f"{name}:{line}", f"not YAML: {error.problem or error.context}"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        faults.append(Fault(name, f"not YAML: {reason}"))
    return {}


def _read_sections(
    loader: yaml.SafeLoader, sections: Sections, name: str, faults: list[Fault], *, others: bool
) -> dict[str, dict[str, _Given]]:
    given: dict[str, dict[str, _Given]] = {}
    for section, node, place in _pairs(loader.get_single_node(), name, "", faults):
        if section not in sections:
            if not others:
                faults.append(Fault(place, f"unknown section{_suggest(section, sections)}"))
            continue
        known = [field.name for field in msgspec.structs.fields(sections[section])]
        given[section] = {}
        for key, value, key_place in _pairs(node, name, f"{section}.", faults):
            if key in known:
                given[section][key] = _Given(loader.construct_object(value, deep=True), key_place)
            else:
                faults.append(Fault(key_place, f"unknown key{_suggest(key, known)}"))
    return given


def _pairs(
    node: yaml.Node | None, name: str, prefix: str, faults: list[Fault]
) -> Iterator[tuple[str, yaml.Node, str]]:
    """Key, value and place of each pair; what is no mapping, or a key that comes twice, is a fault."""
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return
    place = f"{name}:{node.start_mark.line + 1}"
    if not isinstance(node, yaml.MappingNode):
        what = prefix.rstrip(".") or "the file"
        faults.append(Fault(f"{place} {what}", "expected a mapping of keys to values"))
        return
    seen = set()
    for key, value in node.value:
        place = f"{name}:{key.start_mark.line + 1} {prefix}{key.value}"
        if not isinstance(key, yaml.ScalarNode):
            faults.append(Fault(f"{name}:{key.start_mark.line + 1}", "expected a plain key"))
        elif key.value in seen:
            faults.append(Fault(place, "given twice"))
        else:
            seen.add(key.value)
            yield key.value, value, place


def _suggest(word: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - most settings have no fault

    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


# The environment


def _from_environment(
    environ: Mapping[str, str], schema: Schema, faults: list[Fault]
) -> dict[str, dict[str, _Given]]:
    sections = schema.sections
    given: dict[str, dict[str, _Given]] = {}
    for variable, text in environ.items():
        if _SERVICE_LINK.search(variable) or _SERVICE_LINK.search(text):
            continue
        if not variable.startswith(schema.prefix):
            continue
        section, key = _split(variable.removeprefix(schema.prefix).lower(), sections)
        if not section:
            continue
        known = {known.name: known for known in msgspec.structs.fields(sections[section])}
        if key not in known:
            faults.append(Fault(f"environment {variable}", f"unknown key{_suggest(key, list(known))}"))
            continue
        value = _environment_value(text, known[key].type)
        given.setdefault(section, {})[key] = _Given(value, f"environment {variable}")
    return given


def _split(name: str, sections: Sections) -> tuple[str, str]:
    for section in sorted(sections, key=len, reverse=True):
        if name.startswith(f"{section}_"):
            return section, name[len(section) + 1 :]
    return "", ""


def _environment_value(text: str, kind: Any) -> object:  # noqa: ANN401 - a type expression
    """Text stays text; a list may also be written with commas; the rest is read as YAML."""
    base = _plain(kind)
    if get_origin(base) is tuple and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(base, type) and issubclass(base, str):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _apply_aliases(environ: Mapping[str, str], schema: Schema, given: dict[str, dict[str, _Given]]) -> None:
    for variable, effects in schema.aliases.items():
        text = environ.get(variable, "")
        if not text or _SERVICE_LINK.search(text):
            continue
        for (section, key), effect in effects.items():
            if section in schema.sections:
                values = given.setdefault(section, {})
                before = values[key].value if key in values else None
                values[key] = _Given(effect(text, before), f"environment {variable}")


# One struct


def _struct(
    prefix: str, settings: type[_Settings], given: Mapping[str, _Given], faults: list[Fault]
) -> _Settings | None:
    """Convert every value by itself, so that each fault is found; None when there is any."""
    hints = get_type_hints(settings, include_extras=True)
    before = len(faults)
    values = {}
    for key, item in given.items():
        values[key] = _convert(item.value, hints[key], item.place, faults)
    if len(faults) > before:
        return None
    try:
        return settings(**values)
    except (TypeError, ValueError) as error:
        # A struct that refuses a combination says so in lines of `key: message`.
        for line in str(error).splitlines():
            key, _, message = line.partition(": ")
            faults.append(Fault(given[key].place, message) if key in given else Fault(prefix, line))
        return None


def _convert(value: object, kind: Any, place: str, faults: list[Fault]) -> object:  # noqa: ANN401
    """The value as the type has it; a fault for each thing that is wrong with it."""
    base = _plain(kind)
    if isinstance(base, type) and issubclass(base, msgspec.Struct):
        return _nested(value, base, place, faults)
    if get_origin(base) is tuple:
        if not isinstance(value, list):
            faults.append(Fault(place, f"expected {_expected(base)}, got {show(value)}"))
            return None
        element = get_args(base)[0]
        return tuple(_convert(item, element, f"{place}[{index}]", faults) for index, item in enumerate(value))
    wrong = f"expected {_expected(kind)}, got {show(value)}"
    try:
        converted: object = msgspec.convert(value, _plain(kind), dec_hook=_quantity)
        if converted is None or _within(converted, kind):
            return converted
    except msgspec.ValidationError as error:
        detail = str(error).partition(" - at ")[0]
        if detail.startswith("expected "):
            wrong = _USER_INFO.sub("//***@", detail)
    faults.append(Fault(place, wrong))
    return None


def _nested(
    value: object, settings: type[msgspec.Struct], place: str, faults: list[Fault]
) -> msgspec.Struct | None:
    if not isinstance(value, dict):
        faults.append(Fault(place, f"expected a mapping, got {show(value)}"))
        return None
    known = [field.name for field in msgspec.structs.fields(settings)]
    faults.extend(
        Fault(f"{place}.{key}", f"unknown key{_suggest(str(key), known)}")
        for key in value
        if key not in known
    )
    given = {key: _Given(item, f"{place}.{key}") for key, item in value.items() if key in known}
    return _struct(place, settings, given, faults)


def _quantity(kind: type, value: object) -> object:
    """The hook of msgspec for types that it does not know: those with a `parse` of their own."""
    parse = getattr(kind, "parse", None)
    if parse is None:
        raise NotImplementedError(kind)
    try:
        return parse(value)
    except ParseError as error:
        raise ValueError(str(error)) from error


def _plain(kind: Any) -> Any:  # noqa: ANN401
    """The type without annotations."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _within(value: Any, kind: Any) -> bool:  # noqa: ANN401
    """Whether a number keeps the bounds of its annotation, `Annotated[Duration, msgspec.Meta(gt=0)]`."""
    compare = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
    return all(
        test(value, getattr(extra, name))
        for extra in (get_args(kind)[1:] if get_origin(kind) is Annotated else ())
        for name, test in compare.items()
        if getattr(extra, name, None) is not None
    )


def _expected(kind: Any) -> str:  # noqa: ANN401
    """The type in words."""
    constraint = ""
    if get_origin(kind) is Annotated:
        constraint = _constraint(get_args(kind)[1:])
        kind = _plain(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a list, each {_expected(get_args(kind)[0])}"
    return str(getattr(kind, "expected", _EXPECTED.get(kind, str(kind)))) + constraint


def _constraint(extras: tuple[object, ...]) -> str:
    words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    parts = [
        f"{word} {getattr(extra, name):g}"
        for extra in extras
        for name, word in words.items()
        if getattr(extra, name, None) is not None
    ]
    return f" of {' and '.join(parts)}" if parts else ""
