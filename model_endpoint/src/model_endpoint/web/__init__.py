"""The routes, and what happens around a request."""
