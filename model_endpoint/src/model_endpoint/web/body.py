"""Read the body of a request. Runs in a worker."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def read_body(environ: WSGIEnvironment, max_body: int) -> bytes | None:
    """Read a body that has a Content-Length of at most `max_body` bytes and is complete.

    Returns None for any other; what was read of it can then be read again.
    """
    length = environ.get("CONTENT_LENGTH", "")
    if not (length.isascii() and length.isdigit() and int(length) <= max_body):
        return None
    body: bytes = environ["wsgi.input"].read(int(length))
    if len(body) == int(length):
        return body
    environ["wsgi.input"] = io.BytesIO(body)
    return None
