"""What Nginx does with the rendered configuration: a real one on loopback, in front of an endpoint's stand-in."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from http2 import ask_over_http2
from real_nginx import ANSWER, Cases, serving, wait_until

pytestmark = pytest.mark.long

KEY, WRONG_KEY = "a" * 30, "b" * 30
REFUSED = b'{"error":"Connection, Transfer-Encoding and the like are not for HTTP/2; leave them out"}\n'
BURST = 3
TLS = {"nginx_lb_tls": "internal", "nginx_lb_tls_names": ["models.example", "*.Wild.example"]}
KEYED = {"nginx_lb_api_keys": {"alice": KEY}, "nginx_lb_burst": BURST}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "tls": TLS,
    "rate": {**KEYED, "nginx_lb_rate": 1},
    "quota": {**KEYED, "nginx_lb_quotas": {"/predict": 1}},
}


class Served(Cases):
    """A running Nginx, and those who ask it."""

    def ask(self, path: str = "/predict", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(
            "POST", path, b"{}", {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def ask_over_http2(self, headers: Sequence[tuple[str, str]]) -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=self.folder / "etc" / "tls" / "authority.crt")
        needed = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", "/predict"),
            (":authority", "models.example"),
        ]
        return ask_over_http2(self.tls_port, context, "models.example", [*needed, *headers], b"{}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(Served, tmp_path_factory.mktemp("nginx"), CASES) as served:
        yield served


@pytest.mark.parametrize(
    "headers",
    [[], [("te", "trailers")], [("x-connection", "keep-alive"), ("content-type", "application/json")]],
)
def test_a_request_of_http2_is_answered(served: Served, headers: list[tuple[str, str]]) -> None:
    served.case("tls")
    assert served.ask_over_http2(headers) == (200, ANSWER)


@pytest.mark.parametrize(
    "header",
    [
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
    ],
)
def test_a_request_of_http2_with_a_header_of_a_connection_is_refused(
    served: Served, header: tuple[str, str]
) -> None:
    served.case("tls")
    before = len(served.endpoint.headers)
    assert served.ask_over_http2([header]) == (400, REFUSED)
    assert len(served.endpoint.headers) == before


@pytest.mark.parametrize("limit", ["rate", "quota"])
@pytest.mark.parametrize("headers", [{"X_API_Key": WRONG_KEY}, {"Authorization": f"Bearer {WRONG_KEY}"}, {}])
def test_requests_without_a_valid_key_count_for_the_rate_of_their_address(
    served: Served, limit: str, headers: dict[str, str]
) -> None:
    served.case("plain")  # which has no zone, so that the next configuration begins to count
    served.case(limit)
    answers = list(asked_until(served, 429, headers))
    assert [answer.status for answer in answers[:-1]] == [401] * (len(answers) - 1)
    assert len(answers) > BURST + 1
    assert answers[0].headers["WWW-Authenticate"] == 'Bearer realm="flotilla"'
    assert answers[-1].headers["Retry-After"] == "1"
    # A key's requests are counted by the key, and are not held up by those of others at its address.
    assert served.ask(X_API_Key=KEY).status == 200
    wait_until(lambda: bool(logged(served, 401)), "no line of the access log tells of a 401")
    assert logged(served, 401) | logged(served, 429) == {"/predict"}
    assert served.nginx.errors() == ""


def asked_until(served: Served, status: int, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
    """Send requests until one is answered so, which must come soon."""
    for _ in range(100):
        answer = served.ask(**headers)
        yield answer
        if answer.status == status:
            return
    pytest.fail(f"none of 100 requests was answered with {status}")


def logged(served: Served, status: int) -> set[str]:
    """Return the paths of the requests that were answered so, by the lines that are written by now."""
    return {line["uri"] for line in served.nginx.log() if line["status"] == status}


@pytest.mark.parametrize(
    ("host", "sent_to"),
    [
        ("models.example", "models.example"),
        ("MODELS.example:8080", "models.example"),
        ("a.wild.example", "a.wild.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("evil.example", "127.0.0.1"),
        ("models.example.evil.example", "127.0.0.1"),
        ("10.9.8.7", "127.0.0.1"),
    ],
)
def test_a_client_without_tls_is_redirected_to_a_known_name_or_the_address(
    served: Served, host: str, sent_to: str
) -> None:
    served.case("tls")
    answer = served.ask("/predict?a=%20b", Host=host)
    wanted = f"https://{sent_to}:{served.tls_port}/predict?a=%20b"
    assert (answer.status, answer.headers["Location"]) == (308, wanted)


def test_a_kept_connection_is_answered_after_a_reload_and_told_to_end(served: Served) -> None:
    served.case("plain")
    used, unused = (http.client.HTTPConnection("127.0.0.1", served.port, timeout=10) for _ in range(2))
    unused.connect()
    said = []
    for reloaded in (False, True):
        if reloaded:
            served.case("plain")
        for connection in (used, unused) if reloaded else (used,):
            connection.request("POST", "/predict", b"{}")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, ANSWER)
            said.append((response.headers["Connection"], response.headers["Keep-Alive"]))
    assert said == [("keep-alive", "timeout=15"), ("close", None), ("close", None)]
