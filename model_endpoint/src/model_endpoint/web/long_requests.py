"""Requests that may have many rows: they wait for each other, and short ones do not wait for them. Runs in a worker.

A worker computes as many long requests at a time as it has threads that take requests. It looks whether somebody still
waits for the answer: before the model is asked, and between blocks of rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident, get_native_id
from time import thread_time
from typing import TYPE_CHECKING, Any

from model_endpoint.models.blocks import between
from model_endpoint.models.errors import RequestError
from model_endpoint.web.middleware import RequestMiddleware
from model_endpoint.web.responses import JSON, error_body
from model_endpoint.web.service import Service
from model_endpoint.web.threads import Parking, Threads

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Application = Callable[[WSGIEnvironment, StartResponse], list[bytes]]

DIGITS = 5
"""The least digits of the length of a long request's body: 10 kB, which are some hundreds of rows."""

NICE = 10  # of the threads that compute long requests: others get ten times as much of a CPU that they share

WORK = "X-Work"
"""The header of a long request's answer with the milliseconds of CPU time that it took. Load balancers share by it."""

KEY = "HTTP_X_WORK_KEY"
"""The header in which a load balancer gives a long request the key by which it may call it abandoned."""

BUSY = "this endpoint has as many large requests as it may; try again"
LEFT = "the client has left"


def is_long(environ: WSGIEnvironment) -> bool:
    """Whether a request may have many rows, by the length of its body; one that does not tell it may."""
    return len(environ.get("CONTENT_LENGTH", "")) >= DIGITS or "HTTP_TRANSFER_ENCODING" in environ


class LongRequests:
    """The WSGI application that the server calls, around `app`: minds which threads take requests."""

    def __init__(self, app: Application, service: Service, spare: int) -> None:
        self._app = app
        most = service.settings.max_body
        busy = _refusal("429 TOO MANY REQUESTS", BUSY, most, ("Retry-After", "1"))
        self._busy = RequestMiddleware(busy, service)
        self._left = RequestMiddleware(_refusal("499 CLIENT CLOSED REQUEST", LEFT, most), service)
        self._abandoned = service.abandoned
        self._threads = Threads(service.settings.threads, spare)
        self._computing = ThreadPoolExecutor(service.settings.threads, "long", _yield_to_others)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes] | Parking:
        if is_long(environ):
            return self._answer_long(environ, _Start(start_response))
        if get_ident() in self._threads.taking:
            return self._app(environ, start_response)
        start = _Start(start_response)
        return self._leave(environ, self._app(environ, start), start)

    def _answer_long(self, environ: WSGIEnvironment, start: _Start) -> list[bytes] | Parking:
        if not self._threads.begin_long():
            return self._busy(environ, start)
        try:
            answer = self._computing.submit(self._answer_in_turn, environ, start).result()
        finally:
            self._threads.end_long()
        return self._leave(environ, answer, start)

    def _answer_in_turn(self, environ: WSGIEnvironment, start: _Start) -> list[bytes]:
        key = environ.get(KEY, "")
        if key and key in self._abandoned:
            return self._left(environ, start)

        def look() -> None:
            if key in self._abandoned:
                raise RequestError(LEFT, 499)

        between.look = look if key else None
        start.begun = thread_time()
        try:
            return self._app(environ, start)
        finally:
            between.look = None

    def _leave(self, environ: WSGIEnvironment, answer: list[bytes], start: _Start) -> list[bytes] | Parking:
        # A thread that parks holds on to the request, so it must have read the body; the next one it gets may do.
        read = environ["REQUEST_METHOD"] == "POST" or not environ.get("CONTENT_LENGTH")
        if start.status == "200 OK" and start.has_length and read and environ["REQUEST_METHOD"] != "HEAD":
            environ.clear()
            return self._threads.leave(answer[0])
        return answer


def _yield_to_others() -> None:
    """Let the container's other threads come first where the CPUs have much to do; a thread can't take this back."""
    thread = get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICE))


class _Start:
    """A `start_response` that notes the status and whether there is a length, and tells the work since `begun`."""

    def __init__(self, start_response: StartResponse) -> None:
        self._start_response = start_response
        self.begun: float | None = None
        self.status = ""
        self.has_length = False

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status = status
        self.has_length = any(name == "Content-Length" for name, _ in headers)
        if self.begun is not None:
            headers = [*headers, (WORK, f"{(thread_time() - self.begun) * 1000:.1f}")]
        return self._start_response(status, headers, exc_info)


def _refusal(status: str, message: str, max_body: int, *more: tuple[str, str]) -> Application:
    content = error_body(message)
    headers = [("Content-Type", JSON), ("Content-Length", str(len(content))), *more]

    def refuse(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        # Otherwise the server would close the connection while Nginx still sends, and Nginx would count a failure.
        environ["wsgi.input"].read(max_body)
        start_response(status, headers)
        return [content]

    return refuse
