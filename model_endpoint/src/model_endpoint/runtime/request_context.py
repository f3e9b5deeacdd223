"""One request on its way through a worker: what is known of it. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from model_endpoint.models.contract import Input

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

KEY = "flotilla.request_context"


@dataclass(slots=True)
class RequestContext:
    """What the middleware knows when a request comes in, and what the request's handler adds.

    `model` is the one in the path until a handler knows better; it is empty for no model. `start` is in seconds of
    `perf_counter`. `unknown` counts the values that training did not have; `values` are the rows as the predictor got
    them, and its predictions.
    """

    method: str
    path: str
    request_id: str
    model: str
    rows: int = 0
    unknown: int = 0
    values: tuple[Input, NDArray[Any]] | None = None
    body: bytes = b""
    status: int = 0
    start: float = field(default_factory=perf_counter)


def context_of(environ: WSGIEnvironment) -> RequestContext:
    """The context of a request, for its handler to fill in."""
    context: RequestContext = environ[KEY]
    return context
