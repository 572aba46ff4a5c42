"""Write the dashboards' JSON beside this file: `python -m dashboards.build`."""

import json
from pathlib import Path

from dashboards.detail import DETAIL_DASHBOARD
from dashboards.panel import Dashboard
from dashboards.pool import POOL

FILES = {"proxy-pool-dashboard.json": POOL, "proxy-detail-dashboard.json": DETAIL_DASHBOARD}
PLACE = Path(__file__).parent


def text(dashboard: Dashboard) -> str:
    """What is in its file."""
    return json.dumps(dashboard.json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, dashboard in FILES.items():
        (PLACE / name).write_text(text(dashboard))
