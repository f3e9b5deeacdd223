"""What can go wrong: with a request, and with a model."""

from __future__ import annotations


class RequestError(Exception):
    """The request can't be answered; becomes `{"error": message}` with `status` (always a 4xx)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class BundleError(Exception):
    """A model can't be packed, built into an image or loaded; the message names the folder and the cure."""
