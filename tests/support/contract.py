"""The part of the metrics contract whose names never change, as tests/fixtures/contract.md has it."""

import re
from pathlib import Path

_PAGE = (Path(__file__).parents[1] / "fixtures/contract.md").read_text()

PART_A = set(re.findall(r"^\| (\w+) \| (?:gauge|counter) \|", _PAGE, re.MULTILINE))
NEEDS_WIREGUARD = {"proxy_bytes_transferred_total", "vpn_connection_status"}
