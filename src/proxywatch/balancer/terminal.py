"""`proxywatch balancer best`, `explain` and `report`: what a running balancer answers, for a terminal."""

import json
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, build_opener

import click

_PATIENCE = 10
_LONGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class Api:
    """A running balancer's API.

    Attributes:
        url: Its base URL.
        user: `name:password`; empty for none.
    """

    url: str
    user: str

    def get(self, path: str) -> Any:  # noqa: ANN401 - a document
        """The document of a path.

        Raises:
            ClickException: It cannot be had; the message says why.
        """
        try:
            return json.loads(self.text(path))
        except ValueError:
            raise click.ClickException(f"what answers on {self.url} is no balancer") from None

    def text(self, path: str) -> str:
        """The same as it came.

        Raises:
            ClickException: It cannot be had; the message says why.
        """
        headers = {"accept": "application/json, text/markdown"}
        if self.user:
            headers["authorization"] = f"Basic {b64encode(self.user.encode()).decode()}"
        if not self.url.startswith(("http://", "https://")):
            raise click.ClickException("--url takes http:// or https://")
        try:
            request = Request(self.url.rstrip("/") + path, headers=headers)  # noqa: S310 - http or https
            with build_opener().open(request, timeout=_PATIENCE) as response:
                return str(response.read(_LONGEST).decode())
        except HTTPError as error:
            with error:
                raise click.ClickException(_detail(error)) from None
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise click.ClickException(f"no balancer answers on {self.url}: {reason}") from None


def best(api: Api, country: str, *, as_json: bool) -> str:
    """A country's best node and why, in words or as JSON."""
    answer = api.get(f"/api/load-balancer/best-node/{quote(country, safe='')}")
    if as_json:
        return json.dumps(answer)
    chosen = answer["selected_node"]
    node = api.get(f"/api/nodes/{quote(chosen['id'], safe='')}")
    lines = [
        f"{chosen['id']}  {node['tailscale_ip']}:{node['port']}  {node['country']}  "
        f"score {node['health_score']:.1f}, {node['band']}",
        f"by {answer['strategy']}; {node['in_flight']} in flight, state {node['state']}"
        + (f" ({node['reason']})" if node["reason"] else ""),
    ]
    lines += [
        f"  {factor['name']}: {factor['value']}, costs {factor['cost']:.1f}" for factor in node["factors"]
    ]
    lines += [f"  at most {cap['score']:g}: {cap['reason']}" for cap in node["caps"]]
    return _printable("\n".join(lines))


def explain(api: Api, decision: str) -> str:
    """Why a node was chosen."""
    if decision == "last":
        newest = api.get("/api/load-balancer/decisions?limit=1")
        if not newest:
            raise click.ClickException("no decision yet")
        decision = newest[0]["id"]
    answer = api.get(f"/api/load-balancer/decisions/{quote(decision, safe='')}")
    return _printable(str(answer["text"]))


def report(api: Api, hours: int, *, as_json: bool) -> str:
    """The report of the last hours."""
    if as_json:
        return json.dumps(api.get(f"/api/reports?hours={hours}"))
    return _printable(api.text(f"/api/reports.md?hours={hours}"))


def _detail(error: HTTPError) -> str:
    try:
        detail = json.loads(error.read(_LONGEST))["detail"]
    except (ValueError, KeyError, TypeError):
        detail = error.reason
    return _printable(f"{error.code}: {detail}")


def _printable(text: str) -> str:
    """Without what a terminal would act on."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
