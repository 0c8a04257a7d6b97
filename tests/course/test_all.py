"""Every exercise: right answers are accepted, wrong ones rejected and named, the untouched stub is not an attempt.

The answers stand in the test file of each notebook's exercises: `RIGHT` is name → answers written differently, `WRONG`
is name → (answer, part of the diagnosis); an empty diagnosis says that the cause is not recognised.
"""

import importlib
import inspect
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from lecture_course.engine import checking, definitions, running, values
from lecture_course.engine.definitions import Exercise

PACKAGES = [name for name in definitions.PACKAGES.values() if (Path(__file__).parent / f"test_{name}.py").exists()]
LEAST = {"RIGHT": 2, "WRONG": 5}  # answers of each kind to a function; predictions are values and have fewer
SPECIFIC_SHARE = 0.8
SQUARE_BY_NATURE = {"10.rollout"}  # weights from each word to each


@cache
def exercises():
    modules = [importlib.import_module(f"lecture_course.{name}.exercises") for name in PACKAGES]
    return {exercise.name: exercise for module in modules for exercise in module.EXERCISES}


@cache
def answers(kind):
    """name → answers, from all the test files."""
    files = [importlib.import_module(f"{__package__}.test_{name}") for name in PACKAGES]
    return {name: list(given) for file in files for name, given in getattr(file, kind).items()}


def each(kind):
    found = []
    for name, given in answers(kind).items():
        for i, answer in enumerate(given):
            function = answer[0] if kind == "WRONG" else answer
            label = getattr(function, "__name__", type(function).__name__)
            found.append(pytest.param(name, i, id=f"{name}-{i}-{label}"))
    return found


def functions():
    return [name for name, exercise in exercises().items() if isinstance(exercise, Exercise)]


@cache
def outcome_of_wrong(name, i):
    return checking.judge(exercises()[name], answers("WRONG")[name][i][0])


@pytest.mark.parametrize(("name", "i"), each("RIGHT"))
def test_right_answers_are_accepted(name, i):
    for seed in (None, 1, 2, 3):  # the notebook's inputs, and fresh ones as under nbgrader
        outcome = checking.judge(exercises()[name], answers("RIGHT")[name][i], seed=seed)
        assert outcome.status == checking.CORRECT, str(outcome)


@pytest.mark.parametrize("name", functions())
def test_what_mistakes_are_edits_of_is_right(name):
    for right in {mistake.right for mistake in exercises()[name].mistakes} - {None}:
        assert checking.judge(exercises()[name], right).status == checking.CORRECT


@pytest.mark.parametrize(("name", "i"), each("WRONG"))
def test_wrong_answers_are_rejected_and_named(name, i):
    outcome = outcome_of_wrong(name, i)
    assert outcome.status == checking.NOT_YET, str(outcome)
    diagnosis = answers("WRONG")[name][i][1]
    assert diagnosis.lower() in " ".join(outcome.lines).lower(), str(outcome)
    assert outcome.specific or not diagnosis, f"says nothing specific: {outcome}"
    assert "not yet" in outcome._repr_mimebundle_()["text/html"]
    if not isinstance(outcome.example and outcome.example.given, str) or "OutOfTime" not in outcome.example.given:
        fresh = checking.judge(exercises()[name], answers("WRONG")[name][i][0], seed=1)
        assert fresh.status == checking.NOT_YET


def test_the_cause_is_named_for_most_wrong_answers():
    outcomes = [outcome_of_wrong(name, i) for name, given in answers("WRONG").items() for i in range(len(given))]
    specific = sum(outcome.specific for outcome in outcomes)
    right = sum(len(given) for given in answers("RIGHT").values())
    print(f"\n{len(exercises())} exercises, {right} right answers, {len(outcomes)} wrong, {specific} with their cause")
    assert specific >= SPECIFIC_SHARE * len(outcomes)


@pytest.mark.parametrize("kind", LEAST)
def test_every_exercise_has_answers_of_both_kinds(kind):
    assert answers(kind).keys() == exercises().keys()
    for name, given in answers(kind).items():
        least = LEAST[kind] if isinstance(exercises()[name], Exercise) else LEAST[kind] - 2 + (kind == "RIGHT")
        assert len(given) >= least, name


@pytest.mark.parametrize("name", functions())
def test_an_untouched_stub_is_not_an_attempt(name):
    space = {}
    parameters = ", ".join(inspect.signature(exercises()[name].reference).parameters)
    exec(f'def stub({parameters}):\n    """Docstring."""\n    ...  # your code here', space)
    assert checking.judge(exercises()[name], space["stub"]).status == checking.NOT_ATTEMPTED


def test_an_untouched_prediction_is_not_an_attempt():
    for exercise in exercises().values():
        assert checking.judge(exercise, ...).status == checking.NOT_ATTEMPTED


@pytest.mark.parametrize("name", functions())
def test_inputs_repeat_with_a_seed_and_differ_with_another(name):
    def inputs(seed):
        cases = exercises()[name].cases(torch.Generator().manual_seed(seed))
        return [[case.args, dict(case.kwargs)] for case in cases]

    assert values.same(inputs(0), inputs(0))
    assert not values.same(inputs(0), inputs(1)), "the inputs do not depend on rng: under nbgrader they must be fresh"


@pytest.mark.parametrize("name", functions())
def test_inputs_are_not_only_square_even_and_single(name):
    cases = exercises()[name].cases(torch.Generator().manual_seed(0))
    assert len(cases) >= 3
    arrays = [arg for case in cases for arg in (*case.args, *case.kwargs.values()) if values.is_array(arg)]
    images = [x for x in arrays if x.ndim >= 2]
    if not images or name in SQUARE_BY_NATURE:
        return
    sizes = [x.shape[:2] if isinstance(x, np.ndarray) and x.ndim == 3 else x.shape[-2:] for x in images]
    assert any(h != w for h, w in sizes), "no input with height ≠ width"
    if any(x.ndim >= 3 for x in images):
        assert any(h % 2 or w % 2 for h, w in sizes), "no input with an odd size"
    if batches := [x.shape[0] for x in images if x.ndim == 4]:
        assert max(batches) > 1, "no input with a batch of several"


@pytest.mark.parametrize("name", exercises())
def test_what_an_exercise_says_of_itself(name):
    exercise = exercises()[name]
    assert exercise.title
    assert 1 <= exercise.minutes <= 60
    assert len(exercise.hints) >= 1
    for text in (exercise.title, exercise.because, *exercise.hints):
        assert "!" not in text.replace("!=", "")
    assert str(checking.solution(name))


@pytest.mark.parametrize("name", functions())
def test_fresh_inputs_always_tell_right_from_wrong(name):
    """Under nbgrader each student gets other inputs: none may break the reference, or hide a mistake."""
    exercise = exercises()[name]

    def given(function, seed):
        calls = running.answers(function, exercise.cases(torch.Generator().manual_seed(seed)))
        return [call.error or call.value for call in calls]

    for seed in range(1000, 1025):
        wanted = given(exercise.reference, seed)
        assert not any(isinstance(value, BaseException) for value in wanted), (seed, wanted)
        for answer in answers("RIGHT")[name]:
            assert values.same(wanted, given(answer, seed)), (seed, answer)
        for mistake in exercise.mistakes:
            assert not values.same(wanted, given(mistake.function, seed)), (seed, mistake.says)


@pytest.mark.parametrize("name", functions())
def test_every_mistake_is_one_and_each_is_another(name):
    """A sentence whose function were right, or equal to one before it, could never be shown."""
    cases = exercises()[name].cases(torch.Generator().manual_seed(1))
    seen = [[call.value for call in running.answers(exercises()[name].reference, cases)]]
    for mistake in exercises()[name].mistakes:
        calls = running.answers(mistake.function, cases)
        assert any(call.error is None for call in calls), mistake.says
        given = [call.value for call in calls]
        assert not any(values.same(given, other) for other in seen), mistake.says
        seen.append(given)
