"""Asks Prometheus, several queries at a time."""

from __future__ import annotations

import http.client
import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypedDict

SECONDS = 5
AT_A_TIME = 4

Labels = Mapping[str, str]


class AwayError(Exception):
    """Prometheus gave no answer that can be used; the message says which."""


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    labels: Labels
    points: list[tuple[float, float]]
    """Times and values; a time without a value is left out."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, and how far apart the points of a series are, in seconds."""

    start: float
    end: float
    step: int


class Alert(TypedDict):
    labels: dict[str, str]
    annotations: dict[str, str]
    state: str
    activeAt: str


class Prometheus:
    """Prometheus at `url`, on this machine."""

    def __init__(self, url: str) -> None:
        self.url = url
        # No proxy, whatever the environment says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def now(self, queries: Mapping[str, str], at: float | None = None) -> dict[str, list[Sample]]:
        """Return the answer to each query, by its name. Raises AwayError."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        found = self._all("query", {name: {"query": text, **when} for name, text in queries.items()})
        return {
            name: [
                Sample(entry["metric"], value)
                for entry in data["result"]
                if not math.isnan(value := float(entry["value"][1]))
            ]
            for name, data in found.items()
        }

    def over(self, window: Window, queries: Mapping[str, str]) -> dict[str, list[Series]]:
        """Return the series of each query, by its name. Raises AwayError."""
        when = {"start": f"{window.start:.3f}", "end": f"{window.end:.3f}", "step": str(window.step)}
        found = self._all("query_range", {name: {"query": text, **when} for name, text in queries.items()})
        return {
            name: [Series(entry["metric"], _points(entry["values"])) for entry in data["result"]]
            for name, data in found.items()
        }

    def alerts(self) -> list[Alert]:
        """Return the alerts that fire or are about to. Raises AwayError."""
        alerts: list[Alert] = self._ask("alerts", {})["alerts"]
        return alerts

    def _all(self, route: str, forms: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            futures = {name: pool.submit(self._ask, route, form) for name, form in forms.items()}
            return {name: future.result() for name, future in futures.items()}

    def _ask(self, route: str, form: Mapping[str, str]) -> Any:
        data = urllib.parse.urlencode(form).encode() if form else None
        try:
            with self._opener.open(f"{self.url}/api/v1/{route}", data, timeout=SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AwayError(f"{self.url} answered {error.code}: {_reason(error)}") from None
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise AwayError(
                f"{self.url}: {getattr(error, 'reason', error) or type(error).__name__}"
            ) from None


def _points(values: list[tuple[float, str]]) -> list[tuple[float, float]]:
    pairs = ((at, float(text)) for at, text in values)
    return [(at, value) for at, value in pairs if math.isfinite(value)]


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, OSError):
        return str(error.reason)
