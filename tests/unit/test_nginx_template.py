"""The load balancers' configuration, rendered by Ansible from three states: blue alone, a canary, a shadow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "nginx_lb"

UP = {"status": "up", "share": 100, "since": 1, "reason": ""}
BLUE: dict[str, Any] = {
    "serial": 1,
    "colour": "blue",
    "live": {"id": "aaaaaaaaaaaa"},
    "candidate": None,
    "previous": [],
    "nodes": {"n1": UP, "n2": {**UP, "share": 25}, "n3": {**UP, "status": "down"}},
    "drained": [],
}
CANDIDATE = {"release": {"id": "bbbbbbbbbbbb"}, "percent": 12.5, "shadow": 0.0, "nodes": ["n1", "n2"]}
STATES = {
    "blue": BLUE,
    "canary": {**BLUE, "candidate": CANDIDATE},
    "shadow": {**BLUE, "candidate": {**CANDIDATE, "percent": 0.0, "shadow": 10.0}},
}
HOSTS = """
[load_balancers]
lb flotilla_first_host=lb flotilla_machine="{'files': {'/etc/flotilla/nginx/tls/client.pem': '5f70:0400:10002'}}"
[model_nodes]
n1 ansible_host=192.0.2.11 model_endpoint_weight=3
n2 ansible_host=192.0.2.12
n3 ansible_host=2001:db8::13
"""


@pytest.fixture(scope="module")
def configurations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of the configuration by the name of the state."""
    folder = tmp_path_factory.mktemp("nginx")
    render = {
        "name": "Render the configuration",
        "ansible.builtin.copy": {
            "content": f"{{{{ lookup('ansible.builtin.template', '{ROLE}/templates/nginx.conf.j2') }}}}",
            "dest": f"{folder}/{{{{ item.key }}}}.conf",
            "mode": "0644",
        },
        "vars": {"__nginx_lb_state": "{{ item.value }}", "nginx_lb_canary_key": "X-API-Key"},
        "loop": "{{ states | dict2items }}",
        "loop_control": {"label": "{{ item.key }}"},
    }
    play = {
        "name": "Render the configurations",
        "hosts": "lb",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "states": STATES,
            "ansible_python_interpreter": sys.executable,
        },
        "vars_files": [f"{ROLE}/defaults/main.yml", f"{ROLE}/vars/main.yml"],
        "tasks": [render],
    }
    (folder / "render.yml").write_text(yaml.safe_dump(json.loads(json.dumps([play]))))  # without aliases
    (folder / "hosts.ini").write_text(HOSTS)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "hosts.ini")]
    result = subprocess.run(
        [*command, str(folder / "render.yml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: (folder / f"{name}.conf").read_text() for name in STATES}


def block(configuration: str, head: str) -> list[str]:
    """The lines, without comments, of the first block of that head that holds no other; none where there is none."""
    found = re.search(rf"^\s*{re.escape(head)} \{{\n(.*?)^\s*\}}$", configuration, re.MULTILINE | re.DOTALL)
    lines = found.group(1).splitlines() if found else []
    return [" ".join(line.split()) for line in lines if line.strip() and not line.strip().startswith("#")]


def servers(configuration: str, colour: str) -> list[str]:
    return [
        line for line in block(configuration, f"upstream flotilla_{colour}") if line.startswith("server ")
    ]


LIMITS = "max_conns=64 max_fails=10 fail_timeout=2s;"
BACKUPS = [
    "server 192.0.2.11:{} backup max_conns=64 max_fails=0;",
    "server 192.0.2.12:{} backup max_conns=64 max_fails=0;",
]


@pytest.mark.parametrize("name", STATES)
def test_the_live_colour_has_every_node_by_its_share(configurations: dict[str, str], name: str) -> None:
    assert servers(configurations[name], "blue") == [
        f"server 192.0.2.11:5001 weight=300 {LIMITS}",
        f"server 192.0.2.12:5001 weight=25 {LIMITS}",
        "server [2001:db8::13]:5001 down;",
        *[backup.format(5001) for backup in BACKUPS],
    ]


def test_blue_alone_takes_all_requests(configurations: dict[str, str]) -> None:
    configuration = configurations["blue"]
    assert servers(configuration, "green") == []
    assert block(configuration, 'map "" $flotilla_split') == ["default blue;"]
    assert block(configuration, "map $http_x_release $flotilla_colour") == [
        '"" $flotilla_split;',
        "aaaaaaaaaaaa blue;",
        'default "";',
    ]
    assert "mirror" not in configuration


def test_a_canary_gets_its_share_by_the_client_s_key(configurations: dict[str, str]) -> None:
    configuration = configurations["canary"]
    assert servers(configuration, "green") == [
        f"server 192.0.2.11:5002 weight=300 {LIMITS}",
        f"server 192.0.2.12:5002 weight=100 {LIMITS}",
        *[backup.format(5002) for backup in BACKUPS],
    ]
    assert block(configuration, "map $http_x_api_key $flotilla_canary_key") == [
        '"" $request_id;',
        "default $http_x_api_key;",
    ]
    assert block(configuration, "split_clients $flotilla_canary_key $flotilla_split") == [
        "12.50% green;",
        "* blue;",
    ]
    assert "bbbbbbbbbbbb green;" in block(configuration, "map $http_x_release $flotilla_colour")
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
