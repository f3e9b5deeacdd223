"""The settings of an endpoint, read from the container's environment. Runs in a worker and beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class SettingError(ValueError):
    """An environment variable has a value that can't be used; the message names the variable and the fix."""


@dataclass(frozen=True)
class Settings:
    """How one container serves.

    `threads` counts request threads per worker; `row_limits` are the most rows of a request, by model; `max_body` and
    `capture_bytes` are bytes; the samples are shares, from 0 to 1, of the requests that succeed. `capture_bytes` bounds
    each of a worker's two capture files. `tls` is the folder of the certificates (see model_endpoint.runtime.tls);
    without it the endpoint serves plain HTTP.
    """

    endpoint: str = "endpoint"
    release: str = "development"
    models: Path = Path("/opt/flotilla/models")
    address: str = "0.0.0.0"  # noqa: S104 - the container's own network namespace; the role publishes the port
    port: int = 5001
    tls: Path | None = None
    workers: int = 1
    threads: int = 1
    max_body: int = 1 << 20
    row_limits: Mapping[str, int] = field(default_factory=dict)
    fast_path: bool = True
    log_sample: float = 0.01
    capture_file: Path | None = None
    capture_sample: float = 0.01
    capture_bytes: int = 10_000_000

    @property
    def max_workers(self) -> int:
        """How many workers may run at a time: granian starts the successor of a worker before it ends the worker."""
        return 2 * self.workers

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the `FLOTILLA_*` variables; one that is absent or empty keeps its default.

        Raises SettingError for a value that is of the wrong type or out of range.
        """
        return cls(
            endpoint=environ.get("FLOTILLA_ENDPOINT") or cls.endpoint,
            release=environ.get("FLOTILLA_RELEASE") or cls.release,
            models=Path(environ.get("FLOTILLA_MODELS") or cls.models),
            address=environ.get("FLOTILLA_ADDRESS") or cls.address,
            port=_whole(environ, "FLOTILLA_PORT", cls.port, 1, 65535),
            tls=Path(environ["FLOTILLA_TLS"]) if environ.get("FLOTILLA_TLS") else None,
            workers=_whole(environ, "FLOTILLA_WORKERS", cls.workers, 1, 256),
            threads=_whole(environ, "FLOTILLA_THREADS", cls.threads, 1, 256),
            fast_path=_switch(environ, "FLOTILLA_FAST_PATH", cls.fast_path),
            log_sample=_share(environ, "FLOTILLA_LOG_SAMPLE", cls.log_sample),
            capture_file=Path(environ["FLOTILLA_CAPTURE_FILE"])
            if environ.get("FLOTILLA_CAPTURE_FILE")
            else None,
            capture_sample=_share(environ, "FLOTILLA_CAPTURE_SAMPLE", cls.capture_sample),
            capture_bytes=_whole(environ, "FLOTILLA_CAPTURE_BYTES", cls.capture_bytes, 1000, 1 << 40),
            max_body=_whole(environ, "FLOTILLA_MAX_BODY", cls.max_body, 1, 1 << 30),
            row_limits=_rows_by_model(environ, "FLOTILLA_ROW_LIMITS"),
        )


def _whole(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise SettingError(f"{name} is {text!r}; set a whole number from {low} to {high}")
    return int(text)


def _share(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SettingError(f"{name} is {text!r}; set a share from 0 to 1")
    return share


def _rows_by_model(environ: Mapping[str, str], name: str) -> dict[str, int]:
    text = environ.get(name) or "{}"
    try:
        limits = json.loads(text)
    except ValueError:
        limits = None
    if type(limits) is not dict or any(type(rows) is not int or rows < 1 for rows in limits.values()):
        raise SettingError(f'{name} is {text!r}; set JSON with rows by model, such as {{"iris": 1000}}')
    return limits


def _switch(environ: Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name) or str(default).lower()
    if text not in ("true", "false"):
        raise SettingError(f"{name} is {text!r}; set true or false")
    return text == "true"
