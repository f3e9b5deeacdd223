"""Promises of two load balancers behind one address, while either is taken away."""
