"""Runs on the controller: the variables that have a new name. An inventory with an old name is refused."""

from __future__ import annotations

from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "model_endpoint_fast_lane": "model_endpoint_fast_path",
    "nginx_lb_bake_seconds": "release_bake_seconds",
    "nginx_lb_canary_key": "release_canary_key",
    "nginx_lb_canary_percent": "release_canary_percent",
    "nginx_lb_canary_steps": "release_canary_steps",
    "nginx_lb_drain_timeout": "release_drain_timeout",
    "nginx_lb_min_nodes": "release_min_nodes",
    "nginx_lb_ramp_seconds": "release_ramp_seconds",
    "nginx_lb_shadow_percent": "release_shadow_percent",
    "nginx_lb_virtual_address": "virtual_address_ip",
    "nginx_lb_virtual_interface": "virtual_address_interface",
    "nginx_lb_watch_failure_points": "release_watch_failure_points",
    "nginx_lb_watch_min_requests": "release_watch_min_requests",
    "nginx_lb_watch_p95_factor": "release_watch_p95_factor",
    "nginx_lb_watch_p95_floor": "release_watch_p95_floor",
    "nginx_lb_watch_too_few": "release_watch_too_few",
}
"""The new name of each old one."""
