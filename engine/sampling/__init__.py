"""Sampling: noise schedule, solvers, guidance and the denoising loop."""
