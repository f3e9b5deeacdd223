"""The certificate that metrics are read with reads metrics, and nothing else; and nobody reads them without it."""

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.certificate_store import Authority, Store
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import issue, make_authority

from certificates import pem
from fleet.fleet import Fleet
from fleet.load import PREDICTION
from fleet.ports import BLUE, EXPORTER, GREEN, HTTP, METRICS, REGISTRY, REGISTRY_PUSH
from fleet.tls_question import REFUSED, UNREACHABLE, answer


@pytest.fixture
def reading(fleet: Fleet) -> str:
    """The certificate that Prometheus shows."""
    return fleet.monitoring.run("cat", "/etc/flotilla/prometheus/tls/client.pem")


def test_it_reads_metrics(fleet: Fleet, reading: str) -> None:
    for machine in fleet.machines:
        assert answer(fleet.monitoring, machine, EXPORTER, reading, "/metrics") == "200", machine.name
    for balancer in fleet.load_balancers:
        assert answer(fleet.monitoring, balancer, METRICS, reading, "/metrics") == "200", balancer.name
        found = {
            slot: answer(fleet.monitoring, balancer, METRICS, reading, f"/endpoints/node1/{slot}/metrics")
            for slot in ("blue", "green")
        }
        assert sorted(found.values()) == ["200", "404"], "one slot of a node is live"


def test_a_prediction_with_it_is_refused(fleet: Fleet, reading: str) -> None:
    body = str(PREDICTION).replace("'", '"')
    for balancer in fleet.load_balancers:
        for path in (
            "/predict",
            "/endpoints/node1/blue/predict",
            "/endpoints/node1/green/predict",
            "/metrics",
        ):
            for method in ("POST", "GET") if path != "/metrics" else ("POST",):
                found = answer(fleet.monitoring, balancer, METRICS, reading, path, method, body)
                assert found in {"403", "404", "405"}, f"{balancer.name}: {method} {path}: {found}"
        assert answer(fleet.monitoring, balancer, HTTP, reading, "/predict", "POST", body) in {"400", REFUSED}
    # From the load balancer, which the firewall lets in.
    for node in fleet.nodes:
        for path, method, sent in (("/predict", "POST", body), ("/metrics", "GET", "")):
            slots = [
                answer(fleet.load_balancer, node, port, reading, path, method, sent) for port in (BLUE, GREEN)
            ]
            assert sorted(slots) == [REFUSED, UNREACHABLE], "one slot of a node is live"


def test_it_pulls_no_image_and_pushes_none(fleet: Fleet, reading: str) -> None:
    for port in (REGISTRY, REGISTRY_PUSH):
        assert answer(fleet.builder, fleet.builder, port, reading, "/v2/") == REFUSED


def test_no_other_certificate_reads_metrics(fleet: Fleet) -> None:
    monitoring = Authority(Store(fleet.authorities), "monitoring", "").signing()
    node, balancer = fleet.nodes[0], fleet.load_balancer
    shown = {
        "none": "",
        "a machine's": fleet.monitoring.run("cat", "/etc/flotilla/prometheus/tls/machine.pem"),
        "an endpoint's": node.run("cat", f"/etc/flotilla/endpoints/{node.name}/server.pem"),
        "a load balancer's": balancer.run("cat", "/etc/flotilla/nginx/tls/client.pem"),
        "an exporter's": node.run("cat", "/etc/flotilla/node_exporter/server.pem"),
        "an expired one": pem(issue(monitoring, "monitoring", "client", days=-1)),
        "another authority's": pem(issue(make_authority("monitoring"), "monitoring", "client")),
    }
    for whose, certificate in shown.items():
        assert answer(fleet.monitoring, node, EXPORTER, certificate, "/metrics") == REFUSED, whose
        # Nginx answers a client without a certificate of the authority that it has none.
        assert answer(fleet.monitoring, balancer, METRICS, certificate, "/metrics") in {"403", REFUSED}, whose


def test_the_monitoring_host_alone_reaches_the_ports_of_metrics(fleet: Fleet) -> None:
    ports = {
        *(port for machine in fleet.machines for port in machine.addressed({EXPORTER})),
        *(port for balancer in fleet.load_balancers for port in balancer.addressed({METRICS})),
    }
    assert fleet.monitoring.reaches(ports) == ports
    for other in (fleet.outsider, fleet.nodes[0], fleet.load_balancers[1]):
        own = {port for port in ports if port.startswith(f"{other.address}:")}
        assert other.reaches(ports) <= own, other.name
