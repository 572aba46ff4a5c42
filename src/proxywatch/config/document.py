"""One safe reading of YAML for every file of ours: text in, a tree of nodes with their places out.

There are mappings, sequences and scalars. A scalar is the text as it was written; what it means is decided by
the type that is wanted in its place (`convert`), so that the country `no` is never read as false.

Refused: tags, anchors and references, keys given twice, a second document, and whatever is deeper, longer or
more than the bounds below. Messages do not quote the file, which may hold a password.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from proxywatch.config.place import Place
from proxywatch.errors import ConfigError, Fault

MOST_CHARACTERS = 1 << 20
MOST_NODES = 100_000
MOST_KEYS = 20_000
DEEPEST = 32
_MOST_TWICE = 20

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is twenty times as fast
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTED = re.compile(r"""'[^',:\]}-][^']*'|".*""")
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text.

    Attributes:
        text: As written, without its quotes.
        place: Where.
        quoted: Whether it had quotes, or was a block of lines.
    """

    text: str
    place: Place
    quoted: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing was written after the colon."""
        return not self.text and not self.quoted

    @property
    def null(self) -> bool:
        """Whether it is YAML's word for nothing."""
        return not self.quoted and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    place: Place
    items: list["Node"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Nodes by key, in the order of the file."""

    place: Place
    items: dict[str, "Node"] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


def load(content: str | bytes, name: str) -> Node:
    """Read one document.

    Args:
        content: The file's, bytes in UTF-8; without a value in it, the result is an empty mapping.
        name: The file's name, for places.

    Returns:
        The outermost node; each node knows its place.

    Raises:
        ConfigError: The text is not the YAML that is read here, with the line. No other exception.
    """
    tree = _Tree(Place(name))
    text = _text(content, tree)
    try:
        _bounded(text, tree)
        for event in yaml.parse(text, Loader=_LOADER):
            tree.take(event)
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        raise _malformed(error, text, name) from None
    except Exception as error:  # noqa: BLE001 - whatever a foreign parser raises is a fault of the file
        raise ConfigError(Fault(name, f"not YAML: {type(error).__name__}")) from None
    if tree.faults:
        raise ConfigError(*tree.faults)
    root = tree.root
    return Mapping(Place(name)) if root is None or (isinstance(root, Scalar) and root.null) else root


def texts(node: Node) -> Any:  # noqa: ANN401 - whatever the file holds
    """The node as dictionaries, lists and texts; None for YAML's word for nothing."""
    if isinstance(node, Mapping):
        return {key: texts(item) for key, item in node.items.items()}
    if isinstance(node, Sequence):
        return [texts(item) for item in node.items]
    return None if node.null else node.text


def _text(content: str | bytes, tree: "_Tree") -> str:
    if isinstance(content, str):
        return content
    try:
        return content[: 4 * MOST_CHARACTERS + 1].decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        tree.refuse(line, "not text in UTF-8")


def _bounded(text: str, tree: "_Tree") -> None:
    if len(text) > MOST_CHARACTERS:
        tree.refuse(0, f"longer than {MOST_CHARACTERS} characters")
    found = _UNPRINTABLE.search(text)
    if found:
        tree.refuse(text.count("\n", 0, found.start()) + 1, "not YAML: a character that is not text")


def _malformed(error: yaml.MarkedYAMLError, text: str, name: str) -> ConfigError:
    """The fault of an error of the parser, without what it quotes."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    at = text.split("\n")[line : line + 1]
    if mark and at and at[0][: mark.column + 1].endswith("\t"):
        reason = "a tab where spaces are expected"
    else:
        reason = _QUOTED.sub("something", (error.problem or error.context or "malformed").split(", but ")[0])
    return ConfigError(Fault(f"{name}:{line + 1}", f"not YAML: {reason}"))


class _Tree:
    """Builds the nodes from the parser's events, without recursion.

    Attributes:
        root: The outermost node, once there is one.
        faults: Keys that were given twice.
    """

    def __init__(self, place: Place) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._place = place
        self._open: list[Sequence | Mapping] = []
        self._keys: list[tuple[str, int] | None] = []  # of the open mappings, the key without its value yet
        self._nodes = 0
        self._all_keys = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Add what the event brings."""
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.CollectionStartEvent():
                self._start(event)
            case yaml.CollectionEndEvent():
                self._open.pop()
                self._keys.pop()
            case yaml.AliasEvent():
                self.refuse(
                    _line(event), "references (`*name`) are not read; quote a text that begins with *"
                )
            case yaml.DocumentStartEvent():
                self._document(event)
            case _:
                pass

    def refuse(self, line: int, message: str) -> NoReturn:
        """Raise the fault."""
        raise ConfigError(Fault(str(Place(self._place.source, line=line)), message))

    def _document(self, event: yaml.Event) -> None:
        self._documents += 1
        if self._documents > 1:
            self.refuse(_line(event), "a second document; expected one")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._plain(event)
        if self._open and isinstance(self._open[-1], Mapping) and self._keys[-1] is None:
            self._key(event.value, _line(event))
            return
        place = self._next_place(_line(event))
        self._add(Scalar(event.value, place, quoted=bool(event.style)))

    def _key(self, key: str, line: int) -> None:
        self._all_keys += 1
        if self._all_keys > MOST_KEYS:
            self.refuse(line, f"more than {MOST_KEYS} keys")
        self._keys[-1] = (key, line)
        mapping = self._open[-1]
        if isinstance(mapping, Mapping) and key in mapping.items and len(self.faults) < _MOST_TWICE:
            self.faults.append(Fault(str(mapping.place.key(key, line)), "given twice"))

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        self._plain(event)
        line = _line(event)
        if self._open and isinstance(self._open[-1], Mapping) and self._keys[-1] is None:
            self.refuse(line, "expected a plain key")
        if len(self._open) == DEEPEST:
            self.refuse(line, f"nested deeper than {DEEPEST} levels")
        kind = Mapping if isinstance(event, yaml.MappingStartEvent) else Sequence
        node = kind(self._next_place(line))
        self._add(node)
        self._open.append(node)
        self._keys.append(None)

    def _plain(self, event: yaml.NodeEvent) -> None:
        """Refuse what a tag or an anchor would make of a node; bound their number."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            self.refuse(_line(event), f"more than {MOST_NODES} values")
        if event.anchor is not None:
            self.refuse(_line(event), "anchors (`&name`) are not read; quote a text that begins with &")
        if getattr(event, "tag", None) is not None:
            self.refuse(_line(event), "tags (`!name`) are not read; quote a text that begins with !")

    def _next_place(self, line: int) -> Place:
        """The place of the node that comes: the line of its key, if it has one."""
        if not self._open:
            return Place(self._place.source, line=line)
        parent, key = self._open[-1], self._keys[-1]
        if isinstance(parent, Sequence):
            return parent.place.item(len(parent.items), line)
        return parent.place.key(*key) if key else parent.place

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent, key = self._open[-1], self._keys[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif key:
            parent.items.setdefault(key[0], node)
            self._keys[-1] = None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
