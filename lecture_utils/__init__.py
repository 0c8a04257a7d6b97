"""The helper package of the computer-vision lecture that runs."""

__version__ = "0.1.0"
# By this line a notebook's first cell knows this package, and in the version it needs, from others of the same name.
COURSE = "computer vision 0.1.0"
