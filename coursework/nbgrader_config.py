"""nbgrader for the course's notebooks, read by nbgrader in the folder it is started in; the README says how."""

from nbgrader.converters import GenerateAssignment

c = get_config()

c.CourseDirectory.course_id = "computer-vision"

# The notebooks hold no solutions, only functions without a body, and nbgrader would clear those, too.
steps = GenerateAssignment.preprocessors.default()
c.GenerateAssignment.preprocessors = [step for step in steps if step.__name__ != "ClearSolutions"]

# Seconds that one cell may take: some train a network.
c.Execute.timeout = 900
