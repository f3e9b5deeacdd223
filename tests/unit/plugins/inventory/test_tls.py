"""Mistakes in the settings of the frontend's certificate, whose key no message shows."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from unit.plugins.inventory.inventories import SECRETS, Inventory, fleet, roles


def pem(name: str, passphrase: bytes = b"") -> tuple[str, str]:
    """A certificate and its key, encrypted where there is a passphrase."""
    certificate, key = issue(make_authority("test"), name, "server", [], [name])
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    key_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()
    return certificate_pem(certificate), key_text


OURS, OUR_KEY = pem("models.example")


THEIRS, THEIR_KEY = pem("other.example")


def with_tls(mode: object, **settings: object) -> Inventory:
    variables = {f"nginx_lb_tls_{name}": value for name, value in settings.items()}
    return fleet(lb={"nginx_lb_tls": mode, **variables})


@pytest.mark.parametrize(
    "inventory",
    [
        with_tls("off", certificate="", names=[], hsts_seconds=0),
        with_tls(False),
        with_tls("own", certificate=OURS, key=OUR_KEY, names=["proxy.example"], hsts_seconds=63072000),
        with_tls("own", certificate=OURS + THEIRS, key=OUR_KEY, port=8443),
        with_tls("internal", names=["models.example", "*.models.example"]),
    ],
)
def test_good_tls_settings_have_no_errors(inventory: Inventory) -> None:
    assert inventory_errors(*inventory, roles(SECRETS)) == []


@pytest.mark.parametrize(
    ("inventory", "error"),
    [
        (with_tls("on"), "lb: nginx_lb_tls is 'on': set off, own, internal or acme"),
        (with_tls(True), "lb: nginx_lb_tls is true: set off, own, internal or acme"),
        (
            with_tls("own", key=OUR_KEY),
            "lb: nginx_lb_tls_certificate is empty: set a certificate in PEM",
        ),
        (
            with_tls("own", certificate=OUR_KEY, key=OUR_KEY),
            "lb: nginx_lb_tls_certificate is (hidden): set a certificate in PEM",
        ),
        (
            with_tls("own", certificate=OURS),
            "lb: nginx_lb_tls_key is empty: set a private key in PEM form",
        ),
        (
            with_tls("own", certificate=OURS, key="/etc/frontend.key"),
            "lb: nginx_lb_tls_key is (hidden): set a private key in PEM form, because nginx_lb_tls is own: its text, "
            "or \"{{ lookup('file', inventory_dir ~ '/privkey.pem') }}\" for a file",
        ),
        (
            with_tls("own", certificate=OURS, key=pem("a", b"secret")[1]),
            "lb: nginx_lb_tls_key is (hidden): the key has a passphrase, which Nginx can't ask for",
        ),
        (
            with_tls("own", certificate=OURS, key=THEIR_KEY),
            "lb: nginx_lb_tls_key is (hidden): this is not the key of nginx_lb_tls_certificate: set the key with which",
        ),
        (
            with_tls("own", certificate=THEIRS + OURS, key=OUR_KEY),
            "lb: nginx_lb_tls_key is (hidden): this is not the key of the first certificate",
        ),
        (
            with_tls("off", key=OUR_KEY),
            "lb: nginx_lb_tls_key is (hidden): this has no effect while nginx_lb_tls is off: set nginx_lb_tls to own",
        ),
        (
            with_tls("internal", certificate=OURS),
            "lb: nginx_lb_tls_certificate is (hidden): this has no effect while nginx_lb_tls is inter",
        ),
        (
            with_tls("off", names=["models.example"]),
            "lb: nginx_lb_tls_names is ['models.example']: this has no effect while nginx_lb_tls is off: "
            "set nginx_lb_tls to internal",
        ),
        (
            with_tls("off", hsts_seconds=60),
            "lb: nginx_lb_tls_hsts_seconds is 60: this has no effect while nginx_lb_tls is off",
        ),
        (
            with_tls("internal", names=["https://models.example"]),
            "'https://models.example' is not a DNS name",
        ),
        (with_tls("internal", port=80), "lb: nginx_lb_port is 80: nginx_lb_tls_port of lb uses port 80"),
        (
            fleet(lb={"nginx_lb_private": OUR_KEY}),
            "lb: nginx_lb_private is (hidden): there is no such variable",
        ),
    ],
)
def test_tls_settings_that_can_not_work_are_reported_without_a_key(inventory: Inventory, error: str) -> None:
    (found,) = inventory_errors(*inventory, roles(SECRETS))
    assert error in found
    assert "KEY-----" not in found


def test_tls_is_the_same_on_all_load_balancers() -> None:
    hosts, groups = fleet(lb={"nginx_lb_tls": "internal"})
    (found,) = inventory_errors(hosts, {**groups, "load_balancers": ["lb", "n1"]}, roles(SECRETS))
    assert found == (
        "lb (internal), n1 (off): nginx_lb_tls is not the same on all: set it for the group load_balancers"
    )


def test_a_key_whose_template_fails_is_reported_without_the_error() -> None:
    class Broken(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            if name == "nginx_lb_tls_key":
                raise ValueError(f"no file for {OUR_KEY}")
            return super().__getitem__(name)

    hosts, groups = with_tls("own", certificate=OURS, key="")
    hosts["lb"] = Broken(hosts["lb"])
    (found,) = inventory_errors(hosts, groups, roles(SECRETS))
    assert found.startswith(
        "lb: nginx_lb_tls_key is (hidden): its template fails; to see why, run: ansible load_balan"
    )
    assert "KEY-----" not in found
