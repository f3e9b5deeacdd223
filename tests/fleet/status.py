"""What status.yml says of the fleet under test."""

import json
from pathlib import Path
from typing import Any

from fleet.deploy import deploy
from fleet.fleet import Fleet

Differences = dict[tuple[str, str], dict[str, str]]
"""The differences that the JSON has, by host and thing."""


def status(fleet: Fleet, folder: Path, *options: str, **settings: Any) -> tuple[int, Differences]:
    """Run status.yml, and return its exit code and the differences that it found."""
    file = folder / "status.json"
    file.unlink(missing_ok=True)
    outcome = deploy(fleet, "playbooks/status.yml", None, *options, status_file=str(file), **settings)
    assert file.exists(), outcome.output[-6000:]
    found = json.loads(file.read_text())["differences"]
    for difference in found:
        assert difference["wanted"] != difference["found"]
    by_thing = {(difference["host"], difference["thing"]): difference for difference in found}
    assert len(by_thing) == len(found)
    return outcome.code, by_thing
