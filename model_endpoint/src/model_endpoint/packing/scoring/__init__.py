"""Score a file of many rows by a fleet: `flotilla-model score`. Runs on any machine that reaches a load balancer."""
