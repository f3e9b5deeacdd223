"""Requests are shared by weight and reach the endpoints whole."""

import json
from collections.abc import Callable, Mapping

import requests

from fleet.fleet import Fleet
from fleet.machine import Machine, wait_until

# Answers every request with the headers it came with, behind the certificate of the endpoint that it stands in for.
ECHO = """
import http.server, json, ssl
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("X-Endpoint", "echo")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/etc/endpoint/server.pem")
server = http.server.ThreadingHTTPServer(("0.0.0.0", 5001), Echo)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""

FORGED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Real-IP": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "forged.example",
    "Forwarded": "for=192.0.2.7;proto=https",
}
KEYS = {"X-API-Key": "a-key", "Authorization": "Bearer a-key"}


def test_a_thousand_predictions_are_shared_by_weight(fleet: Fleet) -> None:
    fleet.assert_shares(1000)


def test_text_and_a_missing_value_reach_the_model(fleet: Fleet) -> None:
    penguin = {"island": "Biscoe", "sex": None, "bill_length_mm": 47.3, "bill_depth_mm": 15.3}
    question = {
        "model": "penguins",
        "instances": [{**penguin, "flipper_length_mm": 222, "body_mass_g": 5250}],
    }
    answer = requests.post(f"{fleet.url}/predict", json=question, timeout=10)
    assert answer.json()["predictions"] == ["Gentoo"]


def connections_opened(machine: Machine) -> int:
    """Return how many TCP connections the machine has opened since it booted."""
    titles, values = (line.split() for line in machine.run("grep", "^Tcp:", "/proc/net/snmp").splitlines())
    return int(values[titles.index("ActiveOpens")])


def test_connections_to_the_endpoints_are_kept(fleet: Fleet) -> None:
    before = connections_opened(fleet.load_balancer)
    fleet.answers(400)
    assert connections_opened(fleet.load_balancer) - before < 100


Ask = Callable[[], tuple[Mapping[str, str], str]]
"""Sends a request and returns the answer's headers and text."""


def received_headers(fleet: Fleet, ask: Ask) -> dict[str, str]:
    """Return the headers that arrive at an endpoint's port: an echo stands in for one endpoint meanwhile."""
    node = fleet.nodes[0]
    (endpoint,) = node.containers()
    name = endpoint["Name"].lstrip("/")
    echo = ("docker", "run", "--detach", "--rm", "--name", "echo", "--publish", f"{node.address}:5001:5001")
    node.run("docker", "stop", name)
    try:
        certificates = f"/etc/flotilla/endpoints/{node.name}:/etc/endpoint:ro"
        node.run(*echo, "--volume", certificates, "--entrypoint", "python3", endpoint["Image"], "-c", ECHO)
        try:
            answers: list[str] = []

            def echo_answers() -> bool:
                headers, text = ask()
                answers.append(text)
                return headers.get("X-Endpoint") == "echo"

            wait_until("a request reaches the echo", echo_answers)
            return {header.lower(): value for header, value in json.loads(answers[-1]).items()}
        finally:
            node.run("docker", "rm", "--force", "echo")
    finally:
        node.run("docker", "start", name)
        wait_until(f"{name} is healthy again", lambda: node.healthy_containers() == {name})


def test_the_endpoint_learns_who_asked_for_what(fleet: Fleet) -> None:
    sent = {"Host": "models.example", "X-Request-Id": "from-the-client-1", **FORGED, **KEYS}

    def ask() -> tuple[Mapping[str, str], str]:
        answer = fleet.get("/", sent)
        return answer.headers, answer.text

    received = received_headers(fleet, ask)
    here = fleet.address_of_this_machine
    assert received["host"] == "models.example"
    assert received["x-real-ip"] == received["x-forwarded-for"] == here
    assert received["x-forwarded-proto"] == "http"
    assert received["x-request-id"] == "from-the-client-1"
    assert not received.keys() & {"connection", "forwarded", "x-forwarded-host", "x-api-key", "authorization"}


def test_a_trusted_proxy_is_believed_about_the_client_and_no_further(fleet: Fleet) -> None:
    # What the client itself claims comes first in the list, and is no more true for having passed a proxy.
    sent = {
        "X-Forwarded-For": "192.0.2.7, 203.0.113.5",
        "X-Forwarded-Proto": "https",
        "X-Real-IP": "192.0.2.8",
    }

    def ask() -> tuple[Mapping[str, str], str]:
        answer = fleet.outsider.ask(fleet.load_balancer, "/", sent)
        return answer.headers, answer.text

    received = received_headers(fleet, ask)
    assert received["x-real-ip"] == received["x-forwarded-for"] == "203.0.113.5"
    assert received["x-forwarded-proto"] == "https"


def test_a_request_without_an_id_is_given_one(fleet: Fleet) -> None:
    given = {fleet.get("/v2/health/ready").headers["X-Request-Id"] for _ in range(2)}
    assert len(given) == 2


def test_the_answer_carries_the_clients_request_id(fleet: Fleet) -> None:
    answer = fleet.get("/v2/health/ready", {"X-Request-Id": "from-the-client-2"})
    assert answer.headers["X-Request-Id"] == "from-the-client-2"
