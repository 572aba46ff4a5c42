"""What `proxywatch check` says of a proxy's connections."""

from proxywatch.finding import Finding
from proxywatch.tcp.report import Report
from proxywatch.tcp.totals import CLIENT, UPSTREAM

_TELL = (
    "Run proxywatch in the proxy's own network namespace, or say `tcp.upstream: all` if no other program "
    "dials from here."
)


def of_report(port: int, report: Report) -> list[Finding]:
    """What to say of connections that can be followed.

    Args:
        port: The proxy's.
        report: Of the first looks.
    """
    open_now = {side: it.open for side, it in report.sides.items()}
    text = f"the kernel reports each connection that ends; port {port} has {open_now[CLIENT]} of clients"
    if UPSTREAM in open_now:
        text += f", and there are {open_now[UPSTREAM]} to destinations"
    found = [Finding.ok(text)]
    if report.note:
        found.append(Finding.hint(report.note, _TELL))
    if lost := report.missed["buffer"]:
        fix = "Raise net.core.rmem_max, or give proxywatch CAP_NET_ADMIN."
        found.append(Finding.hint(f"{lost} reports were lost", fix))
    return found
