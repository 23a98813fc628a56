"""The avatar world: rendered people whose identity is known to the last parameter, to train on and to measure with."""
