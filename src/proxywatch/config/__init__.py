"""Settings: strict, with every fault at once and its place."""

from proxywatch.config.reading import load, read
from proxywatch.config.schema import Alias, Config, Schema, Section, Sections

__all__ = ["Alias", "Config", "Schema", "Section", "Sections", "load", "read"]
