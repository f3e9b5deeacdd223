"""TLS at the frontend: the internal authority's certificate, then one's own, renewed under load, then none.

The tests are one story: each starts from what the one before left.
"""

import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet import tls
from fleet.fleet import Fleet
from fleet.frontend import logged, shown_of_nginx
from fleet.load import PREDICTION, RIGHT, under_load
from fleet.machine import open_from_here
from fleet.playbook import attempt_playbook, changes, refusal, run_playbook
from fleet.ports import HTTP, HTTPS, REGISTRY, SSH, STATUS

NODES: dict[str, dict[str, int]] = {
    "node1": {"model_endpoint_weight": 3},
    "node2": {},
    "node3": {},
    "node4": {},
}
INTERNAL = {
    "nginx_lb_tls": "internal",
    "nginx_lb_tls_names": ["models.example"],
    "nginx_lb_tls_hsts_seconds": 60,
}
NAME = "models.example"
# Where the load balancer keeps the internal authority's certificate and its key.
PEM = "tls/frontend.pem"
GOOD = "ECDHE-ECDSA-AES128-GCM-SHA256"


def with_settings(fleet: Fleet, settings: Mapping[str, Any]) -> Fleet:
    return fleet.with_nodes(NODES, {"lb1": settings})


def deploy(fleet: Fleet, settings: Mapping[str, Any]) -> str:
    """Deploy with these settings of the load balancer and return all that the run wrote."""
    code, output = attempt_playbook("site.yml", with_settings(fleet, settings).inventory, "--diff", "-vvv")
    assert code == 0, output[-6000:]
    return output


def own_certificate(address: str, days: int) -> dict[str, str]:
    """The settings for a certificate of one's own, which nobody else has signed and which ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    # OpenSSL looks only at the first of those that it trusts by one name.
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, f"{NAME} {days}")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "nginx_lb_tls": "own",
        "nginx_lb_tls_certificate": certificate.public_bytes(pem).decode(),
        "nginx_lb_tls_key": key_pem.decode(),
    }


@pytest.fixture
def address(fleet: Fleet) -> str:
    return fleet.load_balancer.address


@pytest.fixture
def url(address: str) -> str:
    return f"https://{address}"


def test_the_key_passes_through_a_run_unseen(fleet: Fleet) -> None:
    output = deploy(fleet, INTERNAL)
    # The run shows what it changes, and the key is not in it.
    assert f"ssl_certificate_key /etc/nginx/{PEM}" in output
    assert "PRIVATE KEY" not in output
    balancer = fleet.load_balancer
    assert balancer.run("stat", "--format", "%a %u", f"/etc/flotilla/nginx/{PEM}").split() == ["400", "10002"]
    # That the log's line about this address is found shows that a key would be.
    requests.get(f"{fleet.url}/PRIVATE%20KEY", allow_redirects=False, timeout=10)
    logged(fleet, uri="/PRIVATE KEY")
    shown = "".join(
        shown_of_nginx(balancer, "cat /etc/flotilla/nginx/nginx.conf /var/log/flotilla/*").values()
    )
    keys = [line for line in shown.splitlines() if "PRIVATE KEY" in line]
    assert keys
    assert [line for line in keys if '"uri":"/PRIVATE KEY",' not in line] == []


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    assert sum(run_playbook("site.yml", with_settings(fleet, INTERNAL).inventory).values()) == 0


def test_its_certificate_holds_for_its_address_and_name(fleet: Fleet, address: str) -> None:
    trusting = tls.client(tls.authority(fleet))
    tls.agree(address, trusting)
    tls.agree(address, trusting, name=NAME)
    with pytest.raises(ssl.SSLCertVerificationError):
        tls.agree(address, trusting, name="other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        tls.agree(address, ssl.create_default_context())


def test_old_versions_and_weak_ciphers_are_refused(address: str) -> None:
    assert tls.agree(address, tls.client(version=tls.TLS_1_3)).version == "TLSv1.3"
    assert tls.agree(address, tls.client(version=tls.TLS_1_2, ciphers=GOOD)).cipher == GOOD
    for ciphers in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-CCM"):
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            tls.agree(address, tls.client(version=tls.TLS_1_2, ciphers=ciphers))
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            tls.agree(address, tls.client(version=version))


def test_http2_is_there_for_who_wants_it(address: str) -> None:
    for offered in (("h2", "http/1.1"), ("http/1.1",)):
        assert tls.agree(address, tls.client(protocols=offered)).protocol == offered[0]
    assert tls.speaks_http2(address, tls.client(protocols=("h2",)))


def test_who_comes_without_tls_is_sent_to_it(fleet: Fleet, url: str) -> None:
    sent = requests.post(f"{fleet.url}/predict?a=%20b", json=PREDICTION, allow_redirects=False, timeout=10)
    assert (sent.status_code, sent.headers["Location"]) == (308, f"{url}/predict?a=%20b")
    assert "Strict-Transport-Security" not in sent.headers
    answer = requests.post(
        f"{fleet.url}/predict", json=PREDICTION, verify=str(tls.authority(fleet)), timeout=10
    )
    assert answer.json()["predictions"] == RIGHT
    assert answer.headers["Strict-Transport-Security"] == "max-age=60"
    plain = requests.get(f"http://{fleet.load_balancer.address}:{HTTPS}/v2", timeout=10)
    assert (plain.status_code, "https" in plain.json()["error"]) == (400, True)


def test_ports_80_and_443_are_the_only_open_ones(fleet: Fleet) -> None:
    balancer = fleet.load_balancer
    tried = balancer.addressed(balancer.listening_ports() | {REGISTRY, STATUS})
    assert open_from_here(tried) == balancer.addressed({SSH, HTTP, HTTPS})


def test_other_playbooks_keep_the_certificate(fleet: Fleet, address: str) -> None:
    before = tls.agree(address, tls.client()).certificate
    inventory = with_settings(fleet, INTERNAL).inventory
    for operation in ("drain", "undrain"):
        run_playbook(f"playbooks/{operation}.yml", inventory, "--extra-vars", "node=node4")
        assert tls.agree(address, tls.client()).certificate == before


def test_a_renewed_certificate_costs_no_request_and_its_end_is_told(
    fleet: Fleet, address: str, url: str, tmp_path: Path
) -> None:
    first, second = own_certificate(address, 400), own_certificate(address, 20)
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(first["nginx_lb_tls_certificate"] + second["nginx_lb_tls_certificate"])
    deploy(fleet, first)
    with under_load([url], authority=trusted) as load:
        output = deploy(fleet, second)
        load.during(2)
    load.record().assert_nothing_lost()
    assert tls.agree(address, tls.client()).certificate == second["nginx_lb_tls_certificate"]
    warning = "lb1: the certificate that clients see ends in 20 days"
    assert f"warning: {warning}" in output.splitlines()[-1]
    assert fleet.load_balancer.run("sh", "-c", "ls /etc/flotilla/nginx/frontend | wc -l").strip() == "1"

    told = tmp_path / "status.json"
    inventory = with_settings(fleet, second).inventory
    refusal("playbooks/status.yml", inventory, "--extra-vars", f"status_file={told}")
    status = json.loads(told.read_text())
    end = x509.load_pem_x509_certificate(second["nginx_lb_tls_certificate"].encode()).not_valid_after_utc
    assert status["load_balancers"]["lb1"]["certificate_end"] == end.timestamp()
    assert [(entry["host"], entry["thing"], entry["found"]) for entry in status["differences"]] == [
        ("lb1", "certificate that clients see", f"ends in 20 days ({end:%Y-%m-%d %H:%M:%SZ})")
    ]


def test_without_tls_nothing_is_left_of_it(fleet: Fleet) -> None:
    output = deploy(fleet, {})
    assert changes(output)["lb1"] > 0
    balancer = fleet.load_balancer
    assert open_from_here(balancer.addressed({HTTP, HTTPS})) == balancer.addressed({HTTP})
    keys = balancer.run(
        "sh", "-c", "grep --recursive --files-with-matches 'PRIVATE KEY' /etc/flotilla/nginx"
    ).split()
    assert keys == ["/etc/flotilla/nginx/tls/client.pem"]
    fleet.with_nodes(NODES).assert_shares()
