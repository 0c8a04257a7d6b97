"""How a figure reaches the page: its output, its size, its fonts, and the reader's settings left alone."""

import base64
import io
import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from lecture_utils import toycity
from lecture_utils.cityscapes import PALETTE
from lecture_utils.figures import compare, show
from lecture_utils.figures.style import CYCLE, KILOBYTES, _drawn, _encoded, course_look, encode


def curve():
    fig, ax = plt.subplots(figsize=(9, 3))
    ax.plot([1, 3, 2])
    return fig


def noise(rng, pictures):
    return compare({str(i): [rng.integers(0, 256, (90, 110, 3), dtype=np.uint8)] for i in range(pictures)})


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **kwargs: shown.append((data, kwargs)))
    return shown


def test_show_emits_a_png_with_alternative_text_and_closes_the_figure(displayed):
    fig = curve()
    show(fig, alt="A curve that rises\n    and falls.")
    [(data, kwargs)] = displayed
    assert set(data) == {"image/png", "text/plain"}
    assert data["text/plain"] == "Figure: A curve that rises and falls."
    assert kwargs == {"raw": True, "metadata": {"image/png": {"alt": "A curve that rises and falls.", "width": 720}}}
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == (1440, 480)
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_show_wants_an_alternative_text(displayed, alt):
    with pytest.raises(ValueError, match="alt: got an empty text"):
        show(curve(), alt=alt)
    assert not displayed


def test_show_reaches_an_executed_notebook_as_described():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    source = "import matplotlib.pyplot as plt\nfrom lecture_utils.figures import show\n"
    source += "fig, ax = plt.subplots()\nshow(fig, alt='<empty> axes')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for output in notebook.cells[0].outputs if output.output_type != "stream"]
    assert [output.output_type for output in outputs] == ["display_data"]
    assert set(outputs[0].data) == {"image/png", "text/plain"}
    assert outputs[0].metadata["image/png"]["alt"] == "<empty> axes"
    nbformat.validate(notebook)


def opened(encoded):
    return Image.open(io.BytesIO(encoded.data))


@pytest.mark.parametrize("web", [False, True])
@pytest.mark.parametrize("pictures", [2, 5])
def test_photographs_keep_to_the_limit(pictures, web):
    (image,) = encode([noise(np.random.default_rng(0), pictures)], web=web)
    assert image.mime in ({"image/webp"} if web else {"image/png", "image/jpeg"})
    assert len(image.data) <= KILOBYTES * 1000
    assert opened(image).width >= 720


def test_a_figure_beyond_every_limit_still_comes_back():
    assert opened(encode([curve()], kilobytes=1)[0]).size == (720, 240)
    assert len(encode([curve(), curve()], kilobytes=1)) == 2


@pytest.mark.parametrize("web", [False, True])
@pytest.mark.parametrize("colours", [3, 200, 5000])
def test_what_is_kept_without_loss_keeps_every_colour(colours, web):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    exact = palette[rng.integers(0, colours, (90, 70))]
    image = opened(_encoded(Image.fromarray(exact), None, web))
    assert (np.asarray(image.convert("RGB")) == exact).all()


def test_a_street_keeps_its_colours_nearly_and_a_label_map_exactly():
    """Also where there is too little room for both: then pixels go, not colours."""
    street = toycity.render(toycity.sample_scene(3), 256)
    for kilobytes in (1000, 60):
        (image,) = encode([compare({"street": [street.image], "labels": [street.labels]})], kilobytes=kilobytes)
        assert image.mime == "image/png"
        shown = np.asarray(opened(image).convert("RGB"))
        present = {tuple(PALETTE[label]) for label in np.unique(street.labels) if label < len(PALETTE)}
        middle = shown[len(shown) // 3 : len(shown) // 2, shown.shape[1] * 5 // 8 : shown.shape[1] * 7 // 8]
        colours, counts = np.unique(middle.reshape(-1, 3), axis=0, return_counts=True)
        exact = sum(n for colour, n in zip(colours, counts, strict=True) if tuple(colour) in present)
        assert exact == counts.sum()
    (image,) = encode([compare({"street": [street.image], "again": [street.image]})], kilobytes=60)
    assert image.mime == "image/jpeg"


def test_the_look_stays_inside_its_function():
    before = dict(mpl.rcParams)

    @course_look
    def draw():
        return mpl.rcParams["font.size"], mpl.rcParams["axes.prop_cycle"].by_key()["color"]

    assert draw() == draw() == (12, list(CYCLE))
    assert dict(mpl.rcParams) == before


def test_colours_differ_for_colour_blind_eyes():
    """Simulated deuteranopia and protanopia (Machado et al. 2009, severity 1), colour difference in CIELAB."""
    from skimage.color import rgb2lab

    rgb = np.array([mpl.colors.to_rgb(colour) for colour in CYCLE])
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    for simulation in (
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    ):
        seen = np.clip(linear @ np.array(simulation).T, 0, 1)
        lab = rgb2lab(np.where(seen > 0.0031308, 1.055 * seen ** (1 / 2.4) - 0.055, 12.92 * seen))
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > 10


def test_a_palette_keeps_rare_colours_and_white_and_takes_up_less_room():
    fig, ax = plt.subplots(figsize=(4, 3), layout="none")
    ax.set_position((0, 0.2, 1, 0.8))
    ax.imshow(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    ax.axis("off")
    fig.text(0.1, 0.05, "—", color=CYCLE[3], size=30)  # a few pixels
    full, few = (encode([fig], kilobytes=10_000, web=True, colours=colours)[0] for colours in (None, 128))
    plt.close(fig)
    assert len(few.data) < 0.6 * len(full.data)
    before, after = (np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB"), int) for image in (full, few))
    assert len(np.unique(after.reshape(-1, 3), axis=0)) <= 128
    below = slice(round(0.85 * len(before)), None)
    white = (before[below] == 255).all(-1)
    assert (after[below][white] == 255).all()
    assert np.abs(after[below] - before[below]).max() < 40


def test_a_drawing_with_a_palette_keeps_to_the_kilobytes_as_a_photograph_does():
    fig, ax = plt.subplots(figsize=(6, 4))
    ax.imshow(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    for kilobytes in (300, 50):
        (image,) = encode([fig], kilobytes=kilobytes, web=True, colours=128)
        assert len(image.data) <= kilobytes * 1000
    plt.close(fig)


def test_an_image_that_is_shown_keeps_to_the_kilobytes_given(displayed):
    with pytest.raises(ValueError, match="alt: got an empty text"):
        show(plt.figure(), alt="", kilobytes=5)
    plt.close("all")
    fig, ax = plt.subplots()
    ax.imshow(np.random.default_rng(0).random((40, 40, 3)))
    show(fig, alt="Noise.", kilobytes=60)
    ((bundle, _),) = displayed if len(displayed[0]) == 2 else [(displayed[0][0], None)]
    (data,) = (text for mime, text in bundle.items() if mime.startswith("image/"))
    assert len(base64.b64decode(data)) <= 60_000


@pytest.mark.parametrize("layout", ["constrained", "none"])
def test_a_figure_is_drawn_as_savefig_draws_it_and_left_as_it_was(layout):
    def figure():
        fig, axes = plt.subplots(1, 2, figsize=(5, 3), layout=layout)
        axes[0].imshow(np.arange(12).reshape(3, 4))
        axes[1].plot([1, 3, 2], label="a line")
        fig.suptitle("title")
        fig.legend(loc="outside lower center" if layout == "constrained" else "upper right")
        return fig

    fig, saved = figure(), io.BytesIO()
    dpi, canvas = fig.dpi, fig.canvas
    drawn = np.asarray(_drawn(fig, 1.5))
    assert (fig.dpi, fig.canvas) == (dpi, canvas)
    figure().savefig(saved, format="png", dpi=120)
    expected = np.asarray(Image.open(saved).convert("RGB"))
    assert drawn.shape == expected.shape
    assert np.array_equal(drawn, expected)
