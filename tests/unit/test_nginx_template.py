"""The load balancers' configuration, rendered by Ansible: blue alone, a canary, a shadow, bounds on clients, TLS."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import inspected_settings
from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import file_state
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import certificate_pem, make_authority
from ansible_collections.flotilla.fleet.plugins.modules import nginx_configuration

from plays import results_of

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "nginx_lb"

CERTIFICATE = certificate_pem(make_authority("test")[0])
UP = {"status": "up", "share": 100, "since": 1, "reason": ""}
BLUE: dict[str, Any] = {
    "serial": 1,
    "live_slot": "blue",
    "live": {"id": "aaaaaaaaaaaa", "settings": {"common": {"workers": 2, "threads": 1}, "nodes": {}}},
    "candidate": None,
    "previous": [],
    "nodes": {"n1": UP, "n2": {**UP, "share": 25}, "n3": {**UP, "status": "down"}},
    "drained": [],
}
CANDIDATE = {
    "release": {
        "id": "bbbbbbbbbbbb",
        "settings": {"common": {"workers": 2, "threads": 1}, "nodes": {"n2": {"workers": 100}}},
    },
    "percent": 12.5,
    "shadow": 0.0,
    "nodes": ["n1", "n2"],
}
STATES = {
    "blue": BLUE,
    "canary": {**BLUE, "candidate": CANDIDATE},
    "shadow": {**BLUE, "candidate": {**CANDIDATE, "percent": 0.0, "shadow": 10.0}},
    "guarded": BLUE,
    "tls": BLUE,
    "internal": BLUE,
    "most 5": BLUE,
    "most 1": BLUE,
    "ipv4": BLUE,
    "no ipv6": BLUE,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "most 5": {"nginx_lb_max_conns": 5},
    "most 1": {"nginx_lb_max_conns": 1},
    "ipv4": {"nginx_lb_ipv6": False},
    "no ipv6": {"flotilla_machine": {"ipv6": False, "files": {}}},
    "canary": {"virtual_address_ip": "192.0.2.100"},
    "guarded": {"nginx_lb_quotas": {"/invocations": 5, "/v2/models/a.b": 2}},
    "tls": {
        "nginx_lb_tls": "own",
        "nginx_lb_tls_port": 8443,
        "nginx_lb_tls_certificate": CERTIFICATE,
        "nginx_lb_tls_key": "key",
        "nginx_lb_tls_hsts_seconds": 60,
    },
    "internal": {"nginx_lb_tls": "internal"},
}
# As the engine tells of the container that an earlier version, which labelled it otherwise, has run.
EARLIER_CONTAINER = {
    "running": True,
    "health": "",
    "image": "10.0.0.1:5000/flotilla/nginx@sha256:1",
    "image_id": "sha256:id",
    "labels": {"flotilla.role": "load_balancer", "flotilla.recipe": "0" * 64},
    "newer_files": True,
    "settings": inspected_settings(
        {
            "Config": {"Cmd": ["/usr/sbin/nginx"], "User": "10002:10002"},
            "HostConfig": {
                "Binds": ["/etc/flotilla/nginx:/etc/nginx:ro", "/var/log/flotilla:/var/log/nginx:rw"],
                "CapAdd": ["NET_BIND_SERVICE"],
                "CapDrop": ["ALL"],
                "LogConfig": {"Type": "json-file", "Config": {"max-file": "3", "max-size": "50m"}},
                "Memory": 512 * 1024 * 1024,
                "NetworkMode": "host",
                "PidsLimit": 256,
                "ReadonlyRootfs": True,
                "RestartPolicy": {"Name": "unless-stopped"},
                "Tmpfs": {"/run/nginx": "uid=10002,gid=10002,mode=0700,size=256m"},
            },
        }
    ),
}
EARLIER_FILES = [f"/etc/flotilla/nginx/{name}" for name in ("door/0123.pem", "tls/door.pem")]
OTHER_FILES = [f"/etc/flotilla/nginx/{name}" for name in ("nginx.conf", "tls/client.pem", "tls/servers.crt")]
# Fact flotilla_machine of a load balancer that also builds the images.
MACHINE = {
    "ipv6": True,
    "containers": {"flotilla-nginx": EARLIER_CONTAINER},
    "files": dict.fromkeys([*EARLIER_FILES, *OTHER_FILES, "/etc/flotilla/nginx/frontend/0123.pem"], ""),
    "images": "{{ {'10.0.0.1:5080/' ~ __nginx_lb_image: 'sha256:id'} }}",
}
CONFIGURATION = "return 200 '@VERSION@\\n';\n"
HOSTS = """
[load_balancers]
lb flotilla_first_host=lb
[load_balancers:vars]
flotilla_machine={'ipv6': True, 'files': {'/etc/flotilla/nginx/tls/client.pem': '5f70:0400:10002'}}
[model_nodes]
n1 ansible_host=192.0.2.11 model_endpoint_weight=3
n2 ansible_host=192.0.2.12
n3 ansible_host=2001:db8::13
"""

# What the configuration has only for certificates by ACME.
ORDERED = ("acme", "renew", "alias ", "well-known")

# What the configuration has only for a monitoring host.
MONITORED = (
    "request_counts",
    "log_format counted",
    "counted.log",
    "/fleet",
    "fleet-page",
    "/endpoints/",
    "monitoring.crt",
)


def render_play() -> dict[str, Any]:
    """A play that renders every configuration, and what the role finds about the container.

    One task renders all configurations: each task is a process of its own, which would load all filters anew.
    """
    template = f"lookup('ansible.builtin.template', '{ROLE}/templates/nginx.conf.j2', template_vars=item)"
    sticky = {"nginx_lb_sticky_header": "X-API-Key"}
    (wanted,) = yaml.safe_load((ROLE / "tasks" / "wanted.yml").read_text())
    found = {
        "image": "{{ __nginx_lb_image }}",
        "file": wanted["ansible.builtin.set_fact"]["nginx_lb_wanted"]["configuration"],
        "current": "{{ __nginx_lb_current }}",
        "files_left": "{{ __nginx_lb_files_left }}",
    }
    return {
        "name": "Render the configurations",
        "hosts": "lb",
        "gather_facts": False,
        "vars": {"role_path": str(ROLE)},
        "vars_files": [f"{ROLE}/defaults/main.yml", f"{ROLE}/vars/main.yml"],
        "tasks": [
            {
                "name": "Render the configurations",
                "ansible.builtin.debug": {"msg": f"{{{{ {template} }}}}"},
                "loop": [
                    {"nginx_lb_state": state, **sticky, **SETTINGS.get(name, {})}
                    for name, state in STATES.items()
                ],
            },
            {"name": "Pretend to inspect", "ansible.builtin.set_fact": {"flotilla_machine": MACHINE}},
            *(
                {
                    "name": f"Compare the container with one of {memory}",
                    "ansible.builtin.debug": {"msg": found},
                    "vars": {
                        "nginx_lb_tls": "internal",
                        "nginx_lb_memory": memory,
                        "__nginx_lb_configuration": CONFIGURATION,
                    },
                }
                for memory in ("512m", "1g")
            ),
        ],
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The result of each task of the play."""
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "render.json").write_text(json.dumps([render_play()]))
    (folder / "hosts.ini").write_text(HOSTS)
    return results_of(folder / "render.json", folder / "hosts.ini", "lb")


@pytest.fixture(scope="module")
def configurations(results: list[dict[str, Any]]) -> dict[str, str]:
    """The text of the configuration by the name of the state."""
    texts = [result["msg"] for result in results[0]["results"]]
    return dict(zip(STATES, texts, strict=True))


def block(configuration: str, head: str) -> list[str]:
    """The lines, without comments, of the first block of that head that holds no other; none where there is none."""
    found = re.search(rf"^\s*{re.escape(head)} \{{\n(.*?)^\s*\}}$", configuration, re.MULTILINE | re.DOTALL)
    lines = found.group(1).splitlines() if found else []
    return [" ".join(line.split()) for line in lines if line.strip() and not line.strip().startswith("#")]


def servers(configuration: str, slot: str) -> list[str]:
    return [line for line in block(configuration, f"upstream flotilla_{slot}") if line.startswith("server ")]


LIMITS = "max_fails=10 fail_timeout=2s;"


@pytest.mark.parametrize("name", ["blue", "canary", "shadow", "guarded"])
def test_the_live_slot_has_every_node_by_its_share(configurations: dict[str, str], name: str) -> None:
    assert servers(configurations[name], "blue") == [
        f"server 192.0.2.11:5001 weight=300 max_conns=64 {LIMITS}",
        f"server 192.0.2.12:5001 weight=25 max_conns=64 {LIMITS}",
        "server [2001:db8::13]:5001 down;",
        "server 192.0.2.11:5001 backup max_conns=64 max_fails=0;",
        "server 192.0.2.12:5001 backup max_conns=64 max_fails=0;",
    ]


@pytest.mark.parametrize(("most", "halves"), [(5, (3, 2)), (1, (1, 1))])
def test_what_an_endpoint_is_given_is_halved_between_a_server_and_its_copy(
    configurations: dict[str, str], most: int, halves: tuple[int, int]
) -> None:
    first, _, _, copy, _ = servers(configurations[f"most {most}"], "blue")
    assert f"max_conns={halves[0]} " in first
    assert f"max_conns={halves[1]} " in copy


def test_blue_alone_takes_all_requests(configurations: dict[str, str]) -> None:
    configuration = configurations["blue"]
    assert servers(configuration, "green") == []
    assert block(configuration, 'map "" $flotilla_split') == ["default blue;"]
    assert block(configuration, "map $http_x_release $flotilla_slot") == [
        '"" $flotilla_split;',
        "aaaaaaaaaaaa blue;",
        'default "";',
    ]
    assert "mirror" not in configuration


@pytest.mark.parametrize("name", ["ipv4", "no ipv6"])
def test_nginx_listens_by_ipv6_where_the_machine_has_it_and_its_owner_wants_it(
    configurations: dict[str, str], name: str
) -> None:
    assert "listen [::]:80 default_server ipv6only=on;" in configurations["blue"]
    assert "listen 80 default_server;" in configurations[name]
    assert "[::]" not in configurations[name]


def test_a_canary_gets_its_share_by_the_client_s_key(configurations: dict[str, str]) -> None:
    configuration = configurations["canary"]
    assert servers(configuration, "green") == [
        f"server 192.0.2.11:5002 weight=300 max_conns=64 {LIMITS}",
        f"server 192.0.2.12:5002 weight=100 max_conns=100 {LIMITS}",
        "server 192.0.2.11:5002 backup max_conns=64 max_fails=0;",
        "server 192.0.2.12:5002 backup max_conns=100 max_fails=0;",
    ]
    assert block(configuration, "map $http_x_api_key $flotilla_canary_key") == [
        '"" $request_id;',
        "default $http_x_api_key;",
    ]
    assert block(configuration, "split_clients $flotilla_canary_key $flotilla_split") == [
        "12.50% green;",
        "* blue;",
    ]
    assert "bbbbbbbbbbbb green;" in block(configuration, "map $http_x_release $flotilla_slot")
    assert "mirror" not in configuration


def test_a_shadow_gets_copies_and_no_request_of_its_own(configurations: dict[str, str]) -> None:
    configuration = configurations["shadow"]
    assert block(configuration, "split_clients $flotilla_canary_key $flotilla_split") == ["* blue;"]
    assert block(configuration, 'split_clients "$request_id shadow" $flotilla_shadow') == [
        "10.00% 1;",
        '* "";',
    ]
    assert "proxy_pass https://flotilla_green$request_uri;" in block(configuration, "location = /_staged")
    assert len(servers(configuration, "green")) == 4


def test_behind_a_virtual_address_it_tells_whether_it_could_answer(configurations: dict[str, str]) -> None:
    assert servers(configurations["canary"], "ready") == [
        "server 192.0.2.11:5001 max_fails=0;",
        "server 192.0.2.12:5001 max_fails=0;",
    ]
    asked = block(configurations["canary"], "location = /_lb/ready")
    assert asked[0] == "proxy_pass https://flotilla_ready/v2/health/ready;"
    assert "ready" not in configurations["blue"]


def test_a_quota_is_for_what_lies_below_its_route(configurations: dict[str, str]) -> None:
    configuration = configurations["guarded"]
    assert block(configuration, "map $uri $flotilla_quota_2") == [
        r'"~^/v2/models/a\.b(/|$)" $flotilla_client;',
        'default "";',
    ]
    assert "limit_req_zone $flotilla_quota_2 zone=flotilla_quota_2:10m rate=2r/s;" in configuration
    # Twice: for requests with a valid key, and for those without.
    assert configuration.count("limit_req zone=flotilla_quota_2 ") == 2
    assert "limit_req zone" not in configurations["blue"]


def test_the_file_of_the_certificate_that_clients_are_shown_is_named_by_its_content(
    configurations: dict[str, str],
) -> None:
    digest = hashlib.sha256(f"{CERTIFICATE}\nkey\n".encode()).hexdigest()[:16]
    for name, port, file in (("tls", 8443, f"frontend/{digest}.pem"), ("internal", 443, "tls/frontend.pem")):
        assert f"listen {port} ssl default_server;" in configurations[name]
        assert f"listen [::]:{port} ssl default_server ipv6only=on;" in configurations[name]
        assert f"    ssl_certificate /etc/nginx/{file};" in configurations[name]
        assert f"    ssl_certificate_key /etc/nginx/{file};" in configurations[name]
        assert "-----" not in configurations[name]
    assert " ssl_certificate" not in configurations["blue"]


def test_who_comes_without_tls_is_sent_to_it(configurations: dict[str, str]) -> None:
    asked = "if ($flotilla_proto = http)"
    assert block(configurations["tls"], asked) == ["return 308 https://$flotilla_name:8443$request_uri;"]
    assert block(configurations["internal"], asked) == ["return 308 https://$flotilla_name$request_uri;"]
    assert block(configurations["blue"], asked) == []


def test_browsers_are_to_insist_on_tls_by_choice(configurations: dict[str, str]) -> None:
    assert "https max-age=60;" in block(configurations["tls"], "map $flotilla_proto $flotilla_hsts")
    assert "Strict-Transport-Security" not in configurations["internal"]


@pytest.mark.parametrize(("name", "ports"), [("blue", [5001]), ("canary", [5001, 5002])])
def test_each_endpoint_is_expected_to_show_its_own_name(
    configurations: dict[str, str], name: str, ports: list[int]
) -> None:
    names = block(configurations[name], "map $flotilla_endpoint_address $flotilla_endpoint_name")
    nodes = {"n1": "192.0.2.11", "n2": "192.0.2.12", "n3": "[2001:db8::13]"}
    # n3 is down, and has no candidate.
    assert names[2:] == [
        f"{address}:{port} {node}.endpoint.flotilla;"
        for port in ports
        for node, address in nodes.items()
        if (node, port) != ("n3", 5002)
    ]


@pytest.mark.parametrize("name", STATES)
def test_the_version_is_left_for_the_module_to_fill_in(configurations: dict[str, str], name: str) -> None:
    assert block(configurations[name], "location = /_lb/version") == [r"return 200 '@VERSION@\n';"]
    assert configurations[name].count("{") == configurations[name].count("}")


@pytest.mark.parametrize("name", ["blue", "canary", "shadow", "guarded", "internal"])
def test_without_a_monitoring_host_the_configuration_has_nothing_for_it(
    configurations: dict[str, str], name: str
) -> None:
    """Where this fails, a fleet without metrics pays for them, and is reloaded at its next deployment."""
    templates = "".join(path.read_text() for path in (ROLE / "templates").glob("*.conf.j2"))
    assert [word for word in MONITORED if word not in templates] == []
    assert [word for word in MONITORED if word in configurations[name]] == []


@pytest.mark.parametrize("name", STATES)
def test_without_a_certificate_by_acme_the_configuration_has_nothing_for_it(
    configurations: dict[str, str], name: str
) -> None:
    """Where this fails, a fleet without it is reloaded at its next deployment."""
    templates = "".join(path.read_text() for path in (ROLE / "templates").glob("*.conf.j2"))
    assert [word for word in ORDERED if word not in templates] == []
    assert [word for word in ORDERED if word in configurations[name]] == []


def test_the_image_has_the_name_that_earlier_versions_gave_it(results: list[dict[str, Any]]) -> None:
    """Where this fails, the recipe or a script has changed: Nginx is restarted at the next deployment of a fleet."""
    assert results[2]["msg"]["image"] == "flotilla/nginx:44702f4fc887"


def test_the_container_of_an_earlier_version_is_kept_if_it_is_as_it_should_be(
    results: list[dict[str, Any]],
) -> None:
    same, more_memory = results[2:]
    assert same["msg"]["current"] is True
    assert more_memory["msg"]["current"] is False


def test_the_file_that_status_wants_is_the_one_that_the_module_writes(results: list[dict[str, Any]]) -> None:
    written = CONFIGURATION.replace("@VERSION@", nginx_configuration.version_of(CONFIGURATION))
    mode = nginx_configuration.CONFIGURATION_MODE
    assert results[2]["msg"]["file"] == file_state(written.encode(), mode, 10002)


def test_files_of_certificates_that_are_no_longer_shown_are_found_by_their_earlier_names_too(
    results: list[dict[str, Any]],
) -> None:
    wanted = {*EARLIER_FILES, "/etc/flotilla/nginx/frontend/0123.pem"}
    assert set(results[2]["msg"]["files_left"]) == wanted
