"""The errors of models and requests, and how an error quotes a value. Runs in the build and in a worker."""

from __future__ import annotations


class RequestError(Exception):
    """The request can't be answered; becomes `{"error": message}` with `status`, which is always a 4xx."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class BundleError(Exception):
    """A model can't be packed, built into an image or loaded; the message names the folder and the fix."""


class GoldenAnswerError(Exception):
    """A golden request was answered wrong; the message names the request, the output, and both values."""


def quoted(value: object) -> str:
    """A value of a request as an error quotes it: at most 100 characters, so that answers don't grow with requests."""
    try:
        text = repr(value)
    except RecursionError:
        return "a value that is nested too deeply"
    return text if len(text) <= 100 else f"{text[:97]}..."
