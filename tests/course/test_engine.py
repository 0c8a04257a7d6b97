"""The engine: what a student's function may do without hurting the notebook, and what is said about it."""

import dataclasses
import gc
import importlib
import random
import sys
import threading
import time

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lecture_course import check, hint, progress, solution
from lecture_course.engine import checking, definitions, formatting, output, running, values
from lecture_course.engine.definitions import Case, Exercise, Prediction, edited, mistakes
from lecture_utils.arguments import check_shapes


def enlarge(x, factor=2):
    """Repeat every value of (B, C, H, W)."""
    return x.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def cases(rng):
    def images(*shape):
        return torch.randn(shape, generator=rng)

    return [
        Case((images(1, 1, 2, 2),), note="2 × 2"),
        Case((images(2, 3, 2, 2),)),
        Case((images(1, 2, 3, 5),)),
        Case((images(2, 3, 4, 2),), {"factor": 3}),
    ]


def blend(x, factor=2):
    return F.interpolate(x, scale_factor=factor, mode="bilinear")


EXERCISE = Exercise(
    "00.enlarge",
    title="Enlarge",
    minutes=1,
    difficulty=1,
    reference=enlarge,
    cases=cases,
    seconds=0.5,
    mistakes=mistakes(enlarge, {blend: "That blends neighbours."}),
    hints=("first", "second", "third"),
    because="Nothing new is made.",
)


def judged(function, exercise=EXERCISE):
    outcome = checking.judge(exercise, function)
    for text in (str(outcome), outcome._repr_mimebundle_()["text/html"]):
        assert outcome.status in text
    return outcome


def said(function, exercise=EXERCISE):
    outcome = judged(function, exercise)
    assert outcome.status == checking.NOT_YET
    assert outcome.specific
    return outcome.lines[0]


# What a function may do


def test_a_right_function_is_correct():
    outcome = judged(lambda x, factor=2: F.interpolate(x, scale_factor=factor))
    assert outcome.status == checking.CORRECT
    assert outcome.lines == ("Right on 4 inputs: 2 × 2.", "Nothing new is made.")


def endless(x, factor=2):
    while True:
        x = x + 1


def endless_that_catches(x, factor=2):
    while True:
        try:  # noqa: SIM105
            x = x + 1
        except:  # noqa: E722
            pass


def sleeps(x, factor=2):
    time.sleep(3)


def endless_printing(x, factor=2):
    while True:
        print("again" * 100)


@pytest.mark.parametrize("function", [endless, endless_that_catches, sleeps, endless_printing])
def test_a_function_that_does_not_end_is_stopped_or_left_behind(function):
    before = threading.active_count()
    start = time.perf_counter()
    assert "not done in 0.5 seconds" in said(function)
    assert time.perf_counter() - start < 0.5 + running.GRACE + 2
    if function is not sleeps:
        assert threading.active_count() == before, "its thread has ended"


def test_the_line_of_an_endless_loop_is_named():
    assert "while True:" in said(endless) or "x = x + 1" in said(endless)


def test_a_slow_function_is_told_how_far_it_came():
    def slow(x, factor=2):
        time.sleep(0.4 * (factor == 3) + 0.2)
        return enlarge(x, factor)

    assert "after 2 of 4 inputs" in said(slow)


def test_a_slow_function_of_arrays_is_told_how_far_it_came():
    def slow(x):
        time.sleep(0.2 * len(x))
        return 2 * x

    arrays = dataclasses.replace(
        EXERCISE, reference=lambda x: 2 * x, cases=lambda rng: [Case((np.ones((n, 2)),)) for n in (1, 2, 3)]
    )
    assert "after 1 of 3 inputs" in said(slow, arrays)


def exits(x, factor=2):
    sys.exit(3)


def recurses(x, factor=2):
    return recurses(x, factor)


def deeper(x, factor=2):
    sys.setrecursionlimit(10**6)
    return deeper(x, factor)


def interrupts(x, factor=2):
    raise KeyboardInterrupt


def raises(x, factor=2):
    y = x[0]
    return y.reshape(7, 7)


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError


def fails_without_words(x, factor=2):
    raise Unspeakable


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (fails_without_words, "raised Unspeakable in line"),
        (exits, "ends the program (SystemExit)"),
        (recurses, "calls itself without end"),
        (interrupts, "KeyboardInterrupt"),
        (raises, "return y.reshape(7, 7)"),
    ],
)
def test_a_function_that_raises_is_quoted(function, says):
    patient = dataclasses.replace(EXERCISE, seconds=20.0)  # as long as a busy machine needs to raise
    assert says in said(function, patient)


def test_what_stops_a_function_is_not_reported_where_it_cannot_be_passed_on(monkeypatch):
    """As in a callback of the garbage collector, such as hypothesis has."""
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    hook = sys.unraisablehook

    def long(phase, info):
        for _ in range(10_000):
            pass

    def collects(x, factor=2):
        while True:
            gc.collect(0)
            long(None, None)

    gc.callbacks.append(long)
    try:
        assert "not done in 0.5 seconds" in said(collects)
    finally:
        gc.callbacks.remove(long)
    assert [str(one.exc_value) for one in reported] == []
    assert sys.unraisablehook is hook


def test_endless_recursion_without_a_limit_leaves_the_limit_as_it_was():
    limit = sys.getrecursionlimit()
    assert judged(deeper).status == checking.NOT_YET
    end = time.monotonic() + 60  # on a busy machine a deep recursion takes long to return
    while sys.getrecursionlimit() != limit and time.monotonic() < end:
        time.sleep(0.1)
    assert sys.getrecursionlimit() == limit


def test_what_is_printed_is_kept_out_of_the_notebook_and_cut(capsys):
    def chatty(x, factor=2):
        for _ in range(2000):
            print("x" * 500)
        sys.stderr.write("a warning")
        return x

    outcome = judged(chatty)
    assert 0 < len(outcome.printed) <= output.PRINTED + 2
    assert "Your function printed:" in str(outcome)
    assert capsys.readouterr() == ("", "")


def test_the_notebooks_state_is_left_as_it_was():
    def meddles(x, factor=2):
        torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        x.zero_()
        return enlarge(x, factor)

    def state():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002

    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    expected = state()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    assert judged(meddles).status == checking.NOT_YET
    assert state() == expected
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert sys.stdout is sys.__stdout__ or "capture" in type(sys.stdout).__module__ or sys.stdout.writable()
    assert judged(enlarge).status == checking.CORRECT, "later checks are not hurt"


def test_the_students_interrupt_reaches_the_notebook(monkeypatch):
    def interrupt(self, timeout=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            checking.judge(EXERCISE, enlarge)


class Nonsense:
    def __eq__(self, other):
        raise RuntimeError

    def __repr__(self):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize(
    "value",
    [Nonsense(), "text", 3, 10**400, float("nan"), [], {}, {1, 2}, b"x", object, print, torch, [[1, 2], [3]], (None,),
     np.array(["a"]), np.zeros(0), torch.zeros(0), torch.zeros(2, 2).to_sparse(), torch.zeros(1, 1, 4, 4).bool(),
     torch.nn.Conv2d(1, 1, 1), (i for i in range(3)), torch.zeros(4, 4, device="meta"), np.zeros(3, dtype=object),
     torch.zeros(1, 1, 4, 4, dtype=torch.complex64), torch.nn.Parameter(torch.zeros(2))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_nonsense_is_an_answer_like_any_other(value):
    assert judged(lambda x, factor=2: value).status == checking.NOT_YET


@pytest.mark.parametrize("answer", [3, "enlarge", torch.zeros(2), [1], Nonsense()], ids=lambda x: type(x).__name__)
def test_what_is_no_function_is_refused_kindly(answer):
    assert "the function itself" in said(answer)


# What is not an attempt


def dots(x, factor=2):
    """With a docstring."""
    ...


def passes(x, factor=2):
    pass


def not_implemented(x, factor=2):
    """With a docstring."""
    raise NotImplementedError


def explained(x, factor=2):
    raise NotImplementedError("later")


def returns_dots(x, factor=2):
    y = x + 1  # noqa: F841
    return ...


@pytest.mark.parametrize("answer", [..., None, dots, passes, not_implemented, explained, returns_dots])
def test_not_attempted(answer):
    assert judged(answer).status == checking.NOT_ATTEMPTED


def test_one_open_branch_is_an_attempt():
    outcome = judged(lambda x, factor=2: enlarge(x, factor) if factor == 2 else ...)
    assert outcome.status == checking.NOT_YET


def test_an_operation_that_torch_has_not_implemented_is_an_attempt():
    def of_whole_numbers(x, factor=2):
        return enlarge(x.long(), factor).softmax(1)

    assert "raised NotImplementedError in line" in said(of_whole_numbers)


def test_work_without_return_is_an_attempt():
    def forgetful(x, factor=2):
        y = enlarge(x, factor)  # noqa: F841

    def printing(x, factor=2):
        print(enlarge(x, factor))

    def sometimes(x, factor=2):
        if x.shape[-1] == x.shape[-2]:
            return enlarge(x, factor)
        return None

    assert "is a `return` missing" in said(forgetful)
    assert "prints its result" in said(printing)
    assert "does every branch end in a return" in said(sometimes)
    assert "only on square inputs" in said(sometimes)


# What is said


def swapped_axes(x, factor=2):
    return enlarge(x, factor).mT


def channels_last(x, factor=2):
    return enlarge(x, factor).movedim(1, -1)


def adds_a_row(x, factor=2):
    return F.pad(enlarge(x, factor), (0, 0, 0, 1))


def makes_nan(x, factor=2):
    return enlarge(x, factor) / 0 * 0


def in_place(x, factor=2):
    result = enlarge(x, factor)
    x += 1
    return result


def noisy(x, factor=2):
    return enlarge(x, factor) + torch.rand(())


SAID = {
    "That blends neighbours.": lambda x, factor=2: blend(x, factor),
    "ignores `factor`: it answers as if it were always 2": lambda x, factor=2: enlarge(x),
    "rows and columns (the last two axes) are swapped": swapped_axes,
    "the channels come last": channels_last,
    "axis is lost": lambda x, factor=2: enlarge(x, factor)[0],
    "axis 0: the shape is (1, 1, 1, 4, 4)": lambda x, factor=2: enlarge(x, factor)[None],
    "one entry too long": adds_a_row,
    "one entry too short": lambda x, factor=2: enlarge(x, factor)[..., :-1],
    "2 times too long": lambda x, factor=2: enlarge(x, 2 * factor)[..., : 2 * x.shape[-2] * factor, :],
    "sizes of two axes are swapped": lambda x, factor=2: enlarge(x, factor).reshape(
        *x.shape[:2], x.shape[3] * factor, x.shape[2] * factor
    ),
    "Only one channel is left": lambda x, factor=2: enlarge(x, factor)[:, :1],
    "as many entries as expected": lambda x, factor=2: enlarge(x, factor).flatten(2),
    "of type float64; expected is float32": lambda x, factor=2: enlarge(x, factor).double(),
    "fractions are lost": lambda x, factor=2: enlarge(x, factor).long(),
    "returns a NumPy array": lambda x, factor=2: enlarge(x, factor).numpy(),
    "returns a list": lambda x, factor=2: enlarge(x, factor).tolist(),
    "returns 2 values": lambda x, factor=2: (enlarge(x, factor), factor),
    "a single number": lambda x, factor=2: 0.5,
    "are its brackets missing": lambda x, factor=2: enlarge(x, factor).contiguous,
    "writes into its input": in_place,
    "different answers for one and the same input": noisy,
    "contains nan": makes_nan,
    "Left and right": lambda x, factor=2: enlarge(x, factor).flip(-1),
    "Top and bottom": lambda x, factor=2: enlarge(x, factor).flip(-2),
    "half a turn": lambda x, factor=2: enlarge(x, factor).flip(-1, -2),
    "The sign is wrong": lambda x, factor=2: -enlarge(x, factor),
    "Negative numbers have become zero": lambda x, factor=2: enlarge(x, factor).relu(),
    "The signs are lost": lambda x, factor=2: enlarge(x, factor).abs(),
    "all zeros": lambda x, factor=2: torch.zeros_like(enlarge(x, factor)),
    "rounded": lambda x, factor=2: enlarge(x, factor).round(),
    "too large by 1": lambda x, factor=2: enlarge(x, factor) + 1,
    "3 times too large": lambda x, factor=2: 3 * enlarge(x, factor),
    "too large by a factor, height times width": lambda x, factor=2: enlarge(x, factor) * x.shape[-1] * x.shape[-2],
    "too small by a factor, the number of entries": lambda x, factor=2: enlarge(x, factor) / x.numel(),
    "shifted by one place to the right": lambda x, factor=2: enlarge(x, factor).roll(1, -1),
    "in other places": lambda x, factor=2: x.repeat(1, 1, factor, factor),
    "takes (x) and is called with (x, factor)": lambda x: enlarge(x),
}


@pytest.mark.parametrize("says", SAID)
def test_causes_are_named(says):
    assert says in said(SAID[says])


def test_only_the_border_is_wrong():
    def blank_border(x, factor=2):
        result = enlarge(x, factor)
        result[..., 0, :], result[..., -1] = 7, 7
        return result

    assert "outermost rows or columns" in said(blank_border)


def test_an_input_that_comes_back_is_named():
    square = dataclasses.replace(
        EXERCISE, reference=torch.square, mistakes=(), cases=lambda rng: [Case((torch.tensor([2.0, 3, 5]),))]
    )
    assert "returns its input as it was" in said(lambda x: x, square)


def test_nan_on_one_input_does_not_explain_the_others():
    def also_nan(x, factor=2):
        return enlarge(x, factor) ** 3 + (torch.nan if len(x) > 1 else 0)

    assert "nan" not in judged(also_nan).lines[0]


def test_batches_and_channels():
    def first_image(x, factor=2):
        return enlarge(x, factor)[:1].expand(len(x), -1, -1, -1)

    def first_only(x, factor=2):
        result = enlarge(x, factor)
        result[1:] = result[1:] ** 3
        return result

    def first_channel(x, factor=2):
        return enlarge(x, factor)[:, :1].expand(-1, x.shape[1], -1, -1)

    assert "Every image gets the answer of the first" in said(first_image)
    assert "Only the first of a batch is right" in said(first_only)
    assert "Every channel gets that of the first channel" in said(first_channel)


def right_if(condition):
    """A function that is right on some inputs and gives nothing that has a name on the others."""

    def function(x, factor=2):
        result = enlarge(x, factor)
        return result if condition(x, factor) else result**3 + torch.arange(result.numel()).view_as(result) ** 0.5

    return function


@pytest.mark.parametrize(
    ("words", "condition"),
    [
        ("on square inputs", lambda x, factor: x.shape[-1] == x.shape[-2]),
        ("for a batch of one", lambda x, factor: len(x) == 1),
        ("for a single channel", lambda x, factor: x.shape[1] == 1),
        ("with factor = 2", lambda x, factor: factor == 2),
        ("when height and width are even", lambda x, factor: x.shape[-1] % 2 == 0),
    ],
)
def test_the_property_that_tells_right_from_wrong_is_named(words, condition):
    def more(rng):
        return [*cases(rng), *(Case((torch.randn(shape, generator=rng),)) for shape in ((1, 1, 2, 6), (3, 1, 3, 3)))]

    assert words in said(right_if(condition), dataclasses.replace(EXERCISE, cases=more))


def test_a_cause_that_nobody_knows_is_not_named():
    outcome = judged(right_if(lambda x, factor: False))
    assert not outcome.specific
    assert "wrong on 4 of 4 inputs" in outcome.lines[0]
    assert "numbers differ" in outcome.lines[0]


def product(a, b):
    return a * b


PRODUCT = Exercise(
    "00.product", title="Product", minutes=1, difficulty=1, reference=product,
    cases=lambda rng: [Case((2, 2)), Case((3, 1)), Case((4, 1)), Case((5, 7))],
)  # fmt: skip


@pytest.mark.parametrize("given", [2, 16, 0, 5, 0.25])
def test_one_wrong_number_has_no_cause(given):
    """One number stands to another in many ways: square, root, or the answer to other arguments."""
    outcome = judged(lambda a, b: given if (a, b) == (4, 1) else a * b, PRODUCT)
    assert outcome.lines == ("The answer is wrong on 1 of 4 inputs.",)


def test_single_numbers_are_not_called_right_up_to_a_factor():
    """Any number is any other times something."""
    assert not judged(lambda a, b: a * b + a**2 + 1, PRODUCT).specific
    assert "3 times too large" in said(lambda a, b: 3 * a * b, PRODUCT)


def test_whole_numbers_are_compared_exactly():
    assert judged(lambda a, b: float(a * b), PRODUCT).status == checking.CORRECT
    assert judged(lambda a, b: a * b + 1e-5, PRODUCT).status == checking.NOT_YET


def test_an_argument_is_ignored_also_where_its_fixed_value_is_refused():
    def reference(size, step):
        if size < step:
            raise ValueError
        return size // step

    refusing = dataclasses.replace(
        PRODUCT,
        reference=reference,
        cases=lambda rng: [Case(args) for args in ((9, 3), (8, 3), (7, 1), (2, 2), (5, 1))],
    )
    assert "ignores `step`: it answers as if it were always 3" in said(lambda size, step: size // 3, refusing)


def test_a_mistake_that_explains_only_a_part_is_not_the_cause():
    def overflows(x):
        return torch.where(x.abs().amax() < 100, x, torch.nan)

    exercise = dataclasses.replace(
        PRODUCT,
        reference=lambda x: x,
        cases=lambda rng: [Case((scale * torch.randn(3, 4, generator=rng),)) for scale in (1, 1000)],
        mistakes=mistakes(torch.clone, {overflows: "It overflows."}),
    )
    assert said(overflows, exercise) == "It overflows."
    assert "overflows" not in judged(lambda x: 2 * overflows(x), exercise).lines[0]


def several(a, b):
    return {"sum": a + b, "parts": (a, b.flip(-1))}


SEVERAL = Exercise(
    "00.several", title="Several", minutes=1, difficulty=1, reference=several,
    cases=lambda rng: [Case(tuple(torch.randn(2, n, n + 1, generator=rng))) for n in (1, 2, 3)],
)  # fmt: skip


@pytest.mark.parametrize(
    ("says", "function"),
    [
        ("expected is a dictionary", lambda a, b: a + b),
        ("has the keys", lambda a, b: {"sum": a + b}),
        ("returns 1 value;", lambda a, b: {"sum": a + b, "parts": (a,)}),
        ("another order", lambda a, b: {"sum": a + b, "parts": (b.flip(-1), a)}),
        (
            "Under 'sum': Every number is 2 times too large",
            lambda a, b: {"sum": 2 * (a + b), "parts": (a, b.flip(-1))},
        ),
        ("Under 'parts': Value 2 of 2: Top and bottom", lambda a, b: {"sum": a + b, "parts": (a, b.flip(-1, -2))}),
    ],
)
def test_values_inside_values_are_compared(says, function):
    assert judged(several, SEVERAL).status == checking.CORRECT
    assert says in said(function, SEVERAL)


@pytest.mark.parametrize("shape", [(), (3,), (100,), (1, 0), (0, 3), (1, 1, 1, 1, 2), (2, 2, 50, 50)])
def test_inputs_of_any_number_of_axes_are_shown(shape):
    power = dataclasses.replace(
        EXERCISE, reference=torch.square, cases=lambda rng: [Case((torch.full(shape, 3.0),))], mistakes=()
    )
    outcome = judged(lambda x: x**3 + 1, power)
    assert outcome.status == (checking.NOT_YET if 0 not in shape else checking.CORRECT)
    assert (outcome.example is None) == (0 in shape)
    assert "cannot be compared" not in str(outcome)


def test_of_a_large_input_the_image_that_went_wrong_is_shown():
    def second_image_wrong(x, factor=2):
        result = enlarge(x, factor)
        result[1:, 2] += 1
        return result

    large = dataclasses.replace(EXERCISE, cases=lambda rng: [Case((torch.randn(2, 3, 4, 5, generator=rng),))])
    example = judged(second_image_wrong, large).example
    assert "[1, 2, :, :]" in example.inputs
    assert "[1, 2, 0:6, 0:8]" in example.expected


def test_the_smallest_failing_input_is_shown_with_both_answers():
    example = judged(lambda x, factor=2: x.repeat(1, 1, factor, factor)).example
    assert example.note == "2 × 2"
    assert example.inputs.startswith("x = tensor (1, 1, 2, 2), float32")
    assert len(example.expected.splitlines()) == len(example.given.splitlines()) == 5
    assert "<b><u>" in example.given_html
    assert judged(swapped_axes).example == judged(swapped_axes).example, "the same input every time"


HTML = "<img src=x onerror=alert(1)>"


def raises_html(x, factor=2):
    raise type(HTML, (Exception,), {})(HTML)


def returns_html(x, factor=2):
    return type(HTML, (), {"__repr__": lambda self: HTML})()


def returns_html_inside(x, factor=2):
    return {HTML: [torch.zeros(1), HTML]}


def prints_html(x, factor=2):
    print(HTML)
    return HTML


@pytest.mark.parametrize("function", [raises_html, returns_html, returns_html_inside, prints_html])
def test_nothing_that_a_function_says_becomes_html(function):
    html = judged(function)._repr_mimebundle_()["text/html"]
    assert "<img" not in html
    assert "&lt;img" in html


# Predictions

PREDICTION = Prediction(
    "00.size", title="A size", minutes=1, difficulty=1, answer=lambda: (5, 7), because="Half of each.",
    mistakes={(7, 5): "Height comes first.", "Too large.": lambda answer: max(answer) > 100},
)  # fmt: skip


@pytest.mark.parametrize("answer", [(5, 7), [5, 7], torch.Size([5, 7]), (5.0, 7), (np.int64(5), torch.tensor(7))])
def test_right_predictions(answer):
    outcome = judged(answer, PREDICTION)
    assert outcome.status == checking.CORRECT
    assert outcome.lines == ("It is (5, 7).", "Half of each.")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((7, 5), "Height comes first."),
        ((5, 101), "Too large."),
        ((5, 6), "entry 2"),
        (5, "expected are 2 values"),
        ((5,), "is 1 value; expected"),
        ((5.01, 6), "entry 1 and 2"),
        ((5, 7, 1), "3 values"),
        ("5 × 7", "2 values"),
        (Nonsense(), "2 values"),
    ],
)
def test_wrong_predictions_do_not_give_the_answer_away(answer, says):
    outcome = judged(answer, PREDICTION)
    assert outcome.status == checking.NOT_YET
    assert says in outcome.lines[0]
    assert "7)" not in str(outcome).replace("(5, 7, 1)", "")


@pytest.mark.parametrize(
    ("answer", "right"), [(100.5, True), (99.5, True), (102, False), ("many", False), (True, False)]
)
def test_numbers_with_decimals_may_be_off_a_little(answer, right):
    number = Prediction("00.n", title="A number", minutes=1, difficulty=1, answer=lambda: 100.0)
    assert (judged(answer, number).status == checking.CORRECT) == right


@pytest.mark.parametrize("answer", [3 + 4j, float("nan"), np.uint64(2**64 - 1), 10**400, 9200.0, 9216.4, False])
def test_any_wrong_number_is_an_answer(answer):
    number = Prediction("00.n", title="A number", minutes=1, difficulty=1, answer=lambda: 9216)
    outcome = judged(answer, number)
    assert outcome.status == checking.NOT_YET
    assert "nan" not in outcome.lines[0]


def test_words_may_be_written_in_capitals():
    word = Prediction("00.w", title="A word", minutes=1, difficulty=1, answer=lambda: "road")
    assert judged(" Road", word).status == checking.CORRECT
    assert judged("sky", word).status == checking.NOT_YET


# check, hint, solution, progress


@pytest.fixture
def course(monkeypatch):
    """A notebook 00 with the two exercises of this file."""
    both = {EXERCISE.name: EXERCISE, PREDICTION.name: PREDICTION}
    monkeypatch.setattr(checking, "of_notebook", lambda notebook: both)
    monkeypatch.setattr(checking, "find", both.__getitem__)
    monkeypatch.setattr(checking, "_statuses", {})
    monkeypatch.setattr(checking, "_hints_given", {})


def test_progress_counts_the_last_check_of_each(course):
    assert str(progress("00")) == "□□ 0 of 2 done; 2 not attempted: Enlarge, A size."
    check("00.enlarge", enlarge)
    check("00.size", 3)
    assert str(progress("00")) == "■□ 1 of 2 done; 1 not yet: A size."
    check("00.size", (5, 7))
    assert str(progress("00")) == "■■ 2 of 2 done."
    check("00.enlarge", ...)
    assert str(progress("00")).startswith("■□ 1 of 2 done; 1 not attempted")


def test_hints_come_one_by_one(course):
    texts = [str(hint("00.enlarge")) for _ in range(4)]
    assert [text[:11] for text in texts] == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Hint 3 of 3"]
    assert [word in text for word, text in zip(("first", "second", "third", "third"), texts, strict=True)] == [True] * 4
    assert "No hints" in str(hint("00.size"))


def test_solutions_are_the_packages_own_source(course):
    shown = solution("00.enlarge")
    assert "return x.repeat_interleave(factor, -1)" in str(shown)
    assert "repeat_interleave" in shown._repr_mimebundle_()["text/html"]
    assert "It is (5, 7)." in str(solution("00.size"))


@pytest.mark.parametrize("call", [lambda name: check(name, ...), hint, solution])
def test_an_unknown_name_is_an_error_that_names_the_nearest(call):
    with pytest.raises(ValueError, match=r"'00\.clas_iou', expected .*'00\.class_iou'"):
        call("00.clas_iou")
    with pytest.raises(ValueError, match="expected an exercise"):
        call("iou")
    with pytest.raises(ValueError, match="notebook: got '99'"):
        progress("99")


def test_an_exercise_whose_reference_fails_says_so():
    broken = Exercise(
        "00.b", title="B", minutes=1, difficulty=1, reference=lambda x: 1 / 0, cases=lambda rng: [Case((1,))]
    )
    with pytest.raises(RuntimeError, match=r"the reference of 00\.b fails"):
        checking.judge(broken, lambda x: 1)


def test_a_difficulty_that_does_not_exist():
    with pytest.raises(ValueError, match="difficulty: got 4"):
        Prediction("00.x", title="X", minutes=1, difficulty=4, answer=lambda: 1)


def test_one_sentence_serves_several_functions():
    one, other, third = mistakes(sum, {(abs, len): "It is wrong.", max: "It is another."})
    assert (one.says, other.says, third.says) == ("It is wrong.", "It is wrong.", "It is another.")
    assert (one.function, other.function, third.function) == (abs, len, max)
    assert one.right is sum


@pytest.mark.parametrize("table", [{abs: 2}, {abs: None}, {2: "One."}, {(abs, 2): "One."}])
def test_a_table_of_mistakes_takes_edits_or_functions_and_sentences(table):
    with pytest.raises(ValueError, match="mistakes: got"):
        mistakes(sum, table)


@check_shapes
def mean_and_more(x: Float[Tensor, "n"], offset: float = 1.0) -> Float[Tensor, ""]:
    """The docstring is no text to edit: x.mean()."""
    total = x.sum()  # nor is a comment
    return total / len(x) + offset


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ("/ len(x) → ", 7.0),  # something left out
        ("len(x) → 2", 4.0),
        ("+ offset → - offset", 1.0),
        ("+ → *; offset: float=1.0 → offset: float=3.0", 6.0),  # one after the other
        ("offset → 2.0 * offset; 2.0 * offset: → offset:", 4.0),  # everywhere, and one of them back
        ("x.sum() → torch.tensor([1.0, 2, 9])", [4 / 3, 5 / 3, 4]),  # another shape, which the decorator would refuse
        ("x.sum() → F.relu(-x)", [1.0, 1, 1]),  # torch and F are there
    ],
)
def test_an_edit_makes_a_wrong_function_of_a_right_one(edit, expected):
    x = torch.tensor([1.0, 2, 3])
    torch.testing.assert_close(edited(mean_and_more, edit)(x), torch.tensor(expected))
    assert mean_and_more(x) == 3


@pytest.mark.parametrize("edit", ["x.mean() → 0", "nor is → 0", "len(x)", " → 1", "len(x) → 2; len(x) → 3", ""])
def test_an_edit_that_no_longer_finds_its_text_is_refused(edit):
    with pytest.raises(ValueError, match="edit: got"):
        edited(mean_and_more, edit)


def test_every_notebook_with_exercises_names_them_by_its_number():
    for number, module in definitions.PACKAGES.items():
        try:
            exercises = definitions.of_notebook(number)
        except ModuleNotFoundError:
            pytest.skip(f"{module} does not exist")
        assert exercises
        assert all(name.startswith(f"{number}.") for name in exercises)


# Values


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_sums_in_another_order_are_the_same_and_wrong_digits_are_not(dtype):
    x = torch.randn(50, dtype=torch.float64)
    expected = x.to(dtype)
    eps = torch.finfo(dtype).eps
    assert values.same(expected, (x * (1 + 2 * eps)).to(dtype))
    assert not values.same(expected, (x * 1.1).to(dtype))


def test_small_numbers_are_compared_by_their_size():
    tiny = torch.tensor([1e-9, 2e-9])
    assert not values.same(tiny, tiny * 2)
    assert values.same(torch.tensor([float("nan"), float("inf")]), torch.tensor([float("nan"), float("inf")]))
    assert not values.same(torch.tensor([1.0, 2.0]), torch.tensor([1.0, float("nan")]))


def test_equal_values_of_other_kinds():
    assert values.same(3, np.int64(3))
    assert values.same(0.5, torch.tensor(0.5))
    assert values.same(True, np.bool_(True))
    assert values.same(torch.eye(2), torch.eye(2).to_sparse())
    assert not values.same(float("inf"), 5.0)
    assert not values.same(1.0, 10**400)
    assert values.same((1, torch.ones(2)), [1, torch.ones(2)])
    assert not values.same(torch.ones(2), np.ones(2, dtype=np.float32))
    assert not values.same(torch.ones(2), torch.ones(2, dtype=torch.float64))
    assert values.same(np.ones(2, dtype=np.int64), np.ones(2, dtype=np.int32))
    assert not values.same(np.ones(2, dtype=np.uint8), np.ones(2, dtype=np.int64))


def test_tensors_are_shown_as_grids():
    assert formatting.format_value(torch.arange(6).view(2, 3)) == "tensor (2, 3), int64\n0  1  2\n3  4  5"
    assert formatting.format_value(torch.tensor([0.5, -1.0])).splitlines()[1] == "0.5  -1."
    assert "[1, :, :]" in formatting.format_value(torch.zeros(2, 2, 2))
    assert formatting.format_value(torch.zeros(0, 3)).endswith("(no entries)")
    large = torch.zeros(2, 3, 20, 30)
    wrong = torch.zeros_like(large, dtype=torch.bool)
    wrong[1, 2, 19, 29] = True
    text = formatting.format_value(large, differs=wrong, mark="<{}>".format)
    assert "[1, 2, 14:20, 22:30]" in text
    assert text.count("<0.>") == 1
    assert len(text.splitlines()) == 8


def test_old_notebooks_are_told_where_the_exercises_are_now():
    with pytest.raises(ImportError, match="from lecture_course import check, hint, progress, solution"):
        importlib.import_module("lecture_utils.exercises.unet")
