"""Where the exercises were: notebooks that students half solved still import them from here."""

raise ImportError("The exercises have moved. Write instead: from lecture_course import check, hint, progress, solution")
