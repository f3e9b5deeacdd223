"""The tree uses one word for one thing, and the name of a task says what the task does to what."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
THIS = Path(__file__).resolve().relative_to(ROOT)

# What the name of a play or task may begin with. Add a verb of plain English where one is missing.
VERBS = frozenset(
    """
    acquire add announce apply ask assign begin break bring build check choose collect commit compare compute copy
    count create decide deploy download drain enable end exchange fail fetch find finish flip forgive free gather
    generate give group guard hash have import include inspect install issue judge keep let link list load make
    mark mount move name note open pack pass pick ping plan poll prepare probe publish pull push put raise reach
    read record refuse register release reload remove render replace report restart restore return roll rotate run
    save say select send set settle share show skip stage start stop store switch sync take tell test train undo
    unmount unpack update upload validate verify wait warn watch withdraw work write
    """.split()  # noqa: SIM905 - one verb a line would be a page
)
PRONOUNS = {"it", "them", "they", "this", "that", "these", "those", "one"}
CLAUSE = {"that", "whether", "why", "how", "what", "where", "when", "until", "which", "who"}


def wrong_name(name: str) -> str:
    """Return what is wrong with the name of a play or task; empty when it is a verb and what the verb is about.

    A step of a release may stand before the verb: `Gate: check the staged release on every node`.
    """
    _, _, sentence = name.rpartition(": ") if re.match(r"[A-Z][a-z]+: ", name) else ("", "", name)
    verb, *rest = re.findall(r"[\w.'/{}-]+", sentence.lower()) or [""]
    if verb not in VERBS:
        return f"begins with {verb!r}, which is no known verb"
    while rest and rest[0] in CLAUSE and len(rest) > 1:
        rest = rest[1:]
    if not rest:
        return "has no object"
    if rest[0] in PRONOUNS and (rest[0] in {"it", "them", "they"} or len(rest) == 1):
        return f"has the pronoun {rest[0]!r} for its object: name the thing"
    return ""


class _Loader(yaml.SafeLoader):
    """Reads the tags of Ansible as nothing."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def names(content: Any) -> Iterator[str]:
    """Yield the names of all plays and tasks in a loaded playbook or file of tasks, inner ones included."""
    for item in content if isinstance(content, list) else []:
        if isinstance(item, dict):
            yield str(item.get("name", ""))
            for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
                yield from names(item.get(key))


def task_files() -> list[Path]:
    """Return the playbooks and the files of tasks of the tree."""
    return [
        path
        for path in tracked()
        if path.suffix == ".yml"
        and path.parts[0] in {"site.yml", "playbooks", "roles", "molecule", "bench"}
        and not {"meta", "defaults", "vars"} & set(path.parts)
        and path.name != "molecule.yml"
        and isinstance(yaml.load((ROOT / path).read_text(), _Loader), list)
    ]


def tracked() -> list[Path]:
    """Return the files of the tree, those included that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    paths = {Path(name) for name in listing.stdout.split("\0") if name}
    return sorted(path for path in paths if (ROOT / path).is_file())


# In any text, as a whole word or as a part of a name: in `old_colour`, `OldColour` and "the colour's".
RETIRED_WORDS = {
    "bookkeeper": "request middleware",
    "colour": "slot",
    "concerned": "in_scope",
    "cure": "fix",
    "door": "frontend, published address, worker socket, or listener",
    "fast lane": "fast path",
    "fastlane": "fast_path",
    "settled": "baseline",
    "someone": "any_up",
    "in vain": "staged_not_live",
    "stray": "retired",
    "twin": "cohosted",
    "unroll": "roll_back_node",
}
# Names, as they are written.
RETIRED_NAMES = {
    r"\bKEPT\b": "KEEP_RELEASES or ROTATED_LOGS",
    r"\bEXACT\b": "MAX_SAFE_INTEGER",
    r"\bNOTHING\b": "EMPTY_STATE",
    r"\b\w+_verb\b|\bverb_\w+": "operation",
    r"\blook\.yml\b": "inspect.yml or poll_access_log.yml",
    r"\bstate: (held|free|taken)\b": "acquired, released, broken",
    r"\bstep: (hold|keep|take)\b": "ensure, run, advance",
    r"\bnginx_lb_(canary|shadow_percent|bake|watch|ramp|drain_timeout|min_nodes)\w*": "release_*",
    r"\bnginx_lb_virtual_\w+": "virtual_address_ip, virtual_address_interface",
}
# Names of Python, in one part of the tree alone.
RETIRED_IDENTIFIERS = {
    "model_endpoint": {"Answer", "Door", "Exchange", "REFUSED", "Recorder", "Visit"},
    "plugins": {"REFUSED", "verb"},
    "tests": {"verb"},
}
RETIRED_FILES = {
    "tasks/begin.yml",
    "tasks/everyone.yml",
    "tasks/give_back.yml",
    "tasks/hear.yml",
    "tasks/idle.yml",
    "tasks/send.yml",
    "tasks/unroll_node.yml",
    "model_endpoint/gate.py",
}
# The names that other words replace in an inventory, and the history: what they are about are old names.
HISTORY = {Path("CHANGELOG.md"), Path("plugins/plugin_utils/inventory/renamed.py"), THIS}
# What an earlier version has left on machines or in a state, and this one takes over, bears the name it had.
TAKEN_OVER = {
    "plugins/modules/access_log.py": {"colour"},
    "plugins/plugin_utils/release/service.py": {"fast lane"},
    "plugins/plugin_utils/release/state.py": {"colour", "fast lane"},
    # Another name in it would be another image, and restart Nginx.
    "roles/nginx_lb/files/access_log.js": {"KEPT"},
    "roles/nginx_lb/vars/main.yml": {"door"},
    "tests/fleet/upgrade/conftest.py": {"colour", "nginx_lb_bake_seconds", "nginx_lb_ramp_seconds"},
    "tests/fleet/upgrade/test_takeover.py": {"nginx_lb_canary_percent"},
    "tests/unit/plugins/test_access_log.py": {"colour", "KEPT"},
    "tests/unit/plugins/release/test_service.py": {"fast lane"},
    "tests/unit/plugins/release/test_state.py": {"colour", "fast lane"},
    "tests/unit/test_nginx_template.py": {"door"},
}
# Variables that an inventory may not have any more, where it is shown that they are refused.
REFUSED_VARIABLES = {
    "roles/preflight/README.md": {"nginx_lb_canary_percent"},
    "tests/unit/plugins/inventory/test_variables.py": {
        "fast lane",
        "nginx_lb_canary_percent",
        "nginx_lb_min_nodes",
        "nginx_lb_virtual_address",
        "nginx_lb_watch_p95_factor",
    },
    "tests/runs/test_bad_inventories.py": {
        "fast lane",
        "nginx_lb_canary_percent",
        "nginx_lb_virtual_address",
    },
}
OLD_NAMES: dict[str, set[str]] = TAKEN_OVER | REFUSED_VARIABLES

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def retired_words(text: str) -> set[str]:
    """Return the retired words, and the retired names, that a text has."""
    words = [word.lower() for word in _WORD.findall(text)]
    pairs = {f"{one} {other}" for one, other in pairwise(words)}
    spoken = {
        *words,
        *(word.removesuffix("s") for word in words),
        *pairs,
        *(pair.removesuffix("s") for pair in pairs),
    }
    found = RETIRED_WORDS.keys() & spoken
    return found | {match[0] for name in RETIRED_NAMES for match in re.finditer(name, text)}


def identifiers(source: str) -> set[str]:
    """Return the names that a Python file gives or uses."""
    fields = ("id", "name", "attr", "arg")
    nodes = ast.walk(ast.parse(source))
    return {name for node in nodes for field in fields if isinstance(name := getattr(node, field, None), str)}


@pytest.mark.parametrize("path", task_files(), ids=str)
def test_the_name_of_every_task_is_a_verb_and_its_object(path: Path) -> None:
    content = yaml.load((ROOT / path).read_text(), _Loader)
    found = list(names(content))
    assert found
    assert {name: wrong for name in found if (wrong := wrong_name(name))} == {}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Keep it",
        "Pull it",
        "Show it",
        "Remove them",
        "Keep",
        "See that it runs",
        "Wait until it is",
        "Its image",
    ],
)
def test_a_name_without_verb_or_object_is_found(name: str) -> None:
    assert wrong_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "Pull the image of keepalived",
        "Gate: check the staged release on every node",
        "Record why the endpoint could not be staged",
        "Install this machine's certificates",
        "Replace {{ rolling_node }}",
    ],
)
def test_a_plain_name_is_not_found_fault_with(name: str) -> None:
    assert wrong_name(name) == ""


def test_the_names_of_inner_tasks_are_read() -> None:
    tasks = "- name: Play\n  tasks:\n  - name: Block\n    block: [{name: One}]\n    rescue: [{name: Two, when: true}]\n"
    assert list(names(yaml.safe_load(tasks))) == ["Play", "Block", "One", "Two"]


def test_no_retired_word_stands_in_the_tree() -> None:
    found = {}
    for path in tracked():
        content = (ROOT / path).read_bytes()
        if path in HISTORY or b"\0" in content:
            continue
        text = re.sub(r"\b[0-9a-f]{64}\b", "", content.decode())  # the locks' digests
        words = retired_words(f"{path}\n{text}") - OLD_NAMES.get(str(path), set())
        if path.suffix == ".py":
            words |= identifiers(content.decode()) & RETIRED_IDENTIFIERS.get(path.parts[0], set())
        words |= {name for name in RETIRED_FILES if str(path).endswith(f"/{name}") or str(path) == name}
        if words:
            found[str(path)] = sorted(words)
    assert found == {}


def test_every_exception_is_needed() -> None:
    for path, words in OLD_NAMES.items():
        assert retired_words((ROOT / path).read_text()) >= words, f"{path} needs no exception any more"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("the other colour's container", "colour"),
        ("other_colour = 1", "colour"),
        ("class OldDoor:", "door"),
        ("tls/door.pem", "door"),
        ("DOORS = 2", "door"),
        ("FLOTILLA_FAST_LANE", "fast lane"),
        ("class FastLane:", "fast lane"),
        ("from model_endpoint import fastlane", "fastlane"),
        ("class Bookkeeper:", "bookkeeper"),
        ("groups['flotilla_twins']", "twin"),
        ("_keys_cure(value)", "cure"),
        ("plan.settled", "settled"),
        ("KEPT = 5", "KEPT"),
        ("when: __release_verb == 'deploy'", "__release_verb"),
        ("state: free", "state: free"),
        ("nginx_lb_canary_percent: 5", "nginx_lb_canary_percent"),
    ],
)
def test_a_retired_word_is_found(text: str, word: str) -> None:
    assert word in retired_words(text)


def test_other_words_are_not_taken_for_retired_ones() -> None:
    text = "colourless outdoor secure procure unsettled Kept kept state: freed a verb and its object; twine, astray"
    assert retired_words(text) == set()


def test_a_retired_class_is_found_by_its_name() -> None:
    assert identifiers("class Door:\n    visit: int\n\ndef f(verb): ...") >= {"Door", "visit", "verb"}
