"""Send pieces to a fleet, again where it had no room for them. Runs on a client's machine."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from model_endpoint.models.errors import BundleError
from model_endpoint.packing.scoring.records import Piece

AGAIN = (429, 502, 503, 504)
LONGEST_PAUSE = 30.0
PATIENCE = 600.0  # seconds without an answer after which the client gives up
ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Scored:
    """The predictions for one piece, the model that made them, and the seconds that the last request took."""

    predictions: list[Any]
    model: str
    version: str
    seconds: float
    refusals: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where pieces are sent: the load balancer's URL, the model, the API key, and the authority to trust."""

    url: str
    model: str | None
    key: str | None
    authority: Path | None

    def connect(self) -> HTTPConnection:
        """A connection to the load balancer, which is opened by the first request."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BundleError(f"URL {self.url!r}: give it as http://HOST or https://HOST")
        if parts.scheme == "http":
            return HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_SECONDS)
        context = ssl.create_default_context(cafile=self.authority)
        return HTTPSConnection(parts.hostname, parts.port, timeout=ANSWER_SECONDS, context=context)

    @property
    def path(self) -> str:
        """The route, with the model if it is named."""
        base = urlsplit(self.url).path.rstrip("/")
        return f"{base}/invocations" + (f"?model={quote(self.model)}" if self.model else "")


class Client:
    """One kept connection; used by one thread. `too_large` hears of a piece that had to be halved."""

    def __init__(self, target: Target, header: bytes, too_large: Callable[[int, int], None]) -> None:
        self._target = target
        self._header = header
        self._too_large = too_large
        self._connection = target.connect()

    def score(self, piece: Piece) -> Scored:
        """Have a piece answered. Raises BundleError where that can't succeed."""
        body = self._header + b"".join(piece.records)
        began, refusals = time.monotonic(), 0
        while True:
            sent = time.monotonic()
            status, content, pause = self._send(body)
            if status == 200:
                return _read(content, len(piece.records), time.monotonic() - sent, refusals)
            if status == 413 and len(piece.records) > 1:
                self._too_large(len(body), len(piece.records))
                return _joined([self.score(half) for half in piece.halves()])
            if status and status not in AGAIN:
                raise BundleError(_refusal(piece, status, content))
            if time.monotonic() - began > PATIENCE:
                raise BundleError(
                    f"{self._target.url}: no answer for {PATIENCE:.0f} s ({_words(content)}); run the same command "
                    "again, and it goes on from here"
                )
            refusals += 1
            time.sleep(min(LONGEST_PAUSE, pause or 2 ** min(refusals - 1, 5)))

    def _send(self, body: bytes) -> tuple[int, bytes, float]:
        """The status (0 if the connection failed), the content, and for how many seconds the answer asks to wait."""
        headers = {"Content-Type": "text/csv"} | ({"X-API-Key": self._target.key} if self._target.key else {})
        try:
            self._connection.request("POST", self._target.path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except ssl.SSLCertVerificationError as error:
            raise BundleError(
                f"{self._target.url}: its certificate is not trusted here ({error.verify_message}); give the "
                "authority's: --authority FILE"
            ) from None
        except (OSError, HTTPException) as error:
            self._connection.close()  # the next request opens it again
            return 0, str(error).encode(), 0.0
        if response.status in (301, 302, 307, 308):
            raise BundleError(f"{self._target.url}: it is moved; give {response.headers.get('Location')}")
        return response.status, content, _retry_after(response)


def _retry_after(response: HTTPResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _read(content: bytes, rows: int, seconds: float, refusals: int) -> Scored:
    try:
        answer = json.loads(content)
        predictions = answer["predictions"]
        model, version = str(answer["model"]), str(answer["model_version"])
    except (ValueError, KeyError, TypeError):
        raise BundleError("the answer is not that of a Flotilla endpoint; check the URL") from None
    if len(predictions) != rows:
        raise BundleError(f"{rows} rows were sent and {len(predictions)} predictions came back")
    return Scored(predictions, model, version, seconds, refusals)


def _joined(answers: list[Scored]) -> Scored:
    first, second = answers
    if (first.model, first.version) != (second.model, second.version):
        raise BundleError(changed(first.version, second.version))
    return Scored(
        first.predictions + second.predictions,
        first.model,
        first.version,
        first.seconds + second.seconds,
        first.refusals + second.refusals,
    )


def changed(before: str, now: str) -> str:
    """What to say where another version of the model has begun to answer."""
    return f"the model's version was {before} and is {now} now; start anew with --restart for one version's answers"


def _words(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")


def _refusal(piece: Piece, status: int, content: bytes) -> str:
    """What the fleet said, with lines as the file numbers them."""
    words = re.sub(r"\bline (\d+)", lambda found: f"line {int(found[1]) + piece.first}", _words(content))
    rows = f"rows {piece.first + 1} to {piece.first + len(piece.records)}"
    fix = "; give the key as FLOTILLA_API_KEY or --key-file" if status == 401 else ""
    return f"{rows} are refused with {status}: {words}{fix}"
