"""Frozen configuration of the networks and solvers, and the presets that ship with the engine."""
