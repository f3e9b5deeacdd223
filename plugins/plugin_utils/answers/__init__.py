"""Runs on the controller: compares what two releases answered to the same traffic."""
