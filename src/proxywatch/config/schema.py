"""What a daemon's settings may be, and the settings themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

Alias = Callable[[str, str | None], str]
"""The text of a variable and that of the file, if any: the text in force."""

_StructT = TypeVar("_StructT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Section:
    """A section that is no mapping of fixed keys: a list (`nodes`), free keys (`servers`), a text (`store`).

    Attributes:
        kind: Its type, as `convert` knows them.
        default: Its value where nobody sets it.
        summary: What it is for, in a sentence.
    """

    kind: Any
    default: Any
    summary: str = ""


Sections = Mapping[str, type[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a daemon's settings may be.

    Attributes:
        sections: By name, the struct of the section's keys.
        values: By name, the sections that are no mapping of fixed keys.
        prefix: Of the environment's variables, `PROXYWATCH_`.
        aliases: Variables with names of their own: the keys that each sets, `(section, key)`, and how.
        ignored: Beginnings of variables that have the prefix and belong to another program.
    """

    sections: Sections
    values: Mapping[str, Section] = field(default_factory=dict)
    prefix: str = "PROXYWATCH_"
    aliases: Mapping[str, Mapping[tuple[str, ...], Alias]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def kinds(self) -> dict[str, Any]:
        """The type of every section by its name."""
        return {**self.sections, **{name: section.kind for name, section in self.values.items()}}


class Config:
    """All settings, frozen.

    Attributes:
        sections: By name: a struct, or the value of a `Section`.
    """

    def __init__(self, sections: Mapping[str, Any]) -> None:
        self.sections = dict(sections)

    def __getitem__(self, settings: type[_StructT]) -> _StructT:
        """The section of that type."""
        for section in self.sections.values():
            if type(section) is settings:
                return section
        raise KeyError(settings.__qualname__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.sections == other.sections

    __hash__ = None  # type: ignore[assignment]
