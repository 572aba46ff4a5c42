"""Events and statistics for anyone's asyncio proxy and DNS server."""

from proxywatch.instrument.answer import Answer, tell_cached
from proxywatch.instrument.connection import Connection
from proxywatch.instrument.dns import CacheStats, MetricsAwareDns, TopDomain
from proxywatch.instrument.event import ConnectionClosed, ConnectionOpened, QueryAnswered, QueryReceived
from proxywatch.instrument.hub import Subscription
from proxywatch.instrument.ledger import Account
from proxywatch.instrument.listeners import Delivery
from proxywatch.instrument.proxy import MetricsAwareProxy, Throughput
from proxywatch.instrument.query import Query
from proxywatch.instrument.tally import DnsCounts

__all__ = [
    "Account",
    "Answer",
    "CacheStats",
    "Connection",
    "ConnectionClosed",
    "ConnectionOpened",
    "Delivery",
    "DnsCounts",
    "MetricsAwareDns",
    "MetricsAwareProxy",
    "Query",
    "QueryAnswered",
    "QueryReceived",
    "Subscription",
    "Throughput",
    "TopDomain",
    "tell_cached",
]
