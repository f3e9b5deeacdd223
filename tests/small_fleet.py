"""A small inventory for tests: two load balancers, two nodes, and a host that is not part of the fleet."""

from __future__ import annotations

from typing import Any

GROUPS = {
    "load_balancers": ["lb1", "lb2"],
    "model_nodes": ["node1", "node2"],
    "all": ["lb1", "lb2", "node1", "node2", "db"],
}
REGISTRIES = "10.0.0.1:5000", "10.0.0.1:5080"
"""Where machines pull images, and where the builder pushes them."""

HOSTVARS: dict[str, dict[str, Any]] = {
    "lb1": {"ansible_host": "10.0.0.1"},
    "lb2": {"ansible_host": "10.0.0.2", "nginx_lb_address": "10.1.0.2"},
    "node1": {"ansible_host": "10.0.0.11", "model_endpoint_weight": "3"},
    "node2": {"ansible_host": "10.0.0.12", "model_endpoint_port": 6001},
    "db": {"ansible_host": "10.0.0.99"},
}
