"""Runs on the controller: frees the deploy locks that a run still holds when it ends, however it ends."""

from __future__ import annotations

import atexit
import pathlib
import time

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible_collections.flotilla.fleet.plugins.plugin_utils import lock_keeper

DOCUMENTATION = r"""
name: deploy_lock
type: aggregate
short_description: Free the deploy locks that a run still holds at its end
description:
  - A run that ends before its last step, because a task failed or somebody pressed Ctrl-C, frees its deploy locks with
    this callback. Without it, M(flotilla.fleet.deploy_lock) gives no signs of life either, and the lock of a run that
    failed stays until playbook unlock.yml releases it.
requirements:
  - enabled in the configuration
"""

FREE_SECONDS = 5.0
POLL_SECONDS = 0.05


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Shows the keepers of this run's locks that the run lives, and waits for them at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "deploy_lock"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._presence = lock_keeper.Presence(pathlib.Path(constants.DEFAULT_LOCAL_TMP))
        self._run = self._presence.begin()
        # Not v2_playbook_on_stats, which is not called when the run is interrupted or a playbook can't be read.
        atexit.register(self._end)

    def _end(self) -> None:
        self._run.close()
        deadline = time.monotonic() + FREE_SECONDS
        while (held := self._presence.held()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if held:
            self._display.warning(
                f"{', '.join(held)}: can't be reached, so the deploy lock stays there. The next run takes it over"
                " in a minute."
            )
        if self._presence.lost.exists():
            self._display.display(f"flotilla: {self._presence.lost.read_text(encoding='utf-8')}", color="red")
