#!/usr/bin/python
"""Look at a machine of the fleet once, and tell all that a run wants to know of it."""

from __future__ import annotations

import array
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import platform
import socket
import ssl
import stat
import struct
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import (
    has_newer_files,
    inspected_settings,
)

DOCUMENTATION = r"""
module: machine_state
short_description: Look at a machine once
description:
  - Tells in one call what a run compares with what it wants, so that it asks again for nothing and acts only where
    something differs. Changes nothing.
  - Needs Python alone, and root's rights; a machine without an engine or any package is looked at all the same.
options:
  packages:
    description: The Debian packages to look for.
    type: list
    elements: str
    default: []
  folders:
    description: The folders to look into, however deep. A single file may be named too.
    type: list
    elements: path
    default: []
  links:
    description: The symbolic links to look at.
    type: list
    elements: path
    default: []
  status_port:
    description: The port on loopback where Nginx tells which configuration it serves. 0 asks nobody.
    type: int
    default: 0
  tls_port:
    description: The port where Nginx speaks TLS with clients. 0 asks nobody.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Look at the machine
  machine_state:
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
  description: Whether a Docker engine answers on /run/docker.sock. Without one, what concerns it is empty.
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
    - The fleet's containers (those with a label flotilla.role), running or not, by name. One that fails and is
      started again and again is not running between its attempts.
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
links:
  description: Where those of O(links) that are links point, by path.
  returned: always
  type: dict
firewall:
  description: Whether the fleet's firewall is in place.
  returned: always
  type: bool
state:
  description: What /var/lib/flotilla/state.json says, null without that file.
  returned: always
  type: dict
served:
  description: The version of the configuration that Nginx serves, empty where none answers.
  returned: always
  type: str
certificate:
  description: The certificate that Nginx shows clients, in PEM form, empty where it shows none.
  returned: always
  type: str
"""

SOCKET = "/run/docker.sock"
STATE_FILE = pathlib.Path("/var/lib/flotilla/state.json")
BRIDGE = "docker0"
SIOCGIFADDR = 0x8915
SIOCGIFCONF = 0x8912
# What SIOCGIFCONF tells of one address: the interface's name, and the address at byte 20.
ADDRESS_BYTES = 40
MOST_ADDRESSES = 4096
# In seconds. An engine that is busy pulling may take a while; Nginx on loopback may not.
ENGINE_TIMEOUT = 30
STATUS_TIMEOUT = 2


class Engine(http.client.HTTPConnection):
    """A connection to the engine's interface, kept open for all questions."""

    def __init__(self, path: str = SOCKET) -> None:
        super().__init__("docker", timeout=ENGINE_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def _ask(self, path: str) -> tuple[int, bytes]:
        self.request("GET", path)
        answer = self.getresponse()
        return answer.status, answer.read()

    def answers(self) -> bool:
        """Tell whether an engine answers."""
        try:
            return self._ask("/_ping")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> Any:
        """Return what the engine says at `path`.

        Raises:
            FileNotFoundError: when the engine doesn't have what is asked for.
            ValueError: when it refuses to tell.
        """
        status, body = self._ask(path)
        if status == 404:
            raise FileNotFoundError(f"the Docker engine has no {path}")
        if status != 200:
            message = body.decode(errors="replace").strip()
            raise ValueError(f"the Docker engine answers {path} with {status}: {message}")
        return json.loads(body)


def fleet_containers(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the containers with a label flotilla.role by name, as RETURN has them."""
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

    An image that came to have several digests in one repository is left out of the latter: which of them the
    registry still holds, only the registry can tell.
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
    told = array.array("B", bytes(ADDRESS_BYTES * MOST_ADDRESSES))
    place, length = told.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFCONF, struct.pack("iL", length, place))
    filled, _ = struct.unpack("iL", answer)
    addresses = {}
    for start in range(0, filled, ADDRESS_BYTES):
        entry = told[start : start + ADDRESS_BYTES].tobytes()
        # An address may have a label of its own, such as eth0:1.
        interface = entry[:16].partition(b"\0")[0].decode().partition(":")[0]
        addresses[socket.inet_ntoa(entry[20:24])] = interface
    return addresses


def engine_state(engine: Engine) -> dict[str, Any]:
    """Return what there is to tell of the engine, in the same form when none answers."""
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
    states = {}
    for folder in folders:
        for path in _files(pathlib.Path(folder)):
            try:
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    states[str(path)] = f"{digest}:{stat.S_IMODE(status.st_mode):04o}:{status.st_uid}"
            except FileNotFoundError:  # gone since it was listed, or a link that leads nowhere
                continue
    return states


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
        raise ValueError(f"{path} can't be read ({error}): {_CURE}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no JSON object: {_CURE}")
    return state


_CURE = "copy it from another load balancer, or remove it to have the next run write it anew"


def served_version(port: int) -> str:
    """Return the version of the configuration that Nginx serves, by its status server on `port`; 0 asks nobody."""
    if not port:
        return ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STATUS_TIMEOUT)
    try:
        connection.request("GET", "/_lb/version")
        answer = connection.getresponse()
        return answer.read().decode(errors="replace").strip() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def shown_certificate(port: int) -> str:
    """Return the certificate that is shown to clients on `port`, in PEM form; 0 asks nobody."""
    try:
        # Whether it may be trusted is the clients' business.
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=STATUS_TIMEOUT) if port else ""
    except OSError:
        return ""


def distribution(os_release: Mapping[str, str]) -> str:
    """Return the distribution and its version, "debian-13" for one, from the entries of /etc/os-release."""
    return f"{os_release.get('ID', 'linux')}-{os_release.get('VERSION_ID', '')}".rstrip("-")


def installed_packages(listing: str) -> list[str]:
    """Return the installed packages in `listing`, sorted; its lines are a package and dpkg's short status ("ii")."""
    rows = (line.split() for line in listing.splitlines())
    # The second letter is what is; the first is only what somebody wanted.
    return sorted({row[0] for row in rows if len(row) > 1 and row[1][1:2] == "i"})


def _output(module: AnsibleModule, program: str, *arguments: str) -> tuple[int, str]:
    """Return how `program` ended and what it said; a program that is missing has failed."""
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
            links=link_targets(module.params["links"]),
            firewall=_output(module, "iptables", "--wait", "--check", "DOCKER-USER", "--jump", "FLOTILLA")[0]
            == 0,
            state=fleet_state(),
            served=served_version(module.params["status_port"]),
            certificate=shown_certificate(module.params["tls_port"]),
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        module.fail_json(msg=f"this machine can't be looked at: {error}")


if __name__ == "__main__":
    main()
