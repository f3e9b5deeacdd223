"""Commands of Docker's engine on this machine."""

from __future__ import annotations

import shlex
import subprocess


def docker(*arguments: str, stdin: str = "") -> str:
    """Return what a docker command writes.

    Raises RuntimeError with its message when it fails.
    """
    done = subprocess.run(["docker", *arguments], check=False, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"docker {shlex.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def command_output(command: list[str]) -> tuple[int, str, str]:
    """Run a command as AnsibleModule.run_command does: return its exit code, its output and its errors."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def remove_containers(label: str) -> None:
    """Remove all containers with a label, and their volumes."""
    containers = docker("ps", "--all", "--quiet", "--filter", f"label={label}").split()
    if containers:
        docker("rm", "--force", "--volumes", *containers)
