r"""Text from elsewhere, made fit to be printed: what a terminal would obey is written out instead.

ESC and BEL, carriage returns, the controls of writing direction, lone surrogates, and whatever else has no
shape of its own become `\x1b`, `\u202e` and the like. A destination that a client chooses, or the answer of
another exporter, can then neither move the cursor nor look like something else.
"""


def printable(text: str) -> str:
    """The text in one line, with an escape for each character that cannot be seen."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """The same, with its line ends kept."""
    return "\n".join(map(printable, text.split("\n")))


def _shown(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
