"""What every answer carries, whatever the route."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient


def test_every_answer_says_who_gave_it(client: FlaskClient) -> None:
    for path in ("/v2", "/nowhere"):
        headers = client.get(path, headers={"X-Request-Id": "abc"}).headers
        assert (headers["X-Release"], headers["X-Endpoint"], headers["X-Request-Id"]) == (
            "r1",
            "node-a",
            "abc",
        )


@pytest.mark.parametrize("given", ["", "a b", "é", "x" * 129])
def test_a_request_id_that_could_forge_a_log_line_is_replaced(client: FlaskClient, given: str) -> None:
    first, second = (client.get("/v2", headers={"X-Request-Id": given}).headers["X-Request-Id"] for _ in "12")
    assert given not in (first, second)
    assert first != second
