"""Draw the tunnel's state machine into docs/tunnel.md, from its table.

Usage: PYTHONPATH=src python scripts/draw_tunnel.py
"""

from collections.abc import Iterator
from pathlib import Path

from proxywatch.wireguard.tunnel import TRANSITIONS, Evidence, State

PAGE = Path(__file__).parents[1] / "docs/tunnel.md"
_BEGIN, _END = "```mermaid\n", "```\n"


def redrawn(page: str) -> str:
    """The page with its first picture drawn anew."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + "".join(f"{line}\n" for line in picture()) + _END + after


def picture() -> Iterator[str]:
    """The lines of a Mermaid state diagram; what leads from everywhere is drawn once."""
    yield "stateDiagram-v2"
    yield "    [*] --> absent"
    yield "    state any <<choice>>"
    everywhere = {
        evidence for evidence in Evidence if len({row[evidence] for row in TRANSITIONS.values()}) == 1
    }
    for evidence in Evidence:
        if evidence in everywhere:
            yield f"    any --> {TRANSITIONS[State.ABSENT][evidence]} : {evidence}"
    for state, row in TRANSITIONS.items():
        for evidence, target in row.items():
            if evidence not in everywhere and target is not state:
                yield f"    {state} --> {target} : {evidence}"


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text()))
