"""Models that numpy alone answers. Runs in the build, in a worker and beside it."""
