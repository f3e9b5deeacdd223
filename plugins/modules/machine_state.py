#!/usr/bin/python
"""Runs on hosts: reads in one call what a run has to know of a machine."""

from __future__ import annotations

import array
import fcntl
import http.client
import json
import os
import pathlib
import platform
import socket
import ssl
import struct
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    has_newer_files,
    inspected_settings,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.docker_engine import Engine
from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import present_state
from ansible_collections.flotilla.fleet.plugins.module_utils.firewall_rules import found_firewall
from ansible_collections.flotilla.fleet.plugins.module_utils.nginx_status import (
    ANSWER_TIMEOUT,
    served_version,
)

DOCUMENTATION = r"""
module: machine_state
short_description: Read the state of a machine
description:
  - Runs on hosts, and changes nothing.
  - Returns in one call what a run compares with what it wants, so that later tasks ask nothing again and act only where
    there is a difference.
  - Needs only Python and root's rights. A machine without a Docker engine or without any of the packages is read too.
options:
  packages:
    description: The Debian packages to look for.
    type: list
    elements: str
    default: []
  folders:
    description: The folders whose files to read, with their subfolders. A single file may be named too.
    type: list
    elements: path
    default: []
  texts:
    description: The files whose text to return, as shell patterns.
    type: list
    elements: str
    default: []
  links:
    description: The symbolic links to read.
    type: list
    elements: path
    default: []
  status_port:
    description: The port on loopback where Nginx tells which configuration it serves. 0 sends no request.
    type: int
    default: 0
  tls_port:
    description: The port where Nginx speaks TLS with clients. 0 opens no connection.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Read the state of the machine
  flotilla.fleet.machine_state:
    packages: [iptables]
    folders: [/etc/flotilla]
    links: [/etc/systemd/system/multi-user.target.wants/flotilla-firewall.service]
    status_port: 8090
  register: machine
"""

RETURN = r"""
distribution:
  description: The distribution and its version as /etc/os-release names them, "debian-13" for one.
  returned: always
  type: str
engine:
  description: Whether a Docker engine answers on /run/docker.sock. Without one, the other results about it are empty.
  returned: always
  type: bool
bridge:
  description: The IPv4 address of the engine's bridge, docker0.
  returned: always
  type: str
addresses:
  description: The network interface of each of the machine's IPv4 addresses, by address.
  returned: always
  type: dict
  sample: {127.0.0.1: lo, 192.0.2.11: eth0}
containers:
  description:
    - The fleet's containers (those with a label flotilla.role), running or not, by name. A container that Docker
      restarts after a failure counts as not running.
    - Its C(settings) are how it runs, in the form of module_utils/container_settings.py. C(newer_files) tells whether a
      file of its configuration was written after it was started.
  returned: always
  type: dict
  sample:
    flotilla-node1-blue:
      {running: true, health: healthy, image: "10.0.0.1:5000/flotilla/model-endpoint@sha256:…",
       labels: {flotilla.role: endpoint}, restarts: 0, started: "2025-01-01T12:00:00.123456789Z",
       settings: {memory: 536870912, read_only: true}, newer_files: false}
images:
  description: Tags and digests of the fleet's images in the engine, sorted.
  returned: always
  type: list
  elements: str
published:
  description: The digest by which a tag of the fleet's images was pushed or pulled, by tag; both with the repository.
  returned: always
  type: dict
  sample: {"10.0.0.1:5000/flotilla/nginx:4f438256f833": "10.0.0.1:5000/flotilla/nginx@sha256:…"}
packages:
  description: Those of O(packages) that are installed, sorted.
  returned: always
  type: list
  elements: str
files:
  description: SHA-256, mode and owner of each file in O(folders), by path.
  returned: always
  type: dict
  sample: {/etc/flotilla/nginx/nginx.conf: "5f70…:0644:0"}
texts:
  description: The text of each file that O(texts) names, by path.
  returned: always
  type: dict
links:
  description: Where those of O(links) that are links point, by path.
  returned: always
  type: dict
firewall:
  description:
    - The fleet's firewall in the kernel, in the form of module_utils/firewall_rules.py. C(rules) are those of the chain
      FLOTILLA. C(jumps) tells for each chain on the way to it where the jump stands.
  returned: always
  type: dict
  sample:
    rules: ["-A FLOTILLA --ctdir ORIGINAL --ctorigdst 192.0.2.21 --ctorigdstport 5001:5002 -p tcp -j DROP"]
    jumps: {FORWARD: first, DOCKER-USER: first, INPUT: missing}
state:
  description: The content of /var/lib/flotilla/state.json, null without that file.
  returned: always
  type: dict
served:
  description: The version of the configuration that Nginx serves, empty where no Nginx answers.
  returned: always
  type: str
certificate:
  description: The certificate that Nginx shows clients, in PEM form, empty where there is none.
  returned: always
  type: str
"""

STATE_FILE = pathlib.Path("/var/lib/flotilla/state.json")
BRIDGE = "docker0"
SIOCGIFADDR = 0x8915
SIOCGIFCONF = 0x8912
# Each address that SIOCGIFCONF returns (netdevice(7)): the interface's name, and at byte 20 the address.
ADDRESS_BYTES = 40
MOST_ADDRESSES = 4096
STATE_FIX = "copy it from another load balancer, or remove it to have the next run write it again"


def fleet_containers(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the containers with a label flotilla.role by name, as RETURN describes them."""
    filters = urllib.parse.quote(json.dumps({"label": ["flotilla.role"]}))
    found = {}
    for entry in engine.get(f"/containers/json?all=1&filters={filters}"):
        try:
            container = engine.get(f"/containers/{entry['Id']}/json")
        except FileNotFoundError:  # removed since it was listed
            continue
        state = container["State"]
        found[container["Name"].lstrip("/")] = {
            "running": state["Running"] and not state.get("Restarting"),
            "health": (state.get("Health") or {}).get("Status", ""),
            "image": container["Config"]["Image"],
            "labels": container["Config"]["Labels"],
            "restarts": container["RestartCount"],
            "started": state["StartedAt"],
            "settings": inspected_settings(container),
            "newer_files": has_newer_files(container),
        }
    return found


def fleet_images(engine: Engine) -> tuple[list[str], dict[str, str]]:
    """Return the names of the fleet's images, sorted, and the digest of each tag that was pushed or pulled.

    An image that has several digests in one repository has none in the latter: only the registry can tell which of
    them it still holds.
    """
    names: set[str] = set()
    published = {}
    for image in engine.get("/images/json"):
        tags = [tag for tag in image["RepoTags"] or () if "flotilla/" in tag]
        digests = [digest for digest in image["RepoDigests"] or () if "flotilla/" in digest]
        names.update(tags, digests)
        for tag in tags:
            own = [digest for digest in digests if digest.startswith(f"{tag.rpartition(':')[0]}@")]
            if len(own) == 1:
                published[tag] = own[0]
    return sorted(names), published


def bridge_address(interface: str = BRIDGE) -> str:
    """Return the IPv4 address of `interface`, empty where it is missing or has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def own_addresses() -> dict[str, str]:
    """Return the network interface of each IPv4 address of this machine, by address."""
    found = array.array("B", bytes(ADDRESS_BYTES * MOST_ADDRESSES))
    place, length = found.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFCONF, struct.pack("iL", length, place))
    filled, _ = struct.unpack("iL", answer)
    addresses = {}
    for start in range(0, filled, ADDRESS_BYTES):
        entry = found[start : start + ADDRESS_BYTES].tobytes()
        # The name may end with a label, such as eth0:1.
        interface = entry[:16].partition(b"\0")[0].decode().partition(":")[0]
        addresses[socket.inet_ntoa(entry[20:24])] = interface
    return addresses


def engine_state(engine: Engine) -> dict[str, Any]:
    """Return the engine's part of the result, in the same form when no engine answers."""
    if not engine.answers():
        empty = {"bridge": "", "containers": {}, "images": [], "published": {}}
        return {"engine": False, **empty}
    images, published = fleet_images(engine)
    return {
        "engine": True,
        "bridge": bridge_address(),
        "containers": fleet_containers(engine),
        "images": images,
        "published": published,
    }


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    if folder.is_file():
        yield folder
    for path, _, names in os.walk(folder):
        yield from (pathlib.Path(path, name) for name in names)


def file_states(folders: Sequence[str]) -> dict[str, str]:
    """Return SHA-256, mode and owner ("5f70…:0644:0") of each regular file in `folders`, by path."""
    paths = [path for folder in folders for path in _files(pathlib.Path(folder))]
    states = {str(path): present_state(path) for path in paths}
    return {path: state for path, state in states.items() if state}


def file_texts(patterns: Sequence[str]) -> dict[str, str]:
    """Return the text of each file that one of `patterns` names, by path."""
    root = pathlib.Path("/")
    paths = [path for pattern in patterns for path in sorted(root.glob(pattern.lstrip("/")))]
    return {str(path): path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()}


def link_targets(links: Sequence[str]) -> dict[str, str]:
    """Return where those of `links` that are symbolic links point, by path."""
    return {link: str(pathlib.Path(link).readlink()) for link in links if pathlib.Path(link).is_symlink()}


def fleet_state(path: pathlib.Path = STATE_FILE) -> dict[str, Any] | None:
    """Return the state of the fleet that `path` holds, None without the file.

    Raises:
        ValueError: when the file holds anything else.
    """
    try:
        state = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} can't be read ({error}): {STATE_FIX}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no JSON object: {STATE_FIX}")
    return state


def shown_certificate(port: int) -> str:
    """Return the certificate that clients are shown on `port`, in PEM form; empty without one, and for port 0."""
    if not port:
        return ""
    # Clients decide whether to trust it; here it is only read.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT) as connection,
            context.wrap_socket(connection) as tls,
        ):
            shown = tls.getpeercert(binary_form=True)
    except OSError:
        return ""
    return ssl.DER_cert_to_PEM_cert(shown) if shown else ""


def distribution(os_release: Mapping[str, str]) -> str:
    """Return the distribution and its version, "debian-13" for one, from the entries of /etc/os-release."""
    return f"{os_release.get('ID', 'linux')}-{os_release.get('VERSION_ID', '')}".rstrip("-")


def installed_packages(listing: str) -> list[str]:
    """Return the installed packages in `listing`, sorted; its lines are a package and dpkg's short status ("ii")."""
    rows = (line.split() for line in listing.splitlines())
    # The first letter is the wanted state, the second is the actual one (dpkg-query(1)).
    return sorted({row[0] for row in rows if len(row) > 1 and row[1][1:2] == "i"})


def _output(module: AnsibleModule, program: str, *arguments: str) -> tuple[int, str]:
    """Return the exit code and the output of `program`, 1 and "" where it is not installed."""
    path = module.get_bin_path(program)
    if path is None:
        return 1, ""
    code, output, _ = module.run_command([path, *arguments])
    return code, output


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "folders": {"type": "list", "elements": "path", "default": []},
            "texts": {"type": "list", "elements": "str", "default": []},
            "links": {"type": "list", "elements": "path", "default": []},
            "status_port": {"type": "int", "default": 0},
            "tls_port": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    packages = module.params["packages"]
    listing = "--show", "--showformat", "${Package} ${db:Status-Abbrev}\n"
    try:
        module.exit_json(
            changed=False,
            distribution=distribution(platform.freedesktop_os_release()),
            **engine_state(Engine()),
            addresses=own_addresses(),
            packages=installed_packages(
                _output(module, "dpkg-query", *listing, *packages)[1] if packages else ""
            ),
            files=file_states(module.params["folders"]),
            texts=file_texts(module.params["texts"]),
            links=link_targets(module.params["links"]),
            firewall=found_firewall(_output(module, "iptables-save", "-t", "filter")[1]),
            state=fleet_state(),
            served=served_version(module.params["status_port"]),
            certificate=shown_certificate(module.params["tls_port"]),
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        module.fail_json(msg=f"The state of this machine can't be read: {error}")


if __name__ == "__main__":
    main()
