"""Checked exercises: `check` an answer, take a `hint`, see the package's own `solution`, count the `progress`."""

from lecture_course.engine.checking import check, hint, progress, solution
