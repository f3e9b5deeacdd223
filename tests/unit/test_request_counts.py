"""How a real Nginx counts requests for Prometheus, and who may read the counts and see the page of the fleet."""

from __future__ import annotations

import copy
import http.client
import json
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import issue, make_authority

import real_nginx
from certificates import pem
from real_nginx import NODE, STATE, Endpoint, Nginx, free_port, wait_until

pytestmark = pytest.mark.long

RELEASE = "aaaaaaaaaaaa"
DEAD = "n2"
KEY = "a" * 30
OPERATOR, CLIENT = "192.0.2.1", "198.51.100.1"
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
Metrics = dict[str, float]


def with_dead_node() -> dict[str, Any]:
    state = copy.deepcopy(STATE)
    state["nodes"][DEAD] = {"status": "up", "share": 100, "since": 1, "reason": ""}
    return state


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "changed": {"nginx_lb_client_timeout": 11},
    "two nodes": {"nginx_lb_state": with_dead_node()},
    "rate": {"nginx_lb_rate": 1, "nginx_lb_burst": 1},
    "quota": {"nginx_lb_quotas": {"/predict": 1}, "nginx_lb_burst": 1},
    "keys": {"nginx_lb_api_keys": {"alice": KEY}, "nginx_lb_body_limit": "10k"},
    "one": {"nginx_lb_client_connections": 1},
    "virtual": {"virtual_address_ip": "127.0.0.1/8"},
    "elsewhere": {"virtual_address_ip": "192.0.2.7"},
}


@dataclass
class Balancer:
    """A running Nginx in front of a stand-in of an endpoint and one of the page of the fleet."""

    nginx: Nginx
    endpoint: Endpoint
    page: Endpoint
    folder: Path
    port: int
    metrics_port: int
    configurations: dict[str, str]

    def case(self, name: str) -> None:
        self.nginx.serve(self.configurations[name])

    def ask(
        self, path: str = "/predict", body: bytes | None = b"{}", client: str = CLIENT, **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        method = "GET" if body is None else "POST"
        connection.request(method, path, body, {"X-Forwarded-For": client, **sent})
        response = connection.getresponse()
        response.content = response.read()  # type: ignore[attr-defined]
        connection.close()
        return response

    def read(
        self, path: str = "/metrics", certificate: Path | None = None, method: str = "GET"
    ) -> tuple[int, str]:
        """Read a route of the port for metrics, with the monitoring host's certificate or another."""
        context = ssl.create_default_context(cafile=self.folder / "etc" / "tls" / "authority.crt")
        context.load_cert_chain(certificate or self.folder / "monitoring" / "client.pem")
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", self.metrics_port, timeout=10, context=context)
        connection.request(method, path)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def metrics(self) -> Metrics:
        status, text = self.read()
        assert status == 200
        samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        assert len({name for name, _, _ in samples}) == len(samples)
        return {name: float(value) for name, _, value in samples}

    def counted(self, requests: int) -> Metrics:
        """Return the metrics once so many requests are counted."""
        wait_until(lambda: total(self.metrics()) >= requests, f"{requests} requests are not counted")
        found = self.metrics()
        assert total(found) == requests
        return found


def total(metrics: Metrics) -> int:
    return int(
        sum(value for name, value in metrics.items() if name.startswith("flotilla_lb_requests_total{"))
    )


def request_labels(
    status: str, endpoint: str = NODE, slot: str = "blue", release: str = RELEASE, model: str = ""
) -> str:
    return f'endpoint="{endpoint}",slot="{slot}",release="{release}",model="{model}",status="{status}"'


def requests(metrics: Metrics, status: str, **others: str) -> float:
    return metrics.get(f"flotilla_lb_requests_total{{{request_labels(status, **others)}}}", -1)


def refusals(metrics: Metrics) -> dict[str, float]:
    """Return how many requests were refused for each reason for which some were."""
    pattern = re.compile(r'flotilla_lb_refusals_total\{reason="(.*)"\}')
    return {
        found[1]: value for name, value in metrics.items() if (found := pattern.fullmatch(name)) and value
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The configurations by case, with their ports and Nginx's files."""
    folder = tmp_path_factory.mktemp("rendered")
    names = ("nginx_lb_port", "nginx_lb_status_port", "nginx_lb_metrics_port", "endpoint", "dead", "page")
    ports = {name: free_port() for name in names}
    variables = {
        **{name: port for name, port in ports.items() if name.startswith("nginx_lb")},
        "nginx_lb_trusted_proxies": ["127.0.0.1"],
        "nginx_lb_operators": [OPERATOR],
    }
    cases = {name: {**variables, **of_case} for name, of_case in CASES.items()}
    address = {"ansible_host": "127.0.0.1"}
    more: real_nginx.Hosts = {
        "model_nodes": {DEAD: {**address, "model_endpoint_port": ports["dead"]}},
        "monitoring": {"mon": address},
    }
    configurations, image = real_nginx.render(folder, cases, ports["endpoint"], more)
    for name, text in configurations.items():
        # One processor must not hide what several workers do, and the page's port may be taken on this machine.
        text = text.replace("worker_processes auto;", "worker_processes 3;")
        text = text.replace("request_counts.count interval=5s", "request_counts.count interval=1s")
        configurations[name] = text.replace("127.0.0.1:9102", f"127.0.0.1:{ports['page']}")
    return {"configurations": configurations, "installed": real_nginx.installation(image), "ports": ports}


@pytest.fixture
def balancer(tmp_path: Path, rendered: dict[str, Any]) -> Iterator[Balancer]:
    ports = rendered["ports"]
    arguments = (rendered["installed"], ports["endpoint"], ports["nginx_lb_status_port"])
    with (
        real_nginx.running(tmp_path, *arguments) as (nginx, endpoint),
        Endpoint(tmp_path, ports["page"], "page") as page,
    ):
        endpoint.told = {"X-Endpoint": NODE, "X-Release": RELEASE}
        threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        own = (ports["nginx_lb_port"], ports["nginx_lb_metrics_port"])
        running = Balancer(nginx, endpoint, page, tmp_path, *own, rendered["configurations"])
        running.case("plain")
        yield running
        page.shutdown()
        assert "js periodic" not in nginx.errors()
        assert "js exception" not in nginx.errors()
        assert "not counted" not in nginx.errors()


def test_every_request_is_counted_as_the_access_log_has_it(balancer: Balancer) -> None:
    balancer.endpoint.statuses = {"/predict?odd": 422, "/v2/models/iris/infer?broken": 500}
    paths = [
        "/predict",
        "/predict?odd",
        "/v2/models/iris/infer",
        "/v2/models/iris/infer?broken",
        "/invocations?model=wine",
    ]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(balancer.ask, [paths[number % len(paths)] for number in range(500)]))
    found = balancer.counted(500)
    logged = balancer.nginx.log()
    assert len(logged) == 500
    models = {"/predict": "", "/v2/models/iris/infer": "iris", "/invocations": "wine"}
    wanted: Counter[str] = Counter()
    buckets: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for entry in logged:
        labels = request_labels(
            f"{entry['status'] // 100}xx",
            entry["endpoint"],
            entry["slot"],
            entry["release"],
            models[entry["uri"].partition("?")[0]],
        )
        wanted[labels] += 1
        sums[labels] += round(1000 * entry["seconds"])
        for bound in [*BOUNDS, float("inf")]:
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            buckets[f'{labels},le="{name}"'] += entry["seconds"] <= bound
    name = "flotilla_lb_request_seconds"
    assert {key: value for key, value in of(found, "flotilla_lb_requests_total").items() if value} == wanted
    assert of(found, f"{name}_bucket") == buckets
    assert of(found, f"{name}_count") == wanted
    assert {key: round(1000 * value) for key, value in of(found, f"{name}_sum").items()} == sums


def of(metrics: Metrics, name: str) -> Metrics:
    """Return a metric's values by its labels."""
    return {
        key.removeprefix(f"{name}{{")[:-1]: value
        for key, value in metrics.items()
        if key.startswith(f"{name}{{")
    }


def test_only_models_that_have_answered_are_told_apart(balancer: Balancer) -> None:
    balancer.endpoint.statuses = {"/v2/models/junk/infer": 404, "/invocations?model=junk": 404}
    for path in (
        "/v2/models/junk/infer",
        "/invocations?model=junk",
        "/v2/models/iris/infer",
        "/predict?model=junk",
    ):
        balancer.ask(path)
    found = balancer.counted(4)
    assert requests(found, "4xx") == 2
    assert requests(found, "2xx") == 1
    assert requests(found, "2xx", model="iris") == 1
    # The first failure is to be an increase.
    assert requests(found, "5xx", model="iris") == 0
    assert requests(found, "5xx", endpoint="", slot="", release="", model="iris") == 0
    assert not any("junk" in name for name in found)


def test_counts_outlive_reloads_under_load(balancer: Balancer) -> None:
    began = balancer.metrics()["flotilla_lb_start_time_seconds"]
    done = threading.Event()

    def ask_on() -> int:
        asked = 0
        while not done.is_set():
            assert balancer.ask().status == 200
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(ask_on) for _ in range(4)]
        for name in ("changed", "plain", "changed"):
            balancer.case(name)
        done.set()
        asked = sum(future.result() for future in futures)
    assert requests(balancer.counted(asked), "2xx") == asked
    assert balancer.metrics()["flotilla_lb_start_time_seconds"] == pytest.approx(began, abs=1.5)


def test_tries_that_failed_are_counted_for_their_endpoint(balancer: Balancer) -> None:
    balancer.case("two nodes")
    for _ in range(20):
        assert balancer.ask().status == 200
    found = balancer.counted(20)
    tried = [entry["upstream"].split(", ") for entry in balancer.nginx.log()]
    failed = sum(len(addresses) - 1 for addresses in tried)
    assert failed > 0
    assert of(found, "flotilla_lb_retries_total") == {f'endpoint="{DEAD}"': failed, f'endpoint="{NODE}"': 0}
    assert requests(found, "2xx") == 20


@pytest.mark.parametrize(
    ("case", "reason", "asked"),
    [
        ("rate", "rate", [{}] * 5),
        ("quota", "quota", [{}] * 5),
        ("keys", "key", [{}]),
        ("keys", "too_large", [{"X_API_Key": KEY, "body": b" " * 20_000}]),
        ("plain", "operator", [{"path": "/docs"}, {"path": "/fleet"}]),
        ("plain", "unknown_release", [{"X_Release": "bbbbbbbbbbbb"}]),
        ("plain", "malformed", [{"X_Long": "a" * 40_000}]),
    ],
)
def test_refusals_are_counted_by_their_reason(
    balancer: Balancer, case: str, reason: str, asked: list[dict[str, Any]]
) -> None:
    balancer.case(case)
    statuses = [balancer.ask(**arguments).status for arguments in asked]
    refused = sum(status != 200 for status in statuses)
    assert refused > 0
    assert refusals(balancer.counted(len(statuses))) == {reason: refused}


def test_an_endpoint_that_does_not_answer_is_no_refusal_and_a_fleet_without_one_is(
    balancer: Balancer,
) -> None:
    balancer.endpoint.shutdown()
    balancer.endpoint.server_close()
    assert balancer.ask().status == 503
    found = balancer.counted(1)
    assert refusals(found) == {"no_endpoint": 1}
    assert requests(found, "5xx", endpoint="", release="") == 1


def test_a_client_s_share_and_its_connections_are_reasons(balancer: Balancer) -> None:
    long = b" " * 900_000
    balancer.endpoint.answers.clear()
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(balancer.ask, body=long) for _ in range(5)]
        wait_until(lambda: len(balancer.endpoint.headers) == 5, "the requests are not under way")
        assert balancer.ask(body=long).status == 429
        in_flight = balancer.metrics()["flotilla_lb_requests_in_flight"]
        balancer.case("one")
        futures.append(pool.submit(balancer.ask, client=OPERATOR))
        wait_until(lambda: len(balancer.endpoint.headers) == 6, "the request is not under way")
        assert balancer.ask(client=OPERATOR).status == 429
        balancer.endpoint.answers.set()
        assert [future.result().status for future in futures] == [200] * 6
    assert in_flight == 5
    assert refusals(balancer.counted(8)) == {"share": 1, "connections": 1}


def test_requests_are_counted_by_the_key_s_name(balancer: Balancer) -> None:
    balancer.case("keys")
    for _ in range(3):
        assert balancer.ask("/v2/models/iris/infer", X_API_Key=KEY).status == 200
    clients = of(balancer.counted(3), "flotilla_lb_client_requests_total")
    assert clients == {'client="alice",model="iris"': 3}


def test_the_log_of_what_is_counted_stays_small(balancer: Balancer) -> None:
    log = balancer.folder / "run" / "counted.log"
    line = "200\t127.0.0.1:1\tblue\tn1\taaaaaaaaaaaa\t\t\t-\t\t0.004\n"
    with log.open("a") as file:
        file.write(line * 120_000)
    assert log.stat().st_size > 5_000_000
    balancer.ask()
    wait_until(lambda: log.exists() and log.stat().st_size < 1_000_000, "no new log is begun")
    for _ in range(50):
        balancer.ask()
    assert requests(balancer.counted(120_051), "2xx") == 120_051
    older = log.with_name("counted.log.1")
    wait_until(lambda: not older.exists(), "the older log is kept")
    balancer.ask()
    balancer.counted(120_052)


def test_it_tells_what_it_serves_and_when_certificates_end(balancer: Balancer) -> None:
    found = balancer.metrics()
    served = (balancer.folder / "etc" / "nginx.conf").read_text()
    (version,) = of(found, "flotilla_lb_configuration_info")
    assert f"return 200 '{version.removeprefix('version=')[1:-1]}\\n';" in served
    for name in ("client.pem", "servers.crt", "metrics.pem", "monitoring.crt"):
        path = balancer.folder / "etc" / "tls" / name
        certificate = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
        for metric, field in (("start", "notBefore"), ("end", "notAfter")):
            told = of(found, f"flotilla_lb_certificate_{metric}_timestamp_seconds")
            assert told[f'certificate="{path.stem}"'] == ssl.cert_time_to_seconds(certificate[field])
    assert found["flotilla_lb_start_time_seconds"] == pytest.approx(time.time(), abs=60)
    assert found["flotilla_lb_requests_in_flight"] == 0
    assert "flotilla_lb_holds_address" not in found
    for case, holds in (("virtual", 1), ("elsewhere", 0)):
        balancer.case(case)
        assert balancer.metrics()["flotilla_lb_holds_address"] == holds


def test_only_the_monitoring_host_s_certificate_reads_metrics_and_it_reads_nothing_else(
    balancer: Balancer,
) -> None:
    others = {
        "balancer": (balancer.folder / "etc" / "tls" / "client.pem").read_text(),
        "stranger": pem(issue(make_authority("monitoring"), "monitoring", "client")),
    }
    for name, content in others.items():
        certificate = balancer.folder / name
        certificate.write_text(content)
        assert balancer.read(certificate=certificate)[0] == 403
    status, text = balancer.read(f"/endpoints/{NODE}/blue/metrics")
    assert (status, text) == (200, real_nginx.ANSWER.decode())
    asked = [
        "/",
        "/predict",
        "/docs",
        "/metrics/drift",
        "/v2/models/iris",
        f"/endpoints/{NODE}/green/metrics",
    ]
    asked += [
        "/endpoints/other/blue/metrics",
        f"/endpoints/{NODE}/blue/predict",
        f"/endpoints/{NODE}/blue/metrics/drift",
        "/fleet",
    ]
    assert {path: balancer.read(path)[0] for path in asked} == dict.fromkeys(asked, 404)
    for path in ("/metrics", f"/endpoints/{NODE}/blue/metrics"):
        assert balancer.read(path, method="POST")[0] == 405
    context = ssl.create_default_context(cafile=balancer.folder / "etc" / "tls" / "authority.crt")
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", balancer.metrics_port, timeout=10, context=context)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 403
    connection.close()


def test_operators_see_the_page_of_the_fleet_with_its_own_headers(balancer: Balancer) -> None:
    own = {
        "Content-Security-Policy": "default-src 'self'",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "same-origin",
    }
    balancer.page.told = own
    for case in ("plain", "keys"):
        balancer.case(case)
        for path in ("/fleet", "/fleet/static/page.css?v=1"):
            seen = balancer.ask(path, None, OPERATOR)
            assert seen.status == 200
            assert {name: seen.headers.get_all(name) for name in own} == {
                name: [value] for name, value in own.items()
            }
    refused = balancer.ask("/fleet", None)
    assert refused.status == 403
    assert "operators" in json.loads(refused.content)["error"]  # type: ignore[attr-defined]
    assert balancer.ask("/fleet", b"{}", OPERATOR).status == 405
    balancer.page.shutdown()
    balancer.page.server_close()
    away = balancer.ask("/fleet", None, OPERATOR)
    assert away.status == 502
    assert b"monitoring host mon does not answer" in away.content  # type: ignore[attr-defined]
    # The page is no endpoint's work: a release is not judged by it, and only what the load balancer refused is counted.
    balancer.case("plain")
    balancer.ask()
    assert requests(balancer.counted(3), "2xx") == 1
    wait_until(lambda: len(balancer.nginx.log()) == 8, "the access log lacks a line")
    assert [entry["slot"] for entry in balancer.nginx.log()] == [*[""] * 7, "blue"]
