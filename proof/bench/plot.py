"""Line charts as SVG, drawn by hand: a few series over time, with axes from zero and a legend."""

from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 150, 28, 34
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
_STEPS = (1, 2, 5)


def chart(title: str, x: str, y: str, series: Mapping[str, Points]) -> str:
    """A chart.

    Args:
        title: Above it.
        x: What the horizontal axis counts, with its unit.
        y: The same of the vertical one.
        series: Points by name, in the order of the legend.
    """
    right = max((at for points in series.values() for at, _ in points), default=1) or 1
    top = _ceiling(max((value for points in series.values() for _, value in points), default=1))
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(at: float, value: float) -> str:
        return f"{_LEFT + at / right * wide:.1f},{_HEIGHT - _BOTTOM - value / top * high:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="bold">{escape(title)}</text>',
        f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>',
        f'<text x="12" y="{_TOP + high / 2}" text-anchor="middle" transform="rotate(-90 12 '
        f'{_TOP + high / 2})">{escape(y)}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        level = _HEIGHT - _BOTTOM - high * step / 4
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + wide}" y1="{level}" y2="{level}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{level + 4}" text-anchor="end">{value:g}</text>')
        parts.append(
            f'<text x="{_LEFT + wide * step / 4}" y="{_HEIGHT - _BOTTOM + 14}" '
            f'text-anchor="middle">{right * step / 4:.3g}</text>'
        )
    for index, (name, points) in enumerate(series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        line = " ".join(place(at, value) for at, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(
            f'<text x="{_LEFT + wide + 10}" y="{_TOP + 14 + 16 * index}" '
            f'fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _ceiling(value: float) -> float:
    """The next round number."""
    size = 1.0
    while size * 10 <= value:
        size *= 10
    while size > value > 0:
        size /= 10
    return next((size * step for step in _STEPS if size * step >= value), size * 10)
