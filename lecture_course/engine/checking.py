"""Exercises that check themselves: `check` an answer, take a `hint`, see the `solution`, count the `progress`.

The right answers are the package's own functions, so a notebook holds none and there is no second copy to go wrong.
"""

import inspect
import linecache
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import escape
from types import CodeType
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from lecture_course.engine import forked, formatting, grading, serialization, values
from lecture_course.engine.cards import MARKS, Card, Example
from lecture_course.engine.definitions import Case, Exercise, Prediction, find, of_notebook
from lecture_course.engine.diagnosis import Diagnosis, Evidence, diagnose, wrong_prediction
from lecture_course.engine.running import GRACE, answers, run

CORRECT, NOT_YET, NOT_ATTEMPTED = "correct", "not yet", "not attempted"

_statuses: dict[str, str] = {}  # what this kernel's last check of each exercise said
_hints_given: dict[str, int] = {}


@dataclass(frozen=True)
class Outcome:
    """What a check found. As the last value of a cell it shows as a card."""

    exercise: Exercise | Prediction
    status: str  # CORRECT, NOT_YET or NOT_ATTEMPTED
    lines: tuple[str, ...]
    specific: bool = False  # whether the lines name what is wrong
    example: Example | None = None
    printed: str = field(default="", repr=False)
    record: str = ""  # the answers themselves, for whoever grades them elsewhere

    def card(self) -> Card:
        heading = f"{MARKS[self.status]}{self.status}: {self.exercise.title} ({self.exercise.effort})"
        closing = "" if self.status == CORRECT else _offer(self.exercise)
        return Card(heading, self.lines, self.status, self.example, self.printed, closing=closing)

    def __str__(self) -> str:
        return str(self.card())

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return self.card()._repr_mimebundle_()


def check(name: str, answer: Any) -> Outcome | None:
    """Check the answer to an exercise, as `check("02.max_unpool", max_unpool)` in the last line of its cell.

    Whatever the answer does, the notebook goes on: it runs on copies and for a few seconds at most, under Linux in a
    copy of the process, so that it can be ended within any operation and what it leaves behind is gone. While nbgrader
    grades the notebook the inputs are fresh, and an answer that is not correct raises `NotYet`.
    """
    exercise = find(name)
    graded = grading.is_running()
    outcome = _judge_forked(exercise, answer, grading.seed() if graded else None)
    _statuses[name] = outcome.status
    if not graded:
        return outcome
    # Shown, not returned: nbgrader takes the value of a check cell for marks.
    from IPython.display import display

    if grading.is_judged():
        display({grading.ANSWERS: outcome.record}, raw=True)
    if outcome.status != CORRECT:
        raise grading.NotYet(str(outcome))
    return display(outcome)


def _judge_forked(exercise: Exercise | Prediction, answer: Any, seed: int | None) -> Outcome:
    """As `judge`, in a copy of this process where that is possible and the answer is a function."""
    if not (forked.available() and isinstance(exercise, Exercise) and callable(answer)):
        return judge(exercise, answer, seed=seed)

    def work() -> tuple[Outcome, bool]:
        start, worked = time.perf_counter(), time.process_time()
        outcome = judge(exercise, answer, seed=seed)
        took, worked = time.perf_counter() - start, time.process_time() - worked
        return replace(outcome, exercise=None), took > exercise.seconds and worked < took / 3

    try:
        came = forked.run(work, seconds=exercise.seconds + 2 * GRACE)
    except forked.Failed:
        return judge(exercise, answer, seed=seed)
    if isinstance(came, forked.Ended):
        return Outcome(exercise, NOT_YET, (_why_it_ended(came, exercise, answer),), specific=True)
    outcome, idle = came
    # It may have waited for a library's threads, or asked for the GPU, which a copy has not. It ends, so it runs here.
    if idle or (outcome.status != CORRECT and torch.cuda.is_initialized()):
        return judge(exercise, answer, seed=seed)
    return replace(outcome, exercise=exercise)


def _why_it_ended(ended: forked.Ended, exercise: Exercise, function: Callable) -> str:
    if ended.within:
        file = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", None)
        numbers = [number for name, number in ended.within if name == file]
        number = numbers[0] if numbers else None
        if numbers.count(number) > 20:
            return f"Your function calls itself without end in line {number}: {linecache.getline(file, number).strip()}"
        line = f" (line {number}: {linecache.getline(file, number).strip()})" if number else ""
        return (
            f"Your function was not done in {exercise.seconds:g} seconds. It was within one operation{line}: "
            "are its numbers too large, or is it a search that never ends?"
        )
    if ended.status == -signal.SIGKILL:
        return "The system ended Python while your function ran: did it take all the memory?"
    how = signal.Signals(-ended.status).name if ended.status < 0 else f"exit status {ended.status}"
    return f"Your function ends Python itself ({how}); it should return its result instead."


def judge(exercise: Exercise | Prediction, answer: Any, *, seed: int | None = None) -> Outcome:
    """The outcome for an answer, by itself; `seed` None gives the inputs that belong to the exercise's name."""
    if answer is None or answer is ...:
        return _not_attempted(exercise)
    if isinstance(exercise, Prediction):
        return replace(_judge_prediction(exercise, answer), record=serialization.dumps([{"value": answer}]))
    if not callable(answer):
        says = f"You gave {formatting.short(answer)}; give the function itself, its name without brackets."
        return Outcome(exercise, NOT_YET, (says,), specific=True)
    if is_untouched(answer):
        return _not_attempted(exercise)
    return _judge_function(exercise, answer, crc32(exercise.name.encode()) if seed is None else seed)


def _judge_function(exercise: Exercise, function: Callable, seed: int) -> Outcome:
    cases = exercise.cases(torch.Generator().manual_seed(seed))
    references = answers(exercise.reference, cases)
    if failed := next((call.error for call in references if call.error is not None), None):
        raise RuntimeError(f"the reference of {exercise.name} fails on an input of its own") from failed
    if says := signature_differs(exercise.reference, function, cases):
        return Outcome(exercise, NOT_YET, (says,), specific=True)
    calls = run(function, cases, seconds=exercise.seconds)
    # Torch, too, raises a NotImplementedError where it lacks an operation for a type of number.
    if all(call.value is ... or "raise NotImplementedError" in call.line for call in calls):
        return _not_attempted(exercise)
    evidence = Evidence(exercise, function, cases, [call.value for call in references], calls)
    try:
        return replace(_verdict(evidence), record=serialization.dump_calls(calls) if grading.is_judged() else "")
    except Exception as error:  # an answer so strange that even looking at it fails
        says = f"Your function returns something that cannot be compared ({type(error).__name__}: {error})."
        return Outcome(exercise, NOT_YET, (says,))


def _verdict(evidence: Evidence) -> Outcome:
    exercise, cases = evidence.exercise, evidence.cases
    if not evidence.failing:
        inputs = "1 input" if len(cases) == 1 else f"{len(cases)} inputs"
        notes = "; ".join(dict.fromkeys(case.note for case in cases if case.note))
        right = f"Right on {inputs}{': ' if notes else ''}{notes}."
        return Outcome(exercise, CORRECT, tuple(filter(None, (right, exercise.because))))
    found = diagnose(evidence)
    return Outcome(
        exercise, NOT_YET, (found.says,), found.specific, _example(evidence), evidence.calls[evidence.first].printed
    )


def _judge_prediction(exercise: Prediction, answer: Any) -> Outcome:
    expected = exercise.answer()
    if values.same(expected, answer, tolerance=exercise.tolerance):
        return Outcome(
            exercise, CORRECT, tuple(filter(None, (f"It is {formatting.short(expected)}.", exercise.because)))
        )
    found: Diagnosis = wrong_prediction(exercise, expected, answer)
    return Outcome(exercise, NOT_YET, (found.says,), found.specific)


def _not_attempted(exercise: Exercise | Prediction) -> Outcome:
    what = f"Replace the `...` in the cell above by your {'code' if isinstance(exercise, Exercise) else 'answer'}"
    return Outcome(exercise, NOT_ATTEMPTED, (f"{what}, run it, and then this cell again.",))


def _offer(exercise: Exercise | Prediction) -> str:
    offer = f'`solution("{exercise.name}")` shows the answer.'
    return f'`hint("{exercise.name}")` gives a hint; {offer}' if exercise.hints else offer


def _example(evidence: Evidence) -> Example:
    first = evidence.first
    case, expected, call = evidence.cases[first], evidence.expected[first], evidence.calls[first]
    names = evidence.options(case) or {f"argument {i + 1}": arg for i, arg in enumerate(case.args)}
    given_names = dict(list(names.items())[: len(case.args)]) | dict(case.kwargs)
    wrong = None if call.error is not None else values.differing_entries(expected, call.value)
    inputs = "\n".join(f"{name} = {_shown_input(value, wrong)}" for name, value in given_names.items())
    if call.error is not None:
        given = f"({type(call.error).__name__})"
        return Example(case.note, inputs, formatting.format_value(expected), given, escape(given))
    whole = formatting.fits(expected) and formatting.fits(call.value)
    given, html, wanted = (
        formatting.format_value(value, differs=wrong, mark=mark, escape=escaping, whole=whole)
        for value, mark, escaping in (
            (call.value, str, str),
            (call.value, "<b><u>{}</u></b>".format, escape),
            (expected, str, str),
        )
    )
    return Example(case.note, inputs, wanted, given, html)


def _shown_input(value: Any, wrong: Tensor | None) -> str:
    """An input; of a large one the image and channel that went wrong, if the answer has the same ones."""
    place = None
    alike = wrong is not None and values.is_array(value) and value.ndim == wrong.ndim >= 2
    if alike and tuple(value.shape[:-2]) == tuple(wrong.shape[:-2]):
        place = torch.zeros(tuple(value.shape), dtype=torch.bool)
        place[..., :1, :1] = wrong.any(dim=-1, keepdim=True).any(dim=-2, keepdim=True)
    return formatting.format_value(value, differs=place)


def signature_differs(reference: Callable, function: Callable, cases: list[Case]) -> str | None:
    """What to say about a function that cannot be called as the reference is."""
    try:
        theirs = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        for case in cases:
            theirs.bind(*case.args, **case.kwargs)
    except TypeError as error:
        names = ", ".join(inspect.signature(reference).parameters)
        own = ", ".join(theirs.parameters) or "nothing"
        return f"Your function takes ({own}) and is called with ({names}): {error}. Keep the `def` line as it was."
    return None


def is_untouched(function: Callable) -> bool:
    """Whether the body of a function does nothing yet: a docstring and `...`, `pass` or `raise NotImplementedError`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and _essence(code, function.__doc__) in _STUBS


def _essence(code: CodeType, doc: str | None) -> tuple:
    """What tells one function's doing from another's: instructions, names and constants but for the docstring."""
    return code.co_code, code.co_names, tuple(constant for constant in code.co_consts if constant != doc)


def _stubs() -> set[tuple]:
    found = set()
    for body in ("...", "pass", "return", "return None", "raise NotImplementedError", "raise NotImplementedError()"):
        for doc in ("", "'doc'; "):
            space: dict[str, Any] = {}
            exec(f"def stub():\n    {doc}{body}", space)
            found.add(_essence(space["stub"].__code__, space["stub"].__doc__))
    return found


_STUBS = _stubs()


def hint(name: str) -> Card:
    """The next hint of an exercise, one step further at each call; after the last one, the last again."""
    exercise = find(name)
    if not exercise.hints:
        return Card(f"No hints for this one: {exercise.title}", (_offer(exercise),))
    step = min(_hints_given.get(name, 0) + 1, len(exercise.hints))
    _hints_given[name] = step
    more = "Run the cell again for the next one." if step < len(exercise.hints) else "That was the last one."
    return Card(f"Hint {step} of {len(exercise.hints)}: {exercise.title}", (exercise.hints[step - 1], more))


def solution(name: str) -> Card:
    """The package's own source of what an exercise asks for, or the answer of a prediction."""
    exercise = find(name)
    heading = f"Solution: {exercise.title}"
    if isinstance(exercise, Prediction):
        return Card(heading, tuple(filter(None, (f"It is {formatting.short(exercise.answer())}.", exercise.because))))
    function = exercise.shown or exercise.reference
    place = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
    try:
        return Card(heading, (f"`{place}`",), code=inspect.getsource(function))
    except (OSError, TypeError):  # written in C
        return Card(heading, (f"`{place}` does it.",))


def progress(notebook: str) -> Card:
    """How many exercises of notebook "02" are done, by this kernel's last check of each; the notebook's last cell."""
    exercises = of_notebook(notebook)
    titles: dict[str, list[str]] = {CORRECT: [], NOT_YET: [], NOT_ATTEMPTED: []}
    for exercise in exercises.values():
        titles[_statuses.get(exercise.name, NOT_ATTEMPTED)].append(exercise.title)
    done = len(titles[CORRECT])
    counts = [f"{done} of {len(exercises)} done"]
    counts += [f"{len(titles[s])} {s}: {', '.join(titles[s])}" for s in (NOT_YET, NOT_ATTEMPTED) if titles[s]]
    bar = "■" * done + "□" * (len(exercises) - done)
    return Card(f"{bar} {'; '.join(counts)}.", status=CORRECT if done == len(exercises) else "")
