"""A family in the two formats that Prometheus reads.

Text, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
OpenMetrics, version 1.0.0: a counter's family is named without `_total`, histograms may have exemplars, and
the whole ends with `# EOF`, which is for who puts the families together.
"""

from collections.abc import Iterable, Mapping
from math import inf

from proxywatch.distribution import Exemplar
from proxywatch.metrics.family import Metric

EOF = b"# EOF\n"
_VALUE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


def text(family: Metric) -> bytes:
    """In the text format."""
    lines = _head(family.name, family.kind, family.help.translate(_HELP))
    lines += [f"{s.name}{_labels(s.labels)} {_number(s.value)}\n" for s in family.samples]
    return "".join(lines).encode()


def openmetrics(family: Metric) -> bytes:
    """As OpenMetrics."""
    name = family.name.removesuffix("_total") if family.kind == "counter" else family.name
    lines = _head(name, family.kind, family.help.translate(_VALUE))
    lines += [
        f"{s.name}{_labels(s.labels)} {_number(s.value)}{_exemplar(s.exemplar)}\n" for s in family.samples
    ]
    return "".join(lines).encode()


def _head(name: str, kind: str, explanation: str) -> list[str]:
    return [f"# HELP {name} {explanation}\n# TYPE {name} {kind}\n"]


def _labels(labels: Mapping[str, str]) -> str:
    return f"{{{_pairs(sorted(labels.items()))}}}" if labels else ""


def _pairs(labels: Iterable[tuple[str, str]]) -> str:
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in labels])


def _escaped(value: str) -> str:
    if "\\" in value or "\n" in value or '"' in value:
        return value.translate(_VALUE)
    return value  # nearly always, and translate takes ten times as long as looking


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    pairs = _pairs(exemplar.labels.items())
    return f" # {{{pairs}}} {_number(exemplar.value)} {exemplar.timestamp}"


def _number(value: float) -> str:
    if value - value == 0:  # neither infinite nor NaN
        return repr(value)
    return "+Inf" if value == inf else "-Inf" if value == -inf else "NaN"
