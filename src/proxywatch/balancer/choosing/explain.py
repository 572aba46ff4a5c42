"""A decision in words: a sentence that a person understands, then the table of its candidates."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_MOST = 20


def explain(told: Mapping[str, Any]) -> str:
    """Explain a decision.

    Args:
        told: Its document, as `decision.document` gives it or a journal holds it.
    """
    sentences = [_choice(told), *told.get("notes", ()), *_tries(told), _outcome(told)]
    return "\n".join([" ".join(filter(None, sentences)), "", *_table(told)]).rstrip() + "\n"


def _choice(told: Mapping[str, Any]) -> str:
    when = datetime.fromtimestamp(told["at"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    asked = f" for {told['country']}" if told["country"] else ""
    request = f"Decision {told['id']}, {when}: a request{asked}"
    if told["rule"]:
        request += f", by rule {told['rule']!r},"
    if not told["node"]:
        return f"{request} was refused: {told['reason']}."
    node = f"{request} went to {told['node']}"
    if told["substituted"]:
        node += f" in {told['route']}, as {told['country']} had no usable node"
    return f"{node}, {_reason(told)}."


def _reason(told: Mapping[str, Any]) -> str:
    how, usable = told["how"], told["usable"]
    if how != "strategy":
        return {
            "lease": "where its lease is",
            "moved": f"where its lease moved; {told['strategy']} chose among {usable}",
            "node": "which was asked for",
            "trial": "which was out and is tried again",
            "first": "the first usable node, since balancing is disabled",
        }[str(how)]
    candidates = told["candidates"]
    sample = f"; it compared {len(candidates)} drawn at random" if 1 < len(candidates) < usable else ""
    if usable == 1:
        return "the only usable node"
    return f"chosen by {told['strategy']} among {usable} usable nodes{sample}{_comparison(told)}"


def _comparison(told: Mapping[str, Any]) -> str:
    """Why the winner won, for strategies that compare."""
    by_node = {candidate["node"]: candidate for candidate in told["candidates"]}
    chosen = by_node.pop(told["node"], None)
    if chosen is None or not by_node:
        return ""
    if told["draw"]:
        return f", which drew {', '.join(f'{number:.3f}' for number in told['draw'])}"
    if told["strategy"] == "health_score":
        other = max(by_node.values(), key=lambda it: (it["score"] / (1 + it["in_flight"]), it["node"]))
        return f": it scores {_load(chosen)}, {other['node']} {_load(other)}"
    return ""


def _load(candidate: Mapping[str, Any]) -> str:
    return f"{candidate['score']:.1f} with {candidate['in_flight']} in flight"


def _tries(told: Mapping[str, Any]) -> list[str]:
    return [
        f"Before, {attempt['node']} was tried and failed ({attempt['reason']})."
        for attempt in told["attempts"][:-1]
    ]


def _outcome(told: Mapping[str, Any]) -> str:
    last = told["attempts"][-1]
    seconds, lasted = last["seconds"], last["lasted"]
    after = f" after {seconds * 1000:.0f} ms" if seconds is not None else ""
    match told["outcome"]:
        case "open":
            return f"It was connected{after} and is open."
        case "ok":
            return f"It was connected{after} and closed after {lasted:.1f} s ({last['reason']})."
        case "failed":
            return f"It failed{after}: {last['reason']}."
        case "abandoned":
            return "The client left before the node answered."
    return ""


def _table(told: Mapping[str, Any]) -> list[str]:
    candidates = told["candidates"]
    if not candidates:
        return []
    head = ("node", "score", "in flight", "weight", "latency", "costs", "caps")
    rows = [head, *(_row(candidate) for candidate in candidates[:_MOST])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    more = len(candidates) - _MOST
    return [*lines, f"and {more} more"] if more > 0 else lines


def _row(candidate: Mapping[str, Any]) -> tuple[str, ...]:
    costs = [f"{name.partition(' ')[0]} -{cost:g}" for name, cost in candidate["costs"].items() if cost]
    caps = [f"{cap['score']:g}: {cap['reason']}" for cap in candidate["caps"]]
    return (
        candidate["node"],
        f"{candidate['score']:.1f}",
        str(candidate["in_flight"]),
        f"{candidate['weight']:g}",
        f"{candidate['latency_ms']:.0f} ms",
        ", ".join(costs) or "none",
        "; ".join(caps) or "none",
    )
