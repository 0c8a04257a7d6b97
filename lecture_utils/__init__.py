"""The helper package of the computer-vision lecture that runs."""

__version__ = "0.1.0"
