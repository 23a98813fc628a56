"""Video: frames to an .mp4, a .mov or a folder of PNG pictures, whole or not at all, and back."""
