#!/usr/bin/python
"""Test a configuration of Nginx, or put it in place together with the state it was rendered from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: nginx_configuration
short_description: Test a configuration of Nginx, or put it in place
description:
  - C(test) has the Nginx of O(image) read the whole configuration and fails if it finds fault with it.
  - C(install) writes the configuration and the state, reloads a running Nginx that serves another version, and waits
    until it serves this one. If it does not, both files and what is served go back to what they were.
  - A failed reload is silent (C(nginx -t) passes with a port in use or a changed zone), which is why the version
    that is served is asked for.
  - Waits for another that is at work, since a run whose controller dies leaves one behind that goes on to its end.
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
      - What the configuration was rendered from. Its version is written with it, so that a run which ended before Nginx
        had read it can be told.
    type: dict
    required: true
  image:
    description: The image whose Nginx tests it.
    type: str
    required: true
  status_port:
    description: Port on loopback where C(/_lb/version) tells the version that is served.
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
    description: Where the state is kept.
    type: path
    default: /var/lib/flotilla/state.json
"""

EXAMPLES = r"""
- name: Test the configuration
  nginx_configuration:
    action: test
    configuration: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
    state: {serial: 3}
    image: flotilla/nginx:0c0ffee0
    status_port: 8090
"""

RETURN = r"""
version:
  description: Twelve hexadecimal digits of the SHA-256 of the configuration.
  returned: always
  type: str
reloaded:
  description: Whether Nginx was reloaded, or in check mode would be.
  returned: always
  type: bool
"""

CONTAINER = "flotilla-nginx"
RELOAD_SECONDS = 10

Run = Callable[[list[str]], tuple[int, str, str]]


class NotTakenError(Exception):
    """A configuration that can't be written, that Nginx refuses or does not take; the message is for the user."""


class Nginx:
    """The Nginx of this machine: its files, and how to talk to it."""

    def __init__(self, run: Run, directory: pathlib.Path, state_file: pathlib.Path, status_port: int) -> None:
        self.run = run
        self.configuration_file = directory / "nginx.conf"
        self.state_file = state_file
        self.status_port = status_port

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from the files meanwhile; waits until none is at work on them."""
        folder = self.configuration_file.parent
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield
        finally:
            os.close(opened)

    def test(self, text: str, image: str) -> None:
        """Have `image`'s Nginx read the configuration `text` and the files it names.

        Raises NotTakenError with what it says.
        """
        tested = self.configuration_file.with_name("tested.conf")
        # To enter the container that runs takes a tenth of the time that another one takes to start.
        within = ["docker", "exec", CONTAINER]
        if not self.running(image):
            # fmt: off
            within = [
                "docker", "run", "--rm", "--pull", "never", "--network", "none", "--user", "0", "--read-only",
                "--tmpfs", "/run/nginx", "--tmpfs", "/var/log/nginx",
                "--volume", f"{tested.parent}:/etc/nginx:ro", image,
            ]
            # fmt: on
        write(tested, text)
        try:
            code, _, error = self.run(
                [*within, "/usr/sbin/nginx", "-t", "-q", "-c", f"/etc/nginx/{tested.name}"]
            )
        finally:
            tested.unlink()
        if code != 0:
            said = "\n".join(error.strip().splitlines()[-5:])
            # Nginx ends with 1; anything else is Docker's, which did not get that far.
            fault = "Nginx refuses it" if code == 1 else f"it can't be tested with {image}"
            raise NotTakenError(f"The old configuration stays in use, not the new one: {fault}:\n{said}")

    def served(self) -> str:
        """Return the version that is being served, or "" when Nginx does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=2)
        try:
            connection.request("GET", "/_lb/version")
            answer = connection.getresponse()
            return answer.read().decode(errors="replace").strip() if answer.status == 200 else ""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def running(self, image: str = "") -> bool:
        """Return whether Nginx's container runs, and is of `image`, if given.

        One that Docker starts again and again does not run.
        """
        state = "{{.State.Running}} {{.State.Restarting}} {{.Config.Image}}"
        found = self.run(["docker", "inspect", "--format", state, CONTAINER])[1].split()
        return found[:2] == ["true", "false"] and image in ("", found[2])

    def reload(self, wanted: str) -> None:
        """Have Nginx read its configuration again and wait until it serves `wanted`; raises NotTakenError."""
        self.run(["docker", "exec", CONTAINER, "/usr/sbin/nginx", "-s", "reload"])
        if not wait_for(lambda: self.served() == wanted, RELOAD_SECONDS):
            _, output, error = self.run(["docker", "logs", "--tail", "5", CONTAINER])
            raise NotTakenError(
                f"The old configuration stays in use: Nginx did not take {wanted} within {RELOAD_SECONDS} s. What it "
                f"said last:\n{(output + error).strip()}"
            )

    def wait_for_old_workers(self, seconds: int) -> None:
        """Return when no worker with an older configuration is left, or after `seconds`."""
        wait_for(lambda: "is shutting down" not in self.run(["docker", "top", CONTAINER])[1], seconds)

    def install(self, text: str, state: str, version: str) -> bool:
        """Put both files in place and have Nginx serve them, if it runs; return whether it was reloaded.

        Raises NotTakenError when it does not take them; then everything is as before.
        """
        before = {path: read(path) for path in (self.state_file, self.configuration_file)}
        reloaded = False
        try:
            # The state first: of a run that ends here, the next one sees that Nginx serves something else.
            write(self.state_file, state)
            write(self.configuration_file, text)
            # One that runs and does not answer has the status server on another port, and is to move it.
            if self.served() != version and self.running():
                reloaded = True
                self.reload(version)
        except NotTakenError:
            for path, content in before.items():
                restore(path, content)
            if reloaded:
                self.run(["docker", "exec", CONTAINER, "/usr/sbin/nginx", "-s", "reload"])
            raise
        return reloaded


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether `condition` holds, asked every tenth of a second for `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def version_of(configuration: str) -> str:
    """Return the version of a configuration, which stands in it for @VERSION@."""
    return hashlib.sha256(configuration.encode()).hexdigest()[:12]


def read(path: pathlib.Path) -> str | None:
    """Return what a file says, or None where there is none."""
    return path.read_text() if path.exists() else None


def write(path: pathlib.Path, content: str) -> None:
    """Put a file in place, whole or not at all even if the power fails; raises NotTakenError when it can't be."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with part.open("w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise NotTakenError(
            f"The old configuration stays in use: {path} can't be written: {error}"
        ) from error


def restore(path: pathlib.Path, content: str | None) -> None:
    """Have a file say what it said before; None is that there was none."""
    if content is None:
        path.unlink(missing_ok=True)
    elif read(path) != content:
        write(path, content)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": ["test", "install"]},
            "configuration": {"type": "str", "required": True},
            "state": {"type": "dict", "required": True},
            "image": {"type": "str", "required": True},
            "status_port": {"type": "int", "required": True},
            "workers_gone": {"type": "int", "default": 0},
            "directory": {"type": "path", "default": "/etc/flotilla/nginx"},
            "state_file": {"type": "path", "default": "/var/lib/flotilla/state.json"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    nginx = Nginx(
        module.run_command,
        pathlib.Path(wanted["directory"]),
        pathlib.Path(wanted["state_file"]),
        wanted["status_port"],
    )
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
        if read(path) != content
    ]
    try:
        if wanted["action"] == "test":
            if read(nginx.configuration_file) != text and not module.check_mode:
                with nginx.alone():
                    nginx.test(text, wanted["image"])
            module.exit_json(changed=False, **result)
        if module.check_mode:
            # Docker need not be here yet.
            result["reloaded"] = nginx.served() not in ("", version)
        else:
            with nginx.alone():
                result["reloaded"] = nginx.install(text, files[nginx.state_file], version)
            if result["reloaded"]:
                nginx.wait_for_old_workers(wanted["workers_gone"])
    except (NotTakenError, OSError) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(changed=bool(diffs) or result["reloaded"], diff=diffs, **result)


if __name__ == "__main__":
    main()
