"""Runs on the controller: refuses options of Ansible with which a playbook would leave out steps and say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible import context

LINEAR = ("linear", "ansible.builtin.linear", "ansible.legacy.linear")

OF_MOLECULE = ("molecule-notest", "notest", "molecule-idempotence-notest")
"""The tags that Molecule skips in every run; no step has them."""

LISTINGS = ("listhosts", "listtasks", "listtags", "syntax")
"""Options with which Ansible runs nothing."""


def refused_options(strategy: str) -> str:
    """Return why a run with these options of the command line, and this strategy, is refused; empty if it may run."""
    return refusal(context.CLIARGS, strategy)


def refusal(options: Mapping[str, object], strategy: str) -> str:
    """Return why a run with `options`, as Ansible has parsed them, is refused; empty if it may run."""
    if any(options.get(name) for name in LISTINGS):
        return ""
    tags, skipped, first = (options.get(name) or () for name in ("tags", "skip_tags", "start_at_task"))
    if chosen := [tag for tag in _listed(tags) if tag not in ("all", "always")]:
        return _words(f"--tags {','.join(chosen)}", "leave out every step without this tag")
    if left_out := [tag for tag in _listed(skipped) if tag not in OF_MOLECULE]:
        return _words(f"--skip-tags {','.join(left_out)}", "leave out every step with this tag")
    if first:
        return _words(f"--start-at-task {first!r}", "leave out the steps before this task")
    if strategy not in LINEAR:
        return _words(
            f"the strategy {strategy!r}",
            "let hosts run ahead of steps that all must have finished",
            "set strategy = linear in ansible.cfg, and unset ANSIBLE_STRATEGY",
        )
    return ""


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def _words(option: str, would: str, fix: str = "run the playbook without it") -> str:
    return f"No host was contacted. {option[:1].upper()}{option[1:]} is refused, as it would {would}: {fix}."
