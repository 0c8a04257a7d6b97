"""Explorers: what they refuse, what they draw, and what reaches a notebook, live and stored."""

import base64
import importlib.util
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lecture_utils import toycity
from lecture_utils.explorers import Explorer, Menu, Slider
from lecture_utils.explorers.explorer import KILOBYTES
from lecture_utils.explorers.values import as_text

VIEW = "application/vnd.jupyter.widget-view+json"
EXECUTE = Path(__file__).resolve().parents[2] / "handouts" / "execute.py"


def bar(width, height=1):
    fig, ax = plt.subplots(figsize=(4, 2))
    ax.barh([0], [width], height)
    return fig


def make(draw=bar, *, title="A bar", alt="a bar", **sliders):
    return Explorer(draw, title=title, alt=alt, **(sliders or {"width": Slider("width (m)", (1, 2, 4), start=2)}))


class Page(HTMLParser):
    """The tags of some HTML with their attributes, and its script."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.script, self.words = [], "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and not self.script:
            self.script = data
        else:
            self.words += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page(explorer):
    return Page(explorer._repr_mimebundle_()["text/html"])


def held(explorer):
    return json.loads(re.search(r"= (\{.*\});\n", page(explorer).script)[1])


def picture(address):
    return Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/webp;base64,"))))


@pytest.fixture(autouse=True)
def no_figure_is_left():
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before


# --- sliders


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (np.int64(3), "3"),
        (0.1 + 0.2, "0.3"),
        (np.float32(0.1), "0.1"),
        (2.0, "2"),
        (True, "yes"),
        (False, "no"),
        ("same", "same"),
        (-1.5, "-1.5"),
        (12345, "12345"),
    ],
)
def test_values_as_text(value, text):
    assert as_text(value) == text


def test_a_slider_finds_its_values_by_what_is_seen():
    slider = Slider("share", np.linspace(0, 1, 11), frames=(0, 0.3, 1), start=0.3)
    assert slider.start == pytest.approx(0.3)
    assert slider.frames == pytest.approx([0, 0.3, 1])
    assert len(slider.values) == 11


def test_a_slider_starts_at_the_first_frame():
    assert Slider("size", range(4)).start == 0
    assert Slider("size", range(4)).frames == [0, 1, 2, 3]
    assert Slider("size", range(4), frames=(2, 3)).start == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": " "}, "label: got ' '"),
        ({"label": 3}, "label: got 3"),
        ({"values": ()}, r"values: got \(\) for 'size'"),
        ({"values": "abc"}, "values: got 'abc'"),
        ({"values": 3}, "values: got 3"),
        ({"values": (1, 1.0)}, "values: got 1, 1 for 'size', expected each of them once"),
        ({"frames": (1, 7)}, "frames: got 7 for 'size', expected one of 1, 2, 3"),
        ({"frames": ()}, r"frames: got \(\)"),
        ({"frames": (2, 1)}, r"frames: got \(2, 1\) for 'size', expected some of the values, in order"),
        ({"start": 4}, "start: got 4 for 'size', expected one of 1, 2, 3"),
        ({"frames": (1, 2), "start": 3}, "start: got 3 for 'size', expected a value that is among the frames"),
    ],
)
def test_a_bad_slider_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Slider(**({"label": "size", "values": (1, 2, 3)} | arguments))


# --- explorers


def raises(width):
    plt.subplots()
    raise ZeroDivisionError("nothing to divide by")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"title": "  "}, "title: got an empty text"),
        ({"draw": None}, "draw: got NoneType, expected a function"),
        ({"draw": lambda height: None}, "draw: got a function .*, expected one of width"),
        ({"draw": lambda width, height: None}, "draw: got a function .*height.*, expected one of width"),
        ({"draw": lambda width: None}, "draw: got NoneType for width \\(m\\) 1, expected .* Figure"),
        ({"draw": lambda width: bar(width).axes[0]}, "draw: got Axes"),
        ({"alt": ""}, "alt: got ''"),
        ({"alt": 3}, "alt: got int"),
        ({"alt": lambda size: "a bar"}, "alt: got a function"),
        ({"alt": lambda width: None}, "alt: got None"),
        ({"width": (1, 2)}, "width: got tuple, expected a Slider"),
        ({"width": Slider("width", range(49))}, "sliders: got 49 frames, expected at most 48"),
        (
            {"width": Slider("width", range(1, 9)), "height": Slider("height", range(1, 8))},
            "sliders: got 56 frames, expected at most 48",
        ),
        ({"width": Slider("size", (1, 2)), "height": Slider("size", (1, 2))}, "sliders: got two of one label"),
        (
            {"click": ("width", "depth"), "width": Slider("width", (1, 2))},
            "click: got .*expected the names of two of the sliders",
        ),
        (
            {"play": "depth", "width": Slider("width", (1, 2))},
            "play: got 'depth', expected the name of a slider: width",
        ),
        ({"click": ("width",), "width": Slider("width", (1, 2))}, "click: got .*expected the names of two"),
    ],
)
def test_a_bad_explorer_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_an_explorer_needs_a_slider():
    with pytest.raises(ValueError, match="sliders: got none"):
        Explorer(lambda: bar(1), title="A bar", alt="a bar")


def test_an_error_of_draw_comes_through_and_leaves_no_figure():
    with pytest.raises(ZeroDivisionError, match="nothing to divide by"):
        make(raises)


def test_a_bare_figure_and_figures_besides_are_fine():
    def draw(width):
        plt.subplots()
        fig = Figure(figsize=(3, 2))
        fig.subplots().plot([width])
        return fig

    assert len(held(make(draw))["frames"]) == 3


def test_figures_of_the_reader_stay_open_and_settings_stay_theirs():
    mine, _ = plt.subplots()
    before, inside = dict(mpl.rcParams), []

    def draw(width):
        inside.append(mpl.rcParams["axes.spines.top"])
        return bar(width)

    make(draw)
    assert plt.fignum_exists(mine.number)
    assert dict(mpl.rcParams) == before
    assert set(inside) == {False}
    plt.close(mine)


def test_the_page_holds_all_frames_in_order_with_their_words():
    height = Slider("height", ("low", "high"), start="high")
    explorer = make(
        lambda width, height: bar(width, {"low": 0.4, "high": 0.8}[height]),
        alt=lambda width, height: f"A {height} bar\n of {width}",
        width=Slider("width (m)", (1, 2, 4)),
        height=height,
    )
    shown, data = page(explorer), held(explorer)
    assert data["values"] == [["1", "2", "4"], ["low", "high"]]
    assert [alt for _, alt, _ in data["frames"]] == [f"A {h} bar of {w}" for w in (1, 2, 4) for h in ("low", "high")]
    assert data["frames"][2][2] == "One of 6 images: width (m) 2, height low."
    assert data["start"] == 1
    assert data["frames"][1][0] == ""  # the image shown first is held once
    [image] = shown.all("img")
    assert image["alt"] == "A high bar of 1"
    sliders = [(s["type"], s["min"], s["max"], s["value"], s["aria-valuetext"]) for s in shown.all("input")]
    assert sliders == [("range", "0", "2", "0", "1"), ("range", "0", "1", "1", "high")]
    assert len(shown.all("label")) == len(shown.all("output")) == 2
    assert "One of 6 images: width (m) 1, height high." in shown.words
    pictures = [picture(address) for address, _, _ in data["frames"] if address] + [picture(image["src"])]
    assert len({image.size for image in pictures}) == 1
    assert len({image.convert("RGB").tobytes() for image in pictures}) == 6


def test_a_slider_of_one_frame_is_not_shown_but_its_value_is():
    explorer = make(
        lambda width, kind: bar(width), width=Slider("width", (1, 2)), kind=Slider("kind", ("a", "b"), ("a",))
    )
    shown = page(explorer)
    assert ["display: none" in slider["style"] for slider in shown.all("input")] == [False, True]
    assert len(shown.all("output")) == 2
    assert "kind" in shown.words


def test_a_page_that_can_be_clicked_knows_where_its_axes_are():
    assert "click" not in held(make())

    def black(row, column):
        fig, ax = plt.subplots(figsize=(4, 3))
        ax.imshow([[0, 0]], cmap="gray", aspect="auto")
        ax.set(xlabel="across", ylabel="down")
        return fig

    row, column = Slider("row", (1, 2)), Slider("column", (1, 2, 3))
    explorer = make(black, alt="Black", click=("column", "row"), row=row, column=column)
    data = held(explorer)["click"]
    assert data["sliders"] == [1, 0]  # the second slider across, the first down
    assert data["stops"] == [pytest.approx([1 / 6, 3 / 6, 5 / 6]), [0.25, 0.75]]
    dark = np.asarray(picture(explorer.frame(**explorer.start).address).convert("L")) < 120
    across, down = (np.flatnonzero(dark.mean(axis) > 0.5) / dark.shape[1 - axis] for axis in (0, 1))
    assert data["area"] == pytest.approx([across[0], down[0], across[-1], down[-1]], abs=0.02)


def test_the_page_needs_nothing_from_outside_and_has_no_ids():
    html = make()._repr_mimebundle_()["text/html"]
    assert "http" not in re.sub(r"base64,[\w+/=]*", "", html)
    assert not any("id" in attributes or "for" in attributes for _, attributes in Page(html).tags)
    assert html.count("<script>") == html.count("</script>") == 1


def test_texts_are_escaped():
    explorer = make(
        lambda width: bar(1),
        title="1 < 2 & </script>",
        alt='"></figure></script><b>',
        width=Slider("<i>width</i>", ("<a>", "</script>")),
    )
    shown = page(explorer)
    assert {tag for tag, _ in shown.tags} == {
        *("figure", "figcaption", "strong", "div", "label", "span", "input", "output", "img", "script"),
    }
    assert shown.all("img")[0]["alt"] == '"></figure></script><b> (<i>width</i> <a>)'
    assert held(explorer)["frames"][1][1] == '"></figure></script><b> (<i>width</i> </script>)'


def test_one_text_as_alternative_gets_the_values():
    assert [alt for _, alt, _ in held(make())["frames"]] == [f"a bar (width (m) {n})" for n in (1, 2, 4)]
    assert repr(make()) == "Explorer: A bar. a bar (width (m) 2)"


def test_frames_of_different_sizes_become_one_size():
    def draw(width):
        fig = Figure(figsize=(width, 5 - width))
        fig.subplots()
        return fig

    data, [image] = held(explorer := make(draw, width=Slider("width", (2, 3)))), page(explorer).all("img")
    first, second = picture(image["src"]), picture(data["frames"][1][0])
    assert first.size == second.size == (3 * 160, 3 * 160)
    below, beside = first.convert("RGB").getpixel((240, 479)), second.convert("RGB").getpixel((479, 479))
    assert below == beside == (255, 255, 255)
    assert np.asarray(first.convert("L"))[:320, 80:400].min() < 100  # at the top, in the middle
    assert np.asarray(first.convert("L"))[:, :80].min() == 255
    assert "width: 240px" in image["style"]


def test_frames_keep_to_the_limit_together():
    rng = np.random.default_rng(0)

    def draw(number):
        fig, ax = plt.subplots(figsize=(4, 4))
        ax.imshow(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8))
        return fig

    explorer = make(draw, number=Slider("number", range(12)))
    total = sum(len(explorer.frame(number=number).image.data) for number in range(12))
    assert 100_000 < total <= 1000 * KILOBYTES


def test_frames_can_be_asked_to_be_smaller():
    street = toycity.render(toycity.sample_scene(3), 256).image

    def draw(number):
        fig, ax = plt.subplots(figsize=(4, 4))
        ax.imshow(np.roll(street, number, axis=1))
        return fig

    def total(**how):
        explorer = make(draw, number=Slider("number", range(4)), **how)
        return sum(len(explorer.frame(number=number).image.data) for number in range(4))

    assert total(kilobytes=80) <= 80_000 < total()


def test_a_menu_is_a_list_with_its_start_chosen():
    explorer = make(lambda kind: bar(1), kind=Menu("kind", ("a", "<b>", "c"), start="c"))
    shown = page(explorer)
    assert shown.all("input") == []
    assert len(shown.all("select")) == 1
    assert [(option["value"], "selected" in option) for option in shown.all("option")] == [
        ("0", False), ("1", False), ("2", True),
    ]  # fmt: skip
    sliders, image = live(explorer)
    assert type(sliders[0]).__name__ == "Dropdown"
    sliders[0].value = "a"
    assert 'alt="a bar (kind a)"' in image.value


def test_a_slider_can_play():
    assert "play" not in held(make())
    height = Slider("height", (0.2, 0.8))
    explorer = make(lambda width, height: bar(width), play="height", width=Slider("width", (1, 2)), height=height)
    assert held(explorer)["play"] == 1
    assert [button["type"] for button in page(explorer).all("button")] == ["button", "button"]
    explorer._repr_mimebundle_()
    play = explorer._box.children[-2]
    assert (type(play).__name__, play.min, play.max) == ("Play", 0, 1)


def test_a_frame_is_drawn_once_and_others_when_asked_for():
    drawn = []

    def draw(width):
        drawn.append(width)
        return bar(width)

    explorer = make(draw, width=Slider("width", range(1, 100), frames=(1, 2)))
    assert drawn == [1, 2]
    first = explorer.frame(width=50)
    assert explorer.frame(width=50) is first
    assert drawn == [1, 2, 50]
    assert first.alt == "a bar (width 50)"
    assert explorer.places == [{"width": 1}, {"width": 2}]


def test_faded_frames_are_layers_on_the_first():
    street = toycity.render(toycity.sample_scene(3), 128).image

    def draw(part):
        fig, axes = plt.subplots(1, 2, figsize=(6, 3), layout="none")
        for k, ax in enumerate(axes):
            pale = 255 - 0.3 * (255.0 - street) if part == ("right", "left")[k] else street
            ax.imshow(np.rint(pale).astype(np.uint8))
            ax.axis("off")
        fig.text(0.4, 0.03, part, size=20)
        return fig

    part = Slider("part", ("all", "left", "right"))
    faded, whole = (make(draw, part=part, kilobytes=900, **how) for how in ({"faded": (0.3,)}, {}))
    base, *layers = (picture(faded.frame(**place).address).convert("RGBA") for place in faded.places)
    for layer, place in zip(layers, faded.places[1:], strict=True):
        shown = np.asarray(Image.alpha_composite(base, layer).convert("RGB"), int)
        assert np.abs(shown - np.asarray(picture(whole.frame(**place).address).convert("RGB"), int)).max() <= 3
        assert len(faded.frame(**place).image.data) < 0.2 * len(faded.frame(part="all").image.data)
        assert faded.frame(part="all").address in faded.frame(**place).img  # in a kernel it brings what it lies on
    data, [image] = held(faded), page(faded).all("img")
    assert data["layers"] is True
    assert "layers" not in held(whole)
    assert image["src"] == faded.frame(part="all").address
    with pytest.raises(ValueError, match="faded: got a start at part left, expected it at the first frame"):
        make(draw, part=Slider("part", ("all", "left"), start="left"), faded=(0.3,))


# --- live


def test_the_widget_comes_with_the_page_and_the_text():
    bundle = make()._repr_mimebundle_()
    assert set(bundle) == {VIEW, "text/html", "text/plain"}
    assert bundle[VIEW] == {"version_major": 2, "version_minor": 0, "model_id": bundle[VIEW]["model_id"]}
    json.dumps(bundle)


def live(explorer):
    explorer._repr_mimebundle_()
    _, *sliders, image = explorer._box.children
    return sliders, image


def test_the_widget_is_made_once():
    explorer = make()
    assert explorer._repr_mimebundle_()[VIEW] == explorer._repr_mimebundle_()[VIEW]


def test_widgets_recompute_for_every_value():
    sliders, image = live(
        make(width=Slider("width", range(1, 50), frames=(1, 2)), height=Slider("height", (0.5, 1), start=1))
    )
    assert [slider.description for slider in sliders] == ["width", "height"]
    assert [slider.value for slider in sliders] == [1, 1]
    assert len(sliders[0].options) == 49
    assert {slider.continuous_update for slider in sliders} == {False}  # a drawing takes its time
    before = image.value
    sliders[0].value = 33
    assert 'alt="a bar (width 33, height 1)"' in image.value
    sliders[1].value = 0.5
    assert 'alt="a bar (width 33, height 0.5)"' in image.value
    assert len({before, image.value}) == 2


def test_where_all_is_drawn_the_picture_follows_the_hand():
    sliders, _ = live(make())
    assert sliders[0].continuous_update


def test_a_draw_that_raises_says_so_and_the_widget_lives_on():
    sliders, image = live(
        make(lambda width: bar(1 / (width - 3)), width=Slider("<width>", (1, 2, 3, 4), frames=(1, 2)))
    )
    sliders[0].value = 3
    assert "<img" not in image.value
    assert "No image for &lt;width&gt; 3." in image.value
    assert "ZeroDivisionError: division by zero" in image.value
    sliders[0].value = 4
    assert "<img" in image.value


def test_without_ipywidgets_there_is_the_page_alone():
    code = (
        "import sys; sys.modules['ipywidgets'] = None\n"
        "from matplotlib.figure import Figure\n"
        "from lecture_utils.explorers import Explorer, Slider\n"
        "e = Explorer(lambda a: Figure(), title='t', alt='a', a=Slider('a', (1, 2)))\n"
        "print(sorted(e._repr_mimebundle_()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "['text/html', 'text/plain']", ran.stderr


# --- stored


def test_a_refreshed_notebook_keeps_the_page_and_no_widget(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    spec = importlib.util.spec_from_file_location("handouts_execute", EXECUTE)
    execute = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = execute
    spec.loader.exec_module(execute)
    cell = nbformat.v4.new_code_cell(
        "import matplotlib.pyplot as plt\nfrom lecture_utils.explorers import Explorer, Slider\n\n"
        "Explorer(lambda n: plt.figure(figsize=(n, 2)), title='Sizes', alt='a white area', n=Slider('n', (2, 3)))"
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    arguments = [str(tmp_path / "n.ipynb"), "--inplace", "--timings", str(tmp_path / "timings.json")]
    assert execute.main(arguments) == 0
    notebook = nbformat.read(tmp_path / "n.ipynb", as_version=4)
    assert "widgets" not in notebook.metadata
    [output] = notebook.cells[0].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert output.data["text/plain"] == "Explorer: Sizes. a white area (n 2)"
    assert len(Page(output.data["text/html"]).all("img")) == 1
    nbformat.validate(notebook)
