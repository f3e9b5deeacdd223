"""The certificate that clients are shown is told before it ends, in the same words by a run and by the status."""

from __future__ import annotations

from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.certificates import (
    CLIENTS_WARNED_DAYS,
    certificate_warnings,
    soon_ending,
)

DAY = 86400
CERTIFICATE = issue(make_authority("test"), "frontend", "server", [], ["models.example"])[0]
TEXT, END = certificate_pem(CERTIFICATE), CERTIFICATE.not_valid_after_utc.timestamp()


def test_a_certificate_is_told_from_a_month_before_its_end() -> None:
    end = f"{CERTIFICATE.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}"
    assert soon_ending(TEXT, END - CLIENTS_WARNED_DAYS * DAY) == ""
    assert soon_ending(TEXT, END - 19.5 * DAY) == f"ends in 19 days ({end})"
    assert soon_ending(TEXT, END - 1.5 * DAY) == f"ends in 1 day ({end})"
    assert soon_ending(TEXT, END + 1) == f"has ended ({end})"


def test_a_run_warns_of_what_it_gave_the_load_balancers_to_show() -> None:
    own = {"nginx_lb_tls": "own", "nginx_lb_tls_certificate": TEXT}
    issued = {"internal_ca_issued": {"certificates": {"frontend-lb2": {"certificate": TEXT}}}}
    for variables, warned in (
        (own, True),
        ({"nginx_lb_tls": "internal", **issued}, True),
        ({"nginx_lb_tls": "internal"}, False),  # this run has had nothing issued
        ({**own, "nginx_lb_tls": "off"}, False),
    ):
        found = certificate_warnings({"lb1": {}, "lb2": variables}, ["lb1", "lb2"], END - DAY)
        assert [line.partition(":")[0] for line in found] == (["lb2"] if warned else [])
    (line,) = certificate_warnings({"lb1": own, "lb2": own}, ["lb1", "lb2"], END - DAY)
    assert line.startswith("lb1, lb2: the certificate that clients see ends in 1 day (")
