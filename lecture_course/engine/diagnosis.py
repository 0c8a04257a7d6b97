"""What is wrong with a function: the exercise's own mistakes first, then what can go wrong with any function."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

from lecture_course.engine import values, wrong_numbers, wrong_shapes
from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.engine.formatting import short
from lecture_course.engine.running import Call, OutOfTime, answers, run


class Diagnosis(NamedTuple):
    """What is wrong, and whether that names a cause or only says that the numbers differ."""

    says: str
    specific: bool = True


@dataclass(frozen=True)
class Evidence:
    """What the reference and the student's function gave for each case."""

    exercise: Exercise
    function: Callable
    cases: Sequence[Case]
    expected: Sequence[Any]
    calls: Sequence[Call]

    @cached_property
    def right(self) -> list[bool]:
        pairs = zip(self.expected, self.calls, strict=True)
        return [call.error is None and values.same(expected, call.value) for expected, call in pairs]

    @cached_property
    def failing(self) -> list[int]:
        """The cases that came out wrong, smallest input first; if there are none, those that changed their input."""
        failing = [i for i, right in enumerate(self.right) if not right]
        failing = failing or [i for i, call in enumerate(self.calls) if call.changed]
        return sorted(failing, key=lambda i: values.size(self.cases[i].args))

    @cached_property
    def first(self) -> int:
        return self.failing[0]

    def options(self, case: Case) -> dict[str, Any]:
        """The arguments of a case by name, defaults included; empty for a reference without a signature."""
        try:
            bound = inspect.signature(self.exercise.reference).bind(*case.args, **case.kwargs)
        except (TypeError, ValueError):
            return {}
        bound.apply_defaults()
        return dict(bound.arguments)


def diagnose(evidence: Evidence) -> Diagnosis:
    """The most helpful thing to say about a function that is wrong on at least one case."""
    for finder in FINDERS:
        if says := finder(evidence):
            when = _properties_that_tell(evidence) if finder in SYMPTOMS else []
            # Two properties that tell right from wrong equally well: nobody knows which, and the sentence stands.
            return Diagnosis(_sentence(says) + (f" It is right only {when[0]}." if len(when) == 1 else ""))
    if when := _properties_that_tell(evidence):
        return Diagnosis(f"It is right only {', or only '.join(when[:3])}.")
    return Diagnosis(_how_many(evidence), specific=False)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "…")) else text + "."


def own_mistake(e: Evidence) -> str | None:
    for mistake in e.exercise.mistakes:
        wrong = answers(mistake.function, e.cases)
        # Where a mistake itself fails it says nothing. Everywhere else, also where it happens to give the right answer,
        # the student's answer must be its answer.
        telling = [i for i, call in enumerate(wrong) if call.error is None]
        if not all(e.calls[i].error is None and values.same(wrong[i].value, e.calls[i].value) for i in telling):
            continue
        if any(not e.right[i] for i in telling):
            return mistake.says
    return None


def never_ends(e: Evidence) -> str | None:
    done = next((i for i, call in enumerate(e.calls) if isinstance(call.error, OutOfTime)), None)
    if done is None:
        return None
    line = f" ({e.calls[done].line})" if e.calls[done].line else ""
    after = f" after {done} of {len(e.calls)} inputs" if done else ""
    return f"Your function was not done in {e.exercise.seconds:g} seconds{after}. Does a loop never end{line}?"


def raises(e: Evidence) -> str | None:
    error, line = e.calls[e.first].error, e.calls[e.first].line.strip()
    if error is None:
        return None
    line = line and f" in {line}"
    if isinstance(error, RecursionError):
        return f"Your function calls itself without end{line}"
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return f"Your function ends the program ({type(error).__name__}){line}; it should return its result instead"
    try:
        words = " ".join(str(error).split())
    except Exception:  # a class of the student's own
        words = ""
    colon = ": " if words else ""
    return f"Your function raised {type(error).__name__}{line}{colon}{words[:300]}{' …' if len(words) > 300 else ''}"


def returns_nothing(e: Evidence) -> str | None:
    call = e.calls[e.first]
    if call.value is not None or e.expected[e.first] is None:
        return None
    if not all(e.calls[i].value is None for i in range(len(e.calls))):
        return "For some inputs your function returns None: does every branch end in a return?"
    if call.printed.strip():
        return "Your function prints its result, but does not return it: it returns None"
    return "Your function returns None: is a `return` missing at its end?"


def gives_another_kind(e: Evidence) -> str | None:
    return wrong_shapes.another_kind(e.expected[e.first], e.calls[e.first].value)


def changes_its_input(e: Evidence) -> str | None:
    if not any(e.calls[i].changed for i in e.failing):
        return None
    if not any(e.right[i] for i in e.failing):
        return None
    return "Right, but your function writes into its input, which the caller still needs. Work on a copy: `x.clone()`"


def is_random(e: Evidence) -> str | None:
    again = run(e.function, [e.cases[e.first]] * 2, seconds=e.exercise.seconds)
    if any(call.error is not None for call in again) or values.same(again[0].value, again[1].value):
        return None
    return "Your function gives different answers for one and the same input"


def ignores_an_argument(e: Evidence) -> str | None:
    """Whether all the answers are the reference's own with one option set to a fixed value."""
    options = [e.options(case) for case in e.cases]
    for name in options[0]:
        if any(values.is_array(option.get(name)) for option in options):
            continue
        for value in _candidates(e, name, options):
            if any(_equal(options[i][name], value) for i in e.failing):
                continue
            cases = [Case((), {**option, name: value}) for option in options]
            instead = answers(_by_name(e.exercise.reference), cases)
            # Where the reference refuses the value nobody can tell, but of half of what is wrong it must tell.
            telling = [i for i, call in enumerate(instead) if call.error is None]
            if 2 * sum(not e.right[i] for i in telling) < len(e.failing):
                continue
            if all(values.same(instead[i].value, e.calls[i].value) for i in telling):
                return f"Your function ignores `{name}`: it answers as if it were always {short(value)}"
    return None


def _candidates(e: Evidence, name: str, options: list[dict]) -> list[Any]:
    parameter = inspect.signature(e.exercise.reference).parameters.get(name)
    found = [] if parameter is None or parameter.default is inspect.Parameter.empty else [parameter.default]
    for value in [option[name] for option in options if name in option]:
        if not any(_equal(value, other) for other in found):
            found.append(value)
    return found[:6]


def _by_name(function: Callable) -> Callable:
    """`function`, called with all its arguments by name, the positional-only and starred ones too."""
    signature = inspect.signature(function)

    def called(**arguments: Any) -> Any:
        bound = inspect.BoundArguments(signature, dict(arguments))
        return function(*bound.args, **bound.kwargs)

    return called


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and values.same(a, b)


def wrong_in_shape_or_type(e: Evidence) -> str | None:
    return _of_all(e, wrong_shapes.FINDERS)


def wrong_in_numbers(e: Evidence) -> str | None:
    return _of_all(e, wrong_numbers.FINDERS)


def _of_all(e: Evidence, finders: Sequence[Callable]) -> str | None:
    """What the first finder says that holds of every failing case; each sees (case, expected, given) of one array."""
    found = [values.first_difference(e.expected[i], e.calls[i].value) for i in e.failing if e.calls[i].error is None]
    cases = [e.cases[i] for i in e.failing if e.calls[i].error is None]
    triples = [(case, *pair[1:]) for case, pair in zip(cases, found, strict=True) if pair]
    if not triples:
        return None
    place = found[0][0] if found[0] else ""
    for finder in finders:
        if says := finder(triples):
            return f"{place}{says}"
    return None


def _properties_that_tell(e: Evidence) -> list[str]:
    """The properties, in words, that exactly those inputs have on which the function is right."""
    if all(e.right) or not any(e.right):
        return []
    indices = range(len(e.cases))
    return [words for words, holds in _properties(e) if [holds(i) for i in indices] == e.right]


def _properties(e: Evidence) -> list[tuple[str, Callable[[int], bool]]]:
    options = [e.options(case) for case in e.cases]
    names = [name for name in options[0] if not any(values.is_array(option.get(name)) for option in options)]
    found = []
    for name in names:
        for value in _candidates(e, name, options):
            found.append((f"with {name} = {short(value)}", lambda i, n=name, v=value: _equal(options[i].get(n), v)))
    for one, other in combinations(names, 2):
        holds = lambda i, a=one, b=other: _equal(options[i].get(a), options[i].get(b))  # noqa: E731
        found.append((f"when {one} and {other} are equal", holds))
    arguments = [(*case.args, *case.kwargs.values()) for case in e.cases]
    return found + [(words, lambda i, holds=holds: holds(arguments[i])) for words, holds in wrong_shapes.PROPERTIES]


def _how_many(e: Evidence) -> str:
    count = f"{len(e.failing)} of {len(e.cases)} inputs"
    pair = values.first_difference(e.expected[e.first], e.calls[e.first].value)
    if pair and pair[1].shape == pair[2].shape and pair[1].numel() > 1:
        differs = values.differing(pair[1], pair[2])
        numbers = f"{int(differs.sum())} of {differs.numel()} numbers differ"
        return f"The answer is wrong on {count}. On the smallest, {numbers}."
    return f"The answer is wrong on {count}."


# The order matters: what comes first is said, so causes stand before their symptoms.
FINDERS = (
    own_mistake,
    never_ends,
    raises,
    returns_nothing,
    gives_another_kind,
    changes_its_input,
    is_random,
    ignores_an_argument,
    wrong_in_shape_or_type,
    wrong_in_numbers,
)
# These say what came out, not why; on which inputs it comes out right is worth a sentence more.
SYMPTOMS = (raises, returns_nothing, gives_another_kind, wrong_in_shape_or_type, wrong_in_numbers)


def wrong_prediction(exercise: Prediction, expected: Any, answer: Any) -> Diagnosis:
    """What is wrong with a predicted value, without giving the right one away."""
    for key, value in exercise.mistakes.items():
        says, holds = (key, value) if callable(value) else (value, lambda given, key=key: values.same(key, given))
        try:
            if holds(answer):
                return Diagnosis(says)
        except Exception:  # an answer of another kind than the recogniser takes
            continue
    if says := wrong_shapes.another_kind(expected, answer):
        return Diagnosis(_sentence(says.replace("Your function returns", "Your answer is")))
    numbers = values.is_number(expected) and not isinstance(expected, bool)
    if numbers and not isinstance(answer, (bool, complex)) and answer == answer:  # and not nan
        return Diagnosis(f"It is {'less' if answer > expected else 'more'} than {short(answer)}.", specific=False)
    if isinstance(expected, (tuple, list)) and not isinstance(expected, str):
        wrong = [str(i + 1) for i, (a, b) in enumerate(zip(expected, answer, strict=True)) if not values.same(a, b)]
        return Diagnosis(f"Not right: entry {' and '.join(wrong)}.", specific=False)
    return Diagnosis("That is not it.", specific=False)
