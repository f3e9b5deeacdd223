#!/usr/bin/python
"""Runs on load balancers: tests a configuration of Nginx, or installs it with the state it was rendered from."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.file_state import file_state, present_state
from ansible_collections.flotilla.fleet.plugins.module_utils.folder_lock import locked
from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import STATE_MODE
from ansible_collections.flotilla.fleet.plugins.module_utils.nginx_status import served_version

DOCUMENTATION = r"""
module: nginx_configuration
short_description: Test a configuration of Nginx, or install it
description:
  - Runs on load balancers.
  - V(test) has the Nginx of O(image) read the whole configuration, and fails with Nginx's message if it is wrong.
  - V(install) writes the configuration and the state, reloads a running Nginx that serves another version, and waits
    until it serves this one. If it does not, both files and what Nginx serves go back to what they were.
  - A failed reload gives no error (C(nginx -t) passes although a port is in use or a shared zone has changed). So the
    module asks Nginx for the version that it serves.
  - Only O(owner) can read the configuration, which holds the digests of API keys, and only root the state.
  - Two calls never work at the same time. One waits for the other, which may belong to a run whose controller has died.
options:
  action:
    description: What to do.
    type: str
    choices: [test, install]
    required: true
  configuration:
    description: The configuration. C(@VERSION@) in it stands for its version.
    type: str
    required: true
  state:
    description:
      - What the configuration was rendered from. It is written with the configuration's version, so that the next run
        can tell a run that ended before Nginx had read the configuration.
    type: dict
    required: true
  image:
    description: The image whose Nginx tests the configuration.
    type: str
    required: true
  status_port:
    description: Port on loopback where C(/_lb/version) gives the version that Nginx serves.
    type: int
    required: true
  owner:
    description: Number of the user that Nginx runs as. The configuration belongs to it.
    type: int
    required: true
  workers_gone:
    description: Seconds to wait, after a reload, for the last worker with the old configuration to end.
    type: int
    default: 0
  directory:
    description: Folder of the configuration, which the container mounts.
    type: path
    default: /etc/flotilla/nginx
  state_file:
    description: File of the state.
    type: path
    default: /var/lib/flotilla/state.json
"""

EXAMPLES = r"""
- name: Test the configuration
  flotilla.fleet.nginx_configuration:
    action: test
    configuration: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
    state: {serial: 3}
    image: flotilla/nginx:0c0ffee0
    status_port: 8090
    owner: 10002
"""

RETURN = r"""
version:
  description: Twelve hexadecimal digits of the SHA-256 of the configuration.
  returned: always
  type: str
reloaded:
  description: Whether Nginx was reloaded, or in check mode would be reloaded.
  returned: always
  type: bool
"""

CONTAINER = "flotilla-nginx"
RELOAD_SECONDS = 10
POLL_SECONDS = 0.1
CONFIGURATION_MODE = 0o400

Run = Callable[[list[str]], tuple[int, str, str]]


class NotTakenError(Exception):
    """The configuration can't be written, or Nginx refuses it or does not take it; the message is for the user."""


class Nginx:
    """The Nginx of this machine: its files, its container and its status server."""

    def __init__(
        self, run: Run, directory: pathlib.Path, state_file: pathlib.Path, status_port: int, owner: int
    ) -> None:
        self.run = run
        self.configuration_file = directory / "nginx.conf"
        self.state_file = state_file
        self.status_port = status_port
        self.owner = owner

    def test(self, text: str, image: str) -> None:
        """Have `image`'s Nginx read the configuration `text` and the files it names.

        Raises:
            NotTakenError: with Nginx's or Docker's message, when Nginx did not accept it.
        """
        tested = self.configuration_file.with_name("tested.conf")
        # A command in the running container takes a tenth of the time that a new container takes to start.
        within = ["docker", "exec", CONTAINER]
        if not self.running(image):
            # fmt: off
            within = [
                "docker", "run", "--rm", "--pull", "never", "--network", "none", "--user", "0", "--read-only",
                "--tmpfs", "/run/nginx", "--tmpfs", "/var/log/nginx",
                "--volume", f"{tested.parent}:/etc/nginx:ro,z", image,
            ]
            # fmt: on
        self.write(tested, text)
        try:
            code, _, error = self.run(
                [*within, "/usr/sbin/nginx", "-t", "-q", "-c", f"/etc/nginx/{tested.name}"]
            )
        finally:
            tested.unlink()
        if code != 0:
            said = "\n".join(error.strip().splitlines()[-5:])
            # Nginx's own exit code is 1; any other one is Docker's, which did not start Nginx.
            fault = "Nginx refuses it" if code == 1 else f"it can't be tested with {image}"
            raise NotTakenError(f"The old configuration stays in use, not the new one: {fault}:\n{said}")

    def served(self) -> str:
        """Return the version that Nginx serves, or "" when it does not answer."""
        return served_version(self.status_port)

    def running(self, image: str = "") -> bool:
        """Tell whether Nginx's container runs, and, if `image` is given, runs that image.

        A container that Docker restarts after a failure does not count as running.
        """
        state = "{{.State.Running}} {{.State.Restarting}} {{.Config.Image}}"
        found = self.run(["docker", "inspect", "--format", state, CONTAINER])[1].split()
        return found[:2] == ["true", "false"] and image in ("", found[2])

    def reload(self, wanted: str) -> None:
        """Have Nginx read its configuration again and wait until it serves version `wanted`.

        Raises:
            NotTakenError: with Nginx's last messages, when it does not.
        """
        self.run(["docker", "exec", CONTAINER, "/usr/sbin/nginx", "-s", "reload"])
        if not wait_for(lambda: self.served() == wanted, RELOAD_SECONDS):
            _, output, error = self.run(["docker", "logs", "--tail", "5", CONTAINER])
            raise NotTakenError(
                f"The old configuration stays in use: Nginx did not take {wanted} within {RELOAD_SECONDS} s. Its "
                f"last messages:\n{(output + error).strip()}"
            )

    def wait_for_old_workers(self, seconds: int) -> None:
        """Return when no worker with an older configuration is left, or after `seconds`."""
        wait_for(lambda: "is shutting down" not in self.run(["docker", "top", CONTAINER])[1], seconds)

    def install(self, text: str, state: str, version: str) -> bool:
        """Write both files and have Nginx serve them, if it runs; return whether it was reloaded.

        Raises:
            NotTakenError: when Nginx does not take them. Then both files are what they were.
        """
        before = {path: read(path) for path in (self.state_file, self.configuration_file)}
        reloaded = False
        try:
            # The state first: if this run ends here, the next one sees that Nginx serves another version.
            self.write(self.state_file, state)
            self.write(self.configuration_file, text)
            # If Nginx runs but does not answer, its status server is on another port, which the reload changes.
            if self.served() != version and self.running():
                reloaded = True
                self.reload(version)
        except NotTakenError:
            for path, content in before.items():
                self.restore(path, content)
            if reloaded:
                self.run(["docker", "exec", CONTAINER, "/usr/sbin/nginx", "-s", "reload"])
            raise
        return reloaded

    def write(self, path: pathlib.Path, content: str) -> None:
        """Write a file that only those can read who need it.

        Raises:
            NotTakenError: when it can't be written.
        """
        mode, owner = self.access(path)
        try:
            write_file(path, content, mode=mode, owner=owner, durable=True)
        except OSError as error:
            raise NotTakenError(
                f"The old configuration stays in use: {path} can't be written: {error}"
            ) from error

    def restore(self, path: pathlib.Path, content: str | None) -> None:
        """Give a file its former content; None stands for no file."""
        if content is None:
            path.unlink(missing_ok=True)
        elif read(path) != content:
            self.write(path, content)

    def access(self, path: pathlib.Path) -> tuple[int, int]:
        """Return the permissions and the owner that a file is to have."""
        if path == self.state_file:
            return STATE_MODE, os.geteuid()
        return CONFIGURATION_MODE, self.owner

    def in_place(self, path: pathlib.Path, content: str) -> bool:
        """Tell whether a file has this content, and its permissions and owner."""
        return present_state(path) == file_state(content.encode(), *self.access(path))


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition` holds, for at most `seconds`; tell whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def version_of(configuration: str) -> str:
    """Return the version of a configuration in which @VERSION@ is not yet replaced."""
    return hashlib.sha256(configuration.encode()).hexdigest()[:12]


def read(path: pathlib.Path) -> str | None:
    """Return the content of a file, or None where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": ["test", "install"]},
            "configuration": {"type": "str", "required": True},
            "state": {"type": "dict", "required": True},
            "image": {"type": "str", "required": True},
            "status_port": {"type": "int", "required": True},
            "owner": {"type": "int", "required": True},
            "workers_gone": {"type": "int", "default": 0},
            "directory": {"type": "path", "default": "/etc/flotilla/nginx"},
            "state_file": {"type": "path", "default": "/var/lib/flotilla/state.json"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    directory, state_file = pathlib.Path(wanted["directory"]), pathlib.Path(wanted["state_file"])
    nginx = Nginx(module.run_command, directory, state_file, wanted["status_port"], wanted["owner"])
    version = version_of(wanted["configuration"])
    files: dict[pathlib.Path, str] = {
        nginx.state_file: json.dumps({**wanted["state"], "version": version}, indent=1, sort_keys=True)
        + "\n",
        nginx.configuration_file: wanted["configuration"].replace("@VERSION@", version),
    }
    result: dict[str, Any] = {"version": version, "reloaded": False}
    text = files[nginx.configuration_file]
    diffs = [
        {"before_header": str(path), "after_header": str(path), "before": read(path) or "", "after": content}
        for path, content in files.items()
        if not nginx.in_place(path, content)
    ]
    try:
        if wanted["action"] == "test":
            if read(nginx.configuration_file) != text and not module.check_mode:
                with locked(directory):
                    nginx.test(text, wanted["image"])
            module.exit_json(changed=False, **result)
        if module.check_mode:
            # Docker may not be installed yet.
            result["reloaded"] = nginx.served() not in ("", version)
        else:
            with locked(directory):
                result["reloaded"] = nginx.install(text, files[nginx.state_file], version)
            if result["reloaded"]:
                nginx.wait_for_old_workers(wanted["workers_gone"])
    except (NotTakenError, OSError) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(changed=bool(diffs) or result["reloaded"], diff=diffs, **result)


if __name__ == "__main__":
    main()
