"""Runs in the keeper's container: shows the CA that the names are ours, by HTTP-01 or DNS-01 (RFC 8555, section 8)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from acme_keeper.store import SHARED_MODE, write

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")
HOOK_SECONDS = 600


class ChallengeError(Exception):
    """A challenge can't be shown; the message is for the user."""


class Challenges(Protocol):
    """A way to show the CA what it asks for."""

    kind: str
    """http-01 or dns-01."""

    def show(self, name: str, place: str, value: str) -> None:
        """Show `value` at `place` of `name`: a token, or a DNS record. Raises ChallengeError when that fails."""

    def end(self, name: str, place: str, value: str) -> None:
        """Show it no more."""


class HttpChallenges:
    """Shows tokens by the Nginx of every load balancer, since nobody knows which of them the CA will ask."""

    kind = "http-01"

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tokens: dict[str, str] = {}
        self._tell = tell

    def show(self, name: str, place: str, value: str) -> None:  # noqa: ARG002
        self.tokens[place] = value
        self._tell()

    def end(self, name: str, place: str, value: str) -> None:  # noqa: ARG002
        self.tokens.pop(place, None)
        self._tell()


class DnsChallenges:
    """Calls the user's program with present or cleanup, the record's name and its value."""

    kind = "dns-01"

    def __init__(self, hook: Path) -> None:
        self._hook = hook

    def show(self, name: str, place: str, value: str) -> None:  # noqa: ARG002
        self._call("present", place, value)

    def end(self, name: str, place: str, value: str) -> None:  # noqa: ARG002
        self._call("cleanup", place, value)

    def _call(self, *arguments: str) -> None:
        """Call the hook.

        Raises:
            ChallengeError: when it fails, or takes too long.
        """
        try:
            done = subprocess.run(  # noqa: S603
                [self._hook, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=HOOK_SECONDS,
                check=False,
                env={"PATH": "/usr/bin:/bin"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ChallengeError(f"acme_dns_hook {arguments[0]} {arguments[1]}: {error}") from error
        if done.returncode:
            said = done.stdout.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise ChallengeError(f"acme_dns_hook {arguments[0]} {arguments[1]}: {said[0]}")


def write_tokens(folder: Path, tokens: Mapping[str, str]) -> None:
    """Have Nginx show these tokens, and no others."""
    folder.mkdir(mode=0o750, exist_ok=True)
    wanted = {token: value for token, value in tokens.items() if TOKEN.fullmatch(token)}
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()
    for token, value in wanted.items():
        if not (folder / token).exists():
            write(folder / token, value, SHARED_MODE)
