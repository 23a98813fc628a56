"""The small networks that look at avatars, made and measured: detector, recogniser, observer."""
