"""Triton kernels, their plain-torch references, and the dispatcher between the two."""
