"""The toy city: a generated world with everything the lecture needs. Scene → image → captions → files.

Knows numpy and Pillow only, no torch. `sample.py` draws a scene from a seed, `render.py` paints it, `describe.py`
speaks of it, `export.py` writes it in the layouts of real data sets.
"""

from lecture_utils.toycity.describe import PHRASES, WORDS, describe
from lecture_utils.toycity.export import export, refuse_in_a_starting_worker, seeds, verify
from lecture_utils.toycity.render import Rendering, VisibleObject, render, render_close
from lecture_utils.toycity.sample import sample_scene
from lecture_utils.toycity.scene import Scene
