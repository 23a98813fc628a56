"""Data to train on: clips, where they come from, which of them are fit, and what is read of them."""
