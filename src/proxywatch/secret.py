"""A text that is never shown: not by repr, in a message, a log line, or a document."""

from typing import Self

from proxywatch.errors import ParseError

HIDDEN = "***"


class Secret:
    """A password or a token. `reveal()` returns it; whatever prints the object prints `***`."""

    __slots__ = ("_text",)

    expected = "text"

    def __init__(self, text: str = "") -> None:
        self._text = text

    @classmethod
    def parse(cls, value: object) -> Self:
        """Take any text; a refusal does not quote what it got."""
        if not isinstance(value, str):
            raise ParseError(f"expected {cls.expected}")
        return cls(value)

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return HIDDEN if self._text else ""

    def __reduce__(self) -> str:
        raise TypeError("a secret is not copied into a file")
