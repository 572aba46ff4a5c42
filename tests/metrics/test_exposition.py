"""What is written is what was declared, as the client library's own parsers read it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxywatch.distribution import Distribution, Exemplar
from proxywatch.metrics import exposition
from proxywatch.metrics.family import Family, Labels, Metric, Sample, counter, gauge, histogram

# Its parsers take the escapes of OpenMetrics and of text apart, but not every control character.
PRINTED = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
TEXTS = st.text(PRINTED, max_size=12) | st.just('a\\n"\\\\\n')
NUMBERS = st.floats(min_value=0, allow_nan=False)  # no counter is negative
VALUES = st.dictionaries(st.tuples(TEXTS, TEXTS), NUMBERS, max_size=4)
OBSERVED = st.lists(st.floats(min_value=0, max_value=9), max_size=6)
BUCKETS = (0.1, 0.5, 2.5)


def read(family: Metric) -> tuple[list[Sample], list[Sample]]:
    """The samples in text and in OpenMetrics."""
    (text,) = parse_text(exposition.text(family).decode())
    (other,) = parse_openmetrics(  # type: ignore[no-untyped-call]
        (exposition.openmetrics(family) + exposition.EOF).decode()
    )
    return text.samples, other.samples


@pytest.mark.parametrize(
    "family", [gauge("a_b", "A.", ["two", "one"]), counter("a_total", "A.", ["two", "one"])]
)
@given(VALUES)
def test_labels_and_values_are_read_as_they_were(family: Family, values: dict[Labels, float]) -> None:
    """In both formats, whatever stands in the labels."""
    expected = [
        (family.exposed, {"two": labels[0], "one": labels[1]}, value) for labels, value in values.items()
    ]
    for samples in read(family.values(values)):
        assert [(sample.name, sample.labels, sample.value) for sample in samples] == expected


@given(TEXTS, OBSERVED)
def test_histograms_are_read_as_they_were(label: str, observed: list[float]) -> None:
    """Buckets, count, sum; and exemplars, which OpenMetrics alone has."""
    distribution = Distribution(BUCKETS)
    for value in observed:
        distribution.observe(value, Exemplar({"probe": "17"}, value, 1_795_262_692.25))
    text, other = read(histogram("a", "A.", ["x"]).distributions({label: distribution}))
    for samples in (text, other):
        assert [sample.labels["x"] for sample in samples] == [label] * 6
        assert [sample.value for sample in samples[:4]] == [
            *(sum(value <= bound for value in observed) for bound in BUCKETS),
            len(observed),
        ]
        assert [sample.value for sample in samples[4:]] == [len(observed), pytest.approx(sum(observed))]
    assert not any(sample.exemplar for sample in text)
    assert {sample.exemplar.value for sample in other if sample.exemplar} <= set(observed)
    assert any(sample.exemplar for sample in other) == bool(observed)


def test_what_is_no_number_says_so() -> None:
    """As Prometheus writes it."""
    assert exposition.text(gauge("a", "A.").value(math.nan)).endswith(b"\na NaN\n")


def test_what_a_foreign_family_declares() -> None:
    """Name, type, help, and the labels of its samples."""
    declared = Family.of(counter("a_total", "A.", ["y", "x"]).values({("1", "2"): 3}))
    assert (declared.exposed, declared.type, declared.documentation) == ("a_total", "counter", "A.")
    assert (declared.labels, declared.samples) == (("x", "y"), [])


def test_labels_that_are_not_those_declared_are_refused() -> None:
    """Too many or too few; the client library would drop them silently."""
    with pytest.raises(ValueError, match="a has the labels"):
        gauge("a", "A.", ["x"]).values({("1", "2"): 3})
