"""The forwarder's settings: its sections."""

from proxywatch import logs
from proxywatch.config import Schema
from proxywatch.dns.settings import Api, Settings

SCHEMA = Schema({"dns": Settings, "api": Api, "log": logs.Settings}, prefix="PROXYWATCH_DNS_")
