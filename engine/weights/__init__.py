"""Weights: the authors' checkpoint and our own, loaded right to the last key; conversion, hashes, inspection."""
