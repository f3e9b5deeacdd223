"""Which files of a host differ from those it is to have."""

from __future__ import annotations

import hashlib

from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File, out_of_date


def test_files_are_out_of_date_by_content_mode_or_owner_or_when_missing() -> None:
    digest = hashlib.sha256(b"one\n").hexdigest()
    plain: File = {"path": "/plain", "content": "one\n"}
    key: File = {"path": "/key", "content": "one\n", "mode": "0400", "owner": 10003}
    present = {"/plain": f"{digest}:0644:0", "/key": f"{digest}:0400:10003", "/other": "0:0644:0"}
    assert out_of_date([plain, key], present) == []
    assert out_of_date([{**plain, "content": "two\n"}, key], present) == ["/plain"]
    assert out_of_date([{**plain, "mode": "0755"}, {**key, "owner": 0}], present) == ["/plain", "/key"]
    assert out_of_date([plain], {}) == ["/plain"]
