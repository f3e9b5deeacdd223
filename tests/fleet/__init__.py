"""What a running fleet promises. Molecule's verify step runs these tests against the hosts it made."""
