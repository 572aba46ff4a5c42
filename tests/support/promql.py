"""PromQL as the tests need it: Grafana's macros filled in; which series a query takes, with which labels."""

from collections.abc import Iterator
from typing import Any

import promql_parser

COUNTER_FUNCTIONS = {"rate", "increase", "irate"}


def filled(expr: str, proxy: str = ".+", interval: str = "1m", span: str = "1h") -> str:
    """A query as Grafana would send it."""
    for macro, value in {"$__rate_interval": interval, "$__range": span, "$proxy": proxy}.items():
        expr = expr.replace(macro, value)
    assert "$" not in expr, expr
    return expr


def series(expr: str) -> list[tuple[str, set[str], bool]]:
    """Each series that a query takes: name, labels in its matchers, whether its increase is taken.

    Raises:
        ValueError: It is no PromQL.
    """
    return list(_walk(promql_parser.parse(expr), counting=False))


def _walk(node: Any, *, counting: bool) -> Iterator[tuple[str, set[str], bool]]:
    if isinstance(node, promql_parser.VectorSelector):
        matchers = [*node.matchers.matchers, *(m for group in node.matchers.or_matchers for m in group)]
        yield node.name or "", {matcher.name for matcher in matchers}, counting
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from _walk(argument, counting=node.func.name in COUNTER_FUNCTIONS)
    else:
        for name in ("expr", "lhs", "rhs", "vector_selector"):
            if (child := getattr(node, name, None)) is not None:
                yield from _walk(child, counting=counting)
