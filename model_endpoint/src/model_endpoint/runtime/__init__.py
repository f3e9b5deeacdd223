"""The process of a worker, its counters and its log, and the programs that run beside it in its container."""
