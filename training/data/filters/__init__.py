"""Which clips are fit to train on: filters behind one protocol, and a chain of them with its report."""
