"""Runs on the controller: copies of what a run knows."""

from __future__ import annotations

import json
from typing import TypeVar

Known = TypeVar("Known")


def copied(known: Known) -> Known:
    """Return a copy of what JSON can hold.

    It has none of the tags by which Ansible knows where each value is from: copy.deepcopy copies those too, and takes
    seconds for the state of three nodes.
    """
    copy: Known = json.loads(json.dumps(known))
    return copy
