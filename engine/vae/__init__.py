"""VAE: photos to image latents, latents to frames, whole or in tiles without seams."""
