"""Requests of the last minutes."""

from proxywatch.dante.window import Window


def test_it_slides_and_forgets() -> None:
    """Sums since a second; what is older than the span is dropped."""
    window = Window(60)
    for second in range(200):
        window.add(1000.0 + second, successful=second % 2 == 0)
    assert window.since(1190.0) == (5, 5)
    assert len(window.save()) <= 62


def test_lines_out_of_order_and_a_clock_that_goes_back() -> None:
    """Milliseconds count for the latest second; more than the span begins anew."""
    window = Window(60)
    window.add(1001.0, successful=True)
    window.add(1000.999, successful=False)
    assert window.since(1001.0) == (1, 1)
    window.add(500.0, successful=True)
    assert window.since(0.0) == (1, 0)
