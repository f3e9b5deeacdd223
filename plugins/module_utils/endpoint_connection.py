"""Runs on load balancers: connections to endpoints, with the certificate that Nginx shows them."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Found = TypeVar("Found")

MOST_AT_A_TIME = 32
OPTIONS = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "slot": {"type": "str"},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
        },
    },
    "certificate": {"type": "path", "default": "/etc/flotilla/nginx/tls/client.pem"},
    "authority": {"type": "path", "default": "/etc/flotilla/nginx/tls/servers.crt"},
    "timeout": {"type": "float", "default": 2},
}
"""The options that modules share which ask endpoints; plugins/doc_fragments/endpoints.py describes them."""


class Connection(http.client.HTTPConnection):
    """A connection to an endpoint, whose certificate must be valid for its name, not for its address.

    It uses no proxy, whatever the environment says, because Nginx uses none either.
    """

    def __init__(self, endpoint: Mapping[str, Any], timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(endpoint["address"], endpoint["port"], timeout=timeout)
        self._name = f"{endpoint['name']}.endpoint.flotilla"
        self._context = context
        self.certificate_end: int | None = None

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)
        if end := (self.sock.getpeercert() or {}).get("notAfter"):
            self.certificate_end = int(ssl.cert_time_to_seconds(str(end)))


def client_context(certificate: str, authority: str) -> ssl.SSLContext:
    """Return what a load balancer shows endpoints and trusts, from these files.

    Before the first deployment there is neither a certificate nor an endpoint that asks for one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(FileNotFoundError):
        context.load_verify_locations(authority)
        context.load_cert_chain(certificate)
    return context


def of_each(endpoints: Sequence[Mapping[str, Any]], ask: Callable[[Mapping[str, Any]], Found]) -> list[Found]:
    """Return what `ask` finds of each endpoint; many are asked at the same time."""
    with ThreadPoolExecutor(max(1, min(MOST_AT_A_TIME, len(endpoints)))) as pool:
        return list(pool.map(ask, endpoints))


def failure(endpoint: Mapping[str, Any], error: Exception) -> str:
    """Return, for the user, why an endpoint could not be asked."""
    return f"{endpoint['address']}:{endpoint['port']}: {error or type(error).__name__}"
