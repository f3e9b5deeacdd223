"""Endpoints serve load balancers alone, and the registry takes images from its builder alone, firewall or not."""

from ansible_collections.flotilla.fleet.plugins.module_utils.certificate_store import Authority, Store
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import Pair, issue, make_authority

from certificates import pem
from fleet.fleet import Fleet
from fleet.machine import Machine, wait_until
from fleet.ports import BLUE, REGISTRY, REGISTRY_PUSH
from fleet.tls_question import REFUSED, answer


def authority(fleet: Fleet, name: str) -> Pair:
    """Return one of the authorities, which lie on this machine."""
    return Authority(Store(fleet.authorities), name, "").signing()


def of_engine(machine: Machine, registry: Machine, port: int) -> str:
    """Return the certificate with which the machine's engine asks a registry."""
    folder = f"/etc/docker/certs.d/{registry.address}:{port}"
    return machine.run("cat", f"{folder}/client.key", f"{folder}/client.cert")


def of_endpoint(node: Machine) -> str:
    """Return the certificate with which the node's endpoint serves."""
    return node.run("cat", f"/etc/flotilla/endpoints/{node.name}/server.pem")


def of_balancer(balancer: Machine) -> str:
    """Return the certificate with which Nginx asks endpoints."""
    return balancer.run("cat", "/etc/flotilla/nginx/tls/client.pem")


def test_an_endpoint_answers_the_load_balancer_s_certificate_alone(fleet: Fleet) -> None:
    balancer, builder = fleet.load_balancer, fleet.builder
    for node in fleet.nodes:
        others = [other for other in fleet.nodes if other != node]
        shown = {
            "none": "",
            "its own": of_endpoint(node),
            "the builder's": of_engine(builder, builder, REGISTRY_PUSH),
            "an expired one": pem(issue(authority(fleet, "balancers"), "balancer-lb1", "client", days=-1)),
            "another authority's": pem(issue(make_authority("load balancers"), "balancer-lb1", "client")),
        }
        shown |= {f"{other.name}'s machine's": of_engine(other, builder, REGISTRY) for other in others}
        shown |= {f"{other.name}'s endpoint's": of_endpoint(other) for other in others}
        # From the load balancer, which the firewall lets in.
        answers = {
            whose: answer(balancer, node, BLUE, certificate, "/v2/health/ready")
            for whose, certificate in shown.items()
        }
        assert set(answers.values()) == {REFUSED}, f"{node.name}: {answers}"
        assert answer(balancer, node, BLUE, of_balancer(balancer), "/v2/health/ready") == "200"


def test_a_node_pulls_and_does_not_push(fleet: Fleet) -> None:
    builder = fleet.builder
    node = fleet.nodes[0]
    own = of_engine(node, builder, REGISTRY)
    assert answer(node, builder, REGISTRY, own, "/v2/") == "200"
    assert answer(node, builder, REGISTRY, own, "/v2/flotilla/model-endpoint/blobs/uploads/", "POST") == "405"
    fleet_s = authority(fleet, "fleet")
    for whose, certificate in {
        "none": "",
        "a load balancer's": of_balancer(fleet.load_balancer),
        "an expired one": pem(issue(fleet_s, "machine", "client", days=-1)),
        "another authority's": pem(issue(make_authority("fleet"), "machine", "client")),
    }.items():
        assert answer(node, builder, REGISTRY, certificate, "/v2/") == REFUSED, whose


def test_the_builder_pushes_and_nobody_else_does(fleet: Fleet) -> None:
    builder = fleet.builder
    own = of_engine(builder, builder, REGISTRY_PUSH)
    assert answer(builder, builder, REGISTRY_PUSH, own, "/v2/") == "200"
    for whose, certificate in {
        "none": "",
        "a node's": of_engine(fleet.nodes[0], builder, REGISTRY),
        "its machine's": of_engine(builder, builder, REGISTRY),
        "a load balancer's": of_balancer(fleet.load_balancer),
        "an expired one": pem(issue(authority(fleet, "builder"), "builder", "client", days=-1)),
        "another authority's": pem(issue(make_authority("builder"), "builder", "client")),
    }.items():
        assert answer(builder, builder, REGISTRY_PUSH, certificate, "/v2/") == REFUSED, whose


def test_keys_are_read_by_those_who_show_them_alone(fleet: Fleet) -> None:
    keys = {
        balancer.name: (balancer, "/etc/flotilla/nginx/tls/client.pem", "10002")
        for balancer in fleet.load_balancers
    }
    keys |= {
        node.name: (node, f"/etc/flotilla/endpoints/{node.name}/server.pem", "10001") for node in fleet.nodes
    }
    for machine, path, owner in keys.values():
        assert machine.run("stat", "--format", "%u %a", path).split() == [owner, "400"], machine.name
        assert "PRIVATE KEY" not in machine.run("docker", "inspect", *machine.container_names())
    modes = {key.name: oct(key.stat().st_mode & 0o777) for key in fleet.authorities.glob("*.key")}
    assert set(modes.values()) == {"0o600"}, modes


def test_an_endpoint_that_shows_another_s_name_is_asked_nothing(fleet: Fleet) -> None:
    """Its certificate is the fleet's, but not that of the endpoint which is expected there."""
    node = fleet.nodes[0]
    own = of_endpoint(node)
    names = ["elsewhere.endpoint.flotilla"]
    show(node, pem(issue(authority(fleet, "fleet"), "endpoint-elsewhere", "server", names=names)))
    try:
        assert node.name not in answering(fleet)
    finally:
        show(node, own)
    wait_until(f"{node.name} answers again", lambda: answering(fleet) == fleet.weights().keys())


def answering(fleet: Fleet) -> set[str]:
    """Return which endpoints answer, where any does."""
    headers = [fleet.get("/v2/health/ready").headers for _ in range(50)]
    return {entry["X-Endpoint"] for entry in headers if "X-Endpoint" in entry}


def show(node: Machine, certificate: str) -> None:
    """Have the node's endpoint serve with a certificate, and wait until all its workers do."""
    node.run("tee", f"/etc/flotilla/endpoints/{node.name}/server.pem", stdin=certificate)
    (name,) = node.container_names()
    check = ("docker", "exec", name, "python3", "-m", "model_endpoint.runtime.golden_check", "--seconds", "5")
    wait_until(f"{node.name} serves with it", lambda: node.attempt(check).returncode == 0)
