"""Reports of a log as a test wants them."""

import msgspec

from proxywatch.dante.log import DanteLog
from proxywatch.dante.report import Report, report_of
from proxywatch.dante.sessions import Sessions


def report(**changes: object) -> Report:
    """The report of an empty log with some of it changed."""
    log = DanteLog(Sessions(lambda _endpoint, _at: False))
    return msgspec.structs.replace(report_of(log, 0.0, 300.0), **changes)
