"""Frozen configuration of the networks, checked when it is made, and the named sizes."""
