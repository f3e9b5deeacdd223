#!/usr/bin/python
"""Runs on the controller: keeps the internal certificate authorities and the certificates they have issued."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.flotilla.fleet.plugins.module_utils.certificate_store import (
    AUTHORITIES,
    OPTIONAL,
    Authority,
    Store,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    HAS_CRYPTOGRAPHY,
    Pair,
    certificate_pem,
    days_left,
    issue,
    key_pem,
    still_good,
)

DOCUMENTATION = r"""
module: internal_ca
short_description: Keep the internal certificate authorities and what they issued
description:
  - Runs on the controller, and needs cryptography there.
  - Keeps the authorities in O(directory), makes them when there are none, and issues the certificates asked for.
    C(fleet) signs what machines of the fleet show each other, C(balancers) signs the client certificates of load
    balancers only, C(builder) that of the image builder only, and C(monitoring) the one that metrics are read with.
    A server that trusts C(balancers) only is thus reached by load balancers only.
  - C(monitoring) is made when the first certificate of it is asked for, and left alone where none is.
  - A certificate is kept until it expires within O(renew_days), its names, addresses or usage change, or its
    authority changes.
  - One call serves the whole fleet, because one call for each certificate would take minutes for a few hundred hosts.
  - In check mode the certificates are made in memory and nothing is written.
options:
  directory:
    description: Folder on the controller, made with mode 0700. Private keys in it have mode 0600.
    type: path
    required: true
  common_name:
    description: What the authorities' names begin with, used when they are made.
    type: str
    required: true
  passphrase:
    description: What the private keys in O(directory) are encrypted with. Empty leaves them as they are.
    type: str
    default: ""
  may_begin:
    description: Whether authorities may be made where there are none. If not, a missing authority is an error.
    type: bool
    default: true
  step:
    description:
      - A step in the replacement of the authorities. V(trust) makes new authorities, which are trusted beside the old
        ones and sign nothing yet. V(issue) has the new authorities sign, and issues every certificate again. V(drop)
        ends the trust in the old authorities.
      - A step that was taken before changes nothing. V(trust) after V(drop) starts the next replacement.
      - V(keep) leaves the authorities at the step they are at.
    type: str
    choices: [keep, trust, issue, drop]
    default: keep
  certificates:
    description: The certificates to return.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: File name of the certificate, and its common name.
        type: str
        required: true
      authority:
        description: The authority that signs it.
        type: str
        choices: [fleet, balancers, builder, monitoring]
        default: fleet
      usage:
        description: What it may be used for.
        type: str
        choices: [client, server]
        required: true
      addresses:
        description: IP addresses it is valid for.
        type: list
        elements: str
        default: []
      names:
        description: DNS names it is valid for.
        type: list
        elements: str
        default: []
  renew_days:
    description: A certificate that expires within so many days is issued again.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Issue the registry's certificate
  flotilla.fleet.internal_ca:
    directory: ~/ca
    common_name: Flotilla internal CA
    certificates:
      - name: registry
        usage: server
        addresses: [10.0.0.10]
  register: internal_ca
  no_log: true
"""

RETURN = r"""
authorities:
  description: By authority, the certificates to trust in PEM form; two of them while it is being replaced.
  returned: always
  type: dict
certificates:
  description: RV(certificates.certificate) and RV(certificates.private_key) (PKCS#8) in PEM form, by name.
  returned: always
  type: dict
days_left:
  description: Days until the first of the authorities that sign expires.
  returned: always
  type: int
"""


def ensure(
    store: Store, authorities: Mapping[str, Pair], wanted: Mapping[str, Any], renew_days: int
) -> dict[str, str]:
    """Return a certificate and its key as RETURN describes them, issued again where the stored one won't do."""
    name, authority = wanted["name"], authorities[wanted["authority"]]
    description = wanted["usage"], wanted["addresses"], wanted["names"]
    pair = store.read(name)
    if pair is None or not still_good(pair[0], authority[0], *description, renew_days):
        pair = issue(authority, name, *description)
        store.write(name, pair)
    return {"certificate": certificate_pem(pair[0]), "private_key": key_pem(pair[1])}


def run(wanted: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """Do what the module's parameters `wanted` ask for and return its result.

    Raises:
        ValueError: when a file can't be read, or authorities are missing and must not be made.
    """
    asked = {entry["authority"] for entry in wanted["certificates"]}
    authorities = {
        name: Authority(store, name, wanted["common_name"])
        for name in AUTHORITIES
        if name not in OPTIONAL or name in asked
    }
    for name, authority in authorities.items():
        if not authority.exists():
            if not wanted["may_begin"] and name not in OPTIONAL:
                raise ValueError(
                    f"{store.directory} holds no authority, but the fleet's machines have certificates of one: copy "
                    "this folder from the controller that has it. If it is lost, -e internal_ca_lost=true makes a new "
                    "one, and requests fail until that run is over"
                )
            authority.begin()
        if wanted["step"] != "keep":
            authority.advance(wanted["step"])
    signing = {name: authority.signing() for name, authority in authorities.items()}
    return {
        "authorities": {name: authority.trusted() for name, authority in authorities.items()},
        "certificates": {
            entry["name"]: ensure(store, signing, entry, wanted["renew_days"])
            for entry in wanted["certificates"]
        },
        "days_left": min(days_left(certificate) for certificate, _ in signing.values()),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "common_name": {"type": "str", "required": True},
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "may_begin": {"type": "bool", "default": True},
            "step": {"type": "str", "choices": ["keep", "trust", "issue", "drop"], "default": "keep"},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "authority": {"type": "str", "choices": list(AUTHORITIES), "default": "fleet"},
                    "usage": {"type": "str", "choices": ["client", "server"], "required": True},
                    "addresses": {"type": "list", "elements": "str", "default": []},
                    "names": {"type": "list", "elements": "str", "default": []},
                },
            },
            "renew_days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    directory, passphrase = pathlib.Path(module.params["directory"]), module.params["passphrase"]
    store = Store(directory, passphrase, check_mode=module.check_mode)
    try:
        result = run(module.params, store)
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=store.changed, **result)


if __name__ == "__main__":
    main()
