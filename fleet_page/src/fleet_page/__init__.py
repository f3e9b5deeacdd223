"""The page of the fleet: what runs where, how it is, and how it has been. It reads, and can change nothing."""
