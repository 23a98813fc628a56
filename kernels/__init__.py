"""Triton kernels, their plain-torch references, and the dispatcher between the two; the maths is in README.md.

Importing this package imports no Triton: an op's kernel is imported when it is first wanted.
"""
