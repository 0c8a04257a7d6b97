"""nbgrader for the course's notebooks, read by nbgrader in the folder it is started in; the README says how."""

from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.preprocessors import CheckCellMetadata, Execute

from lecture_course.engine.marking import Judge, Untangle

c = get_config()

c.CourseDirectory.course_id = "computer-vision"

# The notebooks hold no solutions, only functions without a body, and nbgrader would clear those, too.
steps = GenerateAssignment.preprocessors.default()
c.GenerateAssignment.preprocessors = [step for step in steps if step.__name__ != "ClearSolutions"]

# A pasted copy of an exercise does not stop the grading.
steps = Autograde.sanitize_preprocessors.default()
steps.insert(steps.index(CheckCellMetadata), Untangle)
c.Autograde.sanitize_preprocessors = steps

# A submission cannot mark itself.
steps = Autograde.autograde_preprocessors.default()
c.Autograde.autograde_preprocessors = [Judge if step is Execute else step for step in steps]

# Seconds that one cell may take: some train a network.
c.Execute.timeout = 900
