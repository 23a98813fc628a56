"""The reference trainer: data, losses, checkpoints, and the worlds that models are trained on."""
