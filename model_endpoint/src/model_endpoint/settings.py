"""What the environment of the container says about how to serve."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingError(ValueError):
    """An environment variable holds a value that can't be used; the message names it and the cure."""


@dataclass(frozen=True)
class Settings:
    """How one container serves. Sizes are in bytes; `threads` counts request threads per worker."""

    endpoint: str = "endpoint"
    release: str = "development"
    models: Path = Path("/opt/flotilla/models")
    address: str = "0.0.0.0"  # noqa: S104 - the container's own network namespace; the role publishes the port
    port: int = 5001
    workers: int = 1
    threads: int = 1
    max_body: int = 1 << 20

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the `FLOTILLA_*` variables; one that is absent or empty keeps its default.

        Raises SettingError for a number that is none or is out of range.
        """
        return cls(
            endpoint=environ.get("FLOTILLA_ENDPOINT") or cls.endpoint,
            release=environ.get("FLOTILLA_RELEASE") or cls.release,
            models=Path(environ.get("FLOTILLA_MODELS") or cls.models),
            address=environ.get("FLOTILLA_ADDRESS") or cls.address,
            port=_whole(environ, "FLOTILLA_PORT", cls.port, 1, 65535),
            workers=_whole(environ, "FLOTILLA_WORKERS", cls.workers, 1, 256),
            threads=_whole(environ, "FLOTILLA_THREADS", cls.threads, 1, 256),
            max_body=_whole(environ, "FLOTILLA_MAX_BODY", cls.max_body, 1, 1 << 30),
        )


def _whole(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise SettingError(f"{name} is {text!r}; set a whole number from {low} to {high}")
    return int(text)
