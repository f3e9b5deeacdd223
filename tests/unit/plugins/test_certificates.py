"""Which certificates the fleet has, and on which machines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import (
    ENDPOINT_USER,
    EXPORTER_USER,
    NGINX_USER,
    PAGE_USER,
    PROMETHEUS_USER,
    Issued,
    balancer_certificates,
    fleet_certificates,
    frontend_certificates,
    frontend_names,
    machine_certificates,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import file_states, out_of_date

from small_fleet import GROUPS, HOSTVARS, REGISTRIES

WATCHED = {**GROUPS, "monitoring": ["watch"]}
WATCHING: dict[str, dict[str, Any]] = {**HOSTVARS, "watch": {"ansible_host": "10.0.0.50"}}

ROOT = Path(__file__).parents[3]


def test_a_frontend_certificate_holds_for_every_address_and_name_that_clients_use() -> None:
    tls = {"nginx_lb_tls": "internal", "virtual_address_ip": "10.0.0.100/24"}
    hostvars: dict[str, dict[str, Any]] = {
        **HOSTVARS,
        "lb1": {**tls, "ansible_host": "lb1.example", "nginx_lb_address": "10.0.0.1"},
        "lb2": {**HOSTVARS["lb2"], **tls, "nginx_lb_tls_names": ["models.example"]},
    }
    assert frontend_certificates(hostvars, GROUPS) == [
        {
            "name": "frontend-lb1",
            "usage": "server",
            "addresses": ["10.0.0.1", "10.0.0.100"],
            "names": ["lb1.example"],
        },
        {
            "name": "frontend-lb2",
            "usage": "server",
            "addresses": ["10.0.0.2", "10.1.0.2", "10.0.0.100"],
            "names": ["models.example"],
        },
    ]
    assert fleet_certificates(hostvars, GROUPS, "10.0.0.1")[-2:] == frontend_certificates(hostvars, GROUPS)
    assert frontend_certificates(HOSTVARS, GROUPS) == []


def test_every_machine_endpoint_and_load_balancer_has_a_certificate() -> None:
    certificates = fleet_certificates(
        {**HOSTVARS, "node2": {"ansible_host": "10.0.0.11"}}, GROUPS, "10.0.0.1"
    )
    assert certificates == [
        {"name": "registry", "usage": "server", "addresses": ["10.0.0.1"]},
        {"name": "builder", "usage": "client", "authority": "builder"},
        {"name": "machine-10.0.0.1", "usage": "client"},
        {"name": "machine-10.0.0.11", "usage": "client"},
        {"name": "machine-10.0.0.2", "usage": "client"},
        {"name": "endpoint-node1", "usage": "server", "names": ["node1.endpoint.flotilla"]},
        {"name": "endpoint-node2", "usage": "server", "names": ["node2.endpoint.flotilla"]},
        {"name": "balancer-lb1", "usage": "client", "authority": "balancers"},
        {"name": "balancer-lb2", "usage": "client", "authority": "balancers"},
    ]


def issued(hostvars: dict[str, dict[str, Any]], groups: dict[str, list[str]] = GROUPS) -> Issued:
    names = [entry["name"] for entry in fleet_certificates(hostvars, groups, "10.0.0.1")]
    return {
        "authorities": {
            name: f"authority {name}\n" for name in ("fleet", "balancers", "builder", "monitoring")
        },
        "certificates": {
            name: {"certificate": f"certificate {name}\n", "private_key": f"key {name}\n"} for name in names
        },
    }


def test_a_machine_gets_the_files_of_its_hosts_and_no_key_of_another_machine() -> None:
    hostvars = {**HOSTVARS, "node2": {"ansible_host": "10.0.0.1"}}  # beside the load balancer, which builds
    found = machine_certificates(hostvars, GROUPS, issued(hostvars), *REGISTRIES)
    assert found.keys() == {"10.0.0.1", "10.0.0.2", "10.0.0.11"}
    assert [file["path"] for file in found["10.0.0.1"]] == [
        "/etc/docker/certs.d/10.0.0.1:5000/ca.crt",
        "/etc/docker/certs.d/10.0.0.1:5000/client.cert",
        "/etc/docker/certs.d/10.0.0.1:5000/client.key",
        "/etc/docker/certs.d/10.0.0.1:5080/ca.crt",
        "/etc/docker/certs.d/10.0.0.1:5080/client.cert",
        "/etc/docker/certs.d/10.0.0.1:5080/client.key",
        "/etc/flotilla/endpoints/node2/clients.crt",
        "/etc/flotilla/endpoints/node2/server.pem",
        "/etc/flotilla/nginx/tls/servers.crt",
        "/etc/flotilla/nginx/tls/client.pem",
    ]
    node = {file["path"]: file for file in found["10.0.0.11"]}
    assert [file["content"] for file in node.values()] == [
        "authority fleet\n",
        "certificate machine-10.0.0.11\n",
        "key machine-10.0.0.11\n",
        "authority balancers\n",
        "key endpoint-node1\ncertificate endpoint-node1\n",
    ]
    key = node["/etc/flotilla/endpoints/node1/server.pem"]
    assert (key["mode"], key["owner"]) == ("0400", 10001)
    assert node["/etc/docker/certs.d/10.0.0.1:5000/client.key"]["mode"] == "0600"


def test_a_load_balancer_with_tls_of_the_internal_ca_gets_a_frontend_certificate() -> None:
    hostvars = {**HOSTVARS, "lb2": {**HOSTVARS["lb2"], "nginx_lb_tls": "internal"}}
    found = machine_certificates(hostvars, GROUPS, issued(hostvars), *REGISTRIES)
    assert found["10.0.0.2"][-1] == {
        "path": "/etc/flotilla/nginx/tls/frontend.pem",
        "content": "key frontend-lb2\ncertificate frontend-lb2\n",
        "mode": "0400",
        "owner": 10002,
    }
    assert not any("frontend" in file["path"] for file in found["10.0.0.1"])


def test_clients_know_a_load_balancer_by_the_names_of_its_certificate_and_by_those_that_are_set() -> None:
    names = ["Models.example", "*.models.example"]
    shown = issue(make_authority("test"), "lb1", "server", ["10.0.0.1"], names)[0]
    chain = certificate_pem(shown) + certificate_pem(make_authority("issuer")[0])
    assert frontend_names(chain, ["10.0.0.2", "10.0.0.1", "proxy.example", "", "lb 1; }"]) == [
        "*.models.example",
        "10.0.0.1",
        "10.0.0.2",
        "models.example",
        "proxy.example",
    ]
    assert frontend_names(certificate_pem(make_authority("no names")[0]), []) == []
    assert frontend_names("", ["10.0.0.1"]) == ["10.0.0.1"]


def test_written_files_are_up_to_date() -> None:
    files = machine_certificates(HOSTVARS, GROUPS, issued(HOSTVARS), *REGISTRIES)["10.0.0.2"]
    assert out_of_date(files, file_states(files)) == []


def test_the_hash_of_a_load_balancer_s_certificates_ignores_other_files() -> None:
    present = {
        "/etc/flotilla/nginx/tls/client.pem": "a:0400:10002",
        "/etc/flotilla/nginx/nginx.conf": "b:0644:0",
    }
    told = balancer_certificates(present)
    assert told == balancer_certificates({**present, "/etc/flotilla/nginx/nginx.conf": "c:0644:0"})
    assert told != balancer_certificates({**present, "/etc/flotilla/nginx/tls/client.pem": "c:0400:10002"})
    assert told != balancer_certificates({})
    frontend = "/etc/flotilla/nginx/tls/frontend.pem"
    assert told != balancer_certificates({**present, frontend: "d:0400:10002"})
    assert told == balancer_certificates({**present, frontend: "d:0400:10002"}, [frontend])


def test_a_key_belongs_to_the_user_of_the_container_that_reads_it() -> None:
    def user(role: str, file: str) -> object:
        return yaml.safe_load((ROOT / "roles" / role / "vars" / file).read_text())[f"__{role}_user"]

    (in_image,) = re.findall(r"^USER (\d+):", (ROOT / "model_endpoint" / "Dockerfile").read_text(), re.M)
    assert int(in_image) == user("model_endpoint", "main.yml") == ENDPOINT_USER
    assert user("nginx_lb", "main.yml") == NGINX_USER


def test_a_fleet_with_a_monitoring_host_has_the_certificates_to_tell_and_to_read_metrics() -> None:
    without = fleet_certificates(HOSTVARS, GROUPS, "10.0.0.1")
    added = [entry for entry in fleet_certificates(WATCHING, WATCHED, "10.0.0.1") if entry not in without]
    assert added == [
        {"name": "machine-10.0.0.50", "usage": "client"},
        {"name": "monitoring", "usage": "client", "authority": "monitoring"},
        {"name": "fleet-page", "usage": "server", "names": ["fleet-page.flotilla"]},
        {"name": "metrics-lb1", "usage": "server", "names": ["balancer.flotilla"]},
        {"name": "metrics-lb2", "usage": "server", "names": ["balancer.flotilla"]},
        *(
            {"name": f"exporter-{address}", "usage": "server", "addresses": [address], "names": []}
            for address in ("10.0.0.1", "10.0.0.11", "10.0.0.12", "10.0.0.2", "10.0.0.50")
        ),
    ]


def test_the_key_that_metrics_are_read_with_is_on_the_monitoring_host_alone() -> None:
    found = machine_certificates(WATCHING, WATCHED, issued(WATCHING, WATCHED), *REGISTRIES)
    keys = {
        place: [file["path"] for file in files if "key monitoring\n" in file["content"]]
        for place, files in found.items()
    }
    assert {place: paths for place, paths in keys.items() if paths} == {
        "10.0.0.50": ["/etc/flotilla/prometheus/tls/client.pem"]
    }


def test_what_tells_metrics_trusts_the_authority_of_monitoring_and_nothing_else_does() -> None:
    found = machine_certificates(WATCHING, WATCHED, issued(WATCHING, WATCHED), *REGISTRIES)
    trusting = {
        (place, file["path"])
        for place, files in found.items()
        for file in files
        if "authority monitoring\n" in file["content"]
    }
    exporters = {(place, "/etc/flotilla/node_exporter/clients.crt") for place in found}
    balancers = {(place, "/etc/flotilla/nginx/tls/monitoring.crt") for place in ("10.0.0.1", "10.0.0.2")}
    assert trusting == exporters | balancers
    assert not any(
        "/node_exporter/" in file["path"] or "metrics" in file["path"]
        for files in machine_certificates(HOSTVARS, GROUPS, issued(HOSTVARS), *REGISTRIES).values()
        for file in files
    ), "without a monitoring host there is nothing that tells metrics"


def test_the_files_of_the_monitoring_host_belong_to_the_programs_that_read_them() -> None:
    found = machine_certificates(WATCHING, WATCHED, issued(WATCHING, WATCHED), *REGISTRIES)["10.0.0.50"]
    owners = {file["path"]: (file.get("mode", "0644"), file.get("owner", 0)) for file in found}
    assert owners["/etc/flotilla/prometheus/tls/client.pem"] == ("0400", PROMETHEUS_USER)
    assert owners["/etc/flotilla/prometheus/tls/machine.pem"] == ("0400", PROMETHEUS_USER)
    assert owners["/etc/flotilla/node_exporter/server.pem"] == ("0400", EXPORTER_USER)
    assert owners["/etc/flotilla/fleet_page/server.pem"] == ("0400", PAGE_USER)
