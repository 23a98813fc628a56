"""fantasyid-engine: one photo of a face and one prompt in, a video of that person out."""

from importlib.metadata import version

__version__ = version("fantasyid-engine")
