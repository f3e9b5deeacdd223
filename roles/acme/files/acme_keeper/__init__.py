"""Orders the certificate that clients are shown from a CA by ACME (RFC 8555), renews it, and hands it to the others."""
