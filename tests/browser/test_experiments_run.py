"""The experiments of handouts/live in a browser, from files: PyTorch's numbers, mouse and keyboard, no network."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from live import assets, networks, places

from lecture_utils.captioning.decoding import greedy
from lecture_utils.city_models import CITY_WORDS
from lecture_utils.generative.diffusion import predict_x0_and_noise
from lecture_utils.tasks.masked_images import nearest_visible
from lecture_utils.tasks.photos import photo_transforms

HEAD = "<!doctype html><html lang='en'><meta charset='utf-8'><title>Playground</title><body>"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the playground and what it loads."""
    folder = tmp_path_factory.mktemp("site")
    if lacking := assets.make(folder / "_static" / "live"):
        pytest.skip(lacking)
    page = re.sub(r"(?m)^#+ +(.*)$", r"<h2>\1</h2>", places.playground(runs=True))
    (folder / "playground.html").write_text(HEAD + page, "utf-8")
    return folder


@pytest.fixture
def shown(page, site):
    """The playground; in the end no script has failed and nothing was asked of a network."""
    said, asked = [], []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    page.goto((site / "playground.html").as_uri())
    yield page
    assert (said, asked) == ([], [])


def opened(page, name):
    root = page.locator(f"[data-live={name}]")
    root.scroll_into_view_if_needed()
    page.wait_for_function(f"document.querySelector('[data-live={name}] .live-made:not([hidden])')")
    return root


def settled(page, root, number):
    """Wait until the experiment has drawn the state number `number`."""
    page.wait_for_function("([e, n]) => Number(e.dataset.generation) >= n", arg=[root.element_handle(), number])


def pixels(root, which):
    return root.locator("canvas").nth(which).evaluate("canvas => canvas.toDataURL()")


def words(root):
    return root.locator(".live-said").inner_text()


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_every_network_gives_pytorchs_numbers(shown, name):
    network = networks.NETWORKS[name]
    inputs = network.inputs(torch.Generator().manual_seed(7))
    given = {key: {"values": value.flatten().tolist(), "dims": list(value.shape)} for key, value in inputs.items()}
    got = shown.evaluate(
        """async ([name, given]) => {
            const inputs = {};
            for (const [key, { values, dims }] of Object.entries(given))
                inputs[key] = { data: Float32Array.from(values), dims };
            const { outputs } = await LIVE.run(name, inputs);
            return Object.fromEntries(Object.entries(outputs).map(([key, { data }]) => [key, Array.from(data)]));
        }""",
        [name, given],
    )
    with torch.no_grad():
        expected = network.module()(*inputs.values())
    for key, value in zip(network.outputs, expected if isinstance(expected, tuple) else (expected,), strict=True):
        assert np.abs(np.array(got[key]) - value.flatten().numpy()).max() < networks.TOLERANCE


def test_a_photograph_is_scaled_as_in_training(shown):
    image = torch.randint(0, 256, (3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    got = shown.evaluate(
        "([pixels, scale]) => Array.from(LIVE.photo(Uint8Array.from(pixels), 5, scale).data)",
        [image.permute(1, 2, 0).flatten().tolist(), assets._scale()],
    )
    torch.testing.assert_close(torch.tensor(got), photo_transforms()(image).flatten(), atol=1e-6, rtol=0)


def test_paint_changes_labels_and_undo_gives_the_same_pixels(shown):
    root = opened(shown, "paint")
    before = pixels(root, 0), pixels(root, 1)
    assert words(root) == "Nothing is painted yet."
    canvas = root.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] * 0.9})
    settled(shown, root, 2)
    assert re.match(r"You painted \d+ of 9216 pixels\. The label changed at \d+ of them", words(root))
    assert pixels(root, 1) != before[1]
    shown.mouse.move(0, 0)
    root.get_by_role("button", name="undo").click()
    settled(shown, root, 3)
    assert (words(root), pixels(root, 1)) == ("Nothing is painted yet.", before[1])


def test_of_fast_strokes_the_newest_is_what_stays(shown):
    """Twelve moves without a pause end with the labels that the same moves have, each waited for."""
    root = opened(shown, "paint")
    canvas = root.locator("canvas").first

    def draw(*, wait):
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()  # anew: a click on a button below scrolls
        shown.mouse.move(box["x"] + 20, box["y"] + 300)
        shown.mouse.down()
        for k in range(1, 13):
            before = int(root.get_attribute("data-generation"))
            shown.mouse.move(box["x"] + 20 + 15 * k, box["y"] + 300)
            if wait:
                settled(shown, root, before + 1)
        shown.mouse.up()
        number = ""
        while number != (number := root.get_attribute("data-generation")):  # until a second brings nothing new
            shown.wait_for_timeout(1000)
        return words(root), pixels(root, 1)

    first = pixels(root, 1)
    fast = draw(wait=False)
    assert fast[1] != first
    root.get_by_role("button", name="start again").click()
    shown.wait_for_function("document.querySelector('[data-live=paint]').innerText.includes('Nothing is painted')")
    assert pixels(root, 1) == first
    assert draw(wait=True) == fast


def test_all_skips_on_is_the_plain_network_and_off_is_worse_than_the_twin(shown):
    root = opened(shown, "skips")
    first = words(root)
    root.get_by_role("button", name="all off").click()
    settled(shown, root, 2)
    off = words(root)
    wrong = [float(value) for value in re.findall(r"([\d.]+) % of all pixels", off)]
    assert wrong[0] > wrong[1]
    root.get_by_role("button", name="all on").click()
    settled(shown, root, 3)
    assert words(root) == first
    street = assets.streets()["streets"][0]
    image = photo_transforms()(assets._unpacked(street["pixels"], 96))[None]
    truth = np.frombuffer(assets.base64.b64decode(street["labels"]), np.uint8)
    with torch.no_grad():
        found = networks.NETWORKS["unet"].module()(image, torch.ones(4)).argmax(1).flatten().numpy()
    share = 100 * (found != truth)[truth != 255].mean()
    assert abs(float(re.search(r"([\d.]+) %", first)[1]) - share) < 0.06


def test_by_keyboard_alone_a_patch_is_erased_and_comes_back(shown):
    root = opened(shown, "attend")
    first = root.locator(".live-bars").inner_text()
    root.get_by_role("radio", name="erase it").focus()
    shown.keyboard.press("Space")
    root.locator("canvas").first.focus()
    for key in ("ArrowDown", "ArrowDown", "Space"):
        shown.keyboard.press(key)
    settled(shown, root, 2)
    assert "before" in root.locator(".live-bars").inner_text()
    root.get_by_role("button", name="undo").focus()
    shown.keyboard.press("Enter")
    settled(shown, root, 3)
    assert root.locator(".live-bars").inner_text() == first


def test_the_classs_rollout_is_the_courses(shown):
    from lecture_utils.transformers import class_token_attention, rollout

    root = opened(shown, "attend")
    vit = networks.NETWORKS["vit"].module().vit
    image = photo_transforms()(assets._unpacked(assets.objects()["objects"][0]["pixels"], 48))[None]
    with torch.no_grad():
        flow = rollout(vit.attention_maps(image))
    weights = class_token_attention(flow, vit.grid)[0]
    row, column = divmod(int(weights.argmax()), vit.grid[1])
    assert f"{weights.max():.2f}, on row {row + 1}, column {column + 1}" in words(root)
    assert f"{flow[0, 0, 0]:.2f} on the class token" in words(root)


def test_what_is_found_under_a_mask_is_what_the_model_finds(shown):
    root = opened(shown, "mask")
    number, _, found, copied = map(int, re.findall(r"\d+", words(root)))
    model = networks.NETWORKS["beit"].module().model
    street = assets.patches()["streets"][0]
    hidden = torch.zeros(12, 12, dtype=torch.bool)
    hidden[5:9, 4:8] = True
    image, truth = photo_transforms()(assets._unpacked(street["pixels"], 96))[None], torch.tensor(street["tokens"])
    with torch.no_grad():
        tokens, _ = model.complete(image, hidden[None])
    at = hidden.flatten()
    near = truth[nearest_visible(at[None], (12, 12))[0]]
    assert (number, found, copied) == (16, int((tokens[0] == truth)[at].sum()), int((near == truth)[at].sum()))


def test_nothing_hidden_gives_the_street_and_undo_the_mask(shown):
    root = opened(shown, "mask")
    before = pixels(root, 1)
    root.get_by_role("button", name="uncover all").click()
    settled(shown, root, 2)
    assert words(root) == "Nothing is hidden yet."
    root.get_by_role("button", name="undo").click()
    settled(shown, root, 3)
    assert pixels(root, 1) == before


def test_the_sampler_ends_as_the_courses_does_and_late_forks_are_alike(shown):
    root = opened(shown, "denoise")
    model, data = networks.NETWORKS["diffusion"].module().model, assets.noise()
    side = data["side"]
    noisy = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    got = shown.evaluate(
        """async (values) => {
            const noisy = { data: Float32Array.from(values), dims: [4, 3, 32, 32] };
            const step = { data: new Float32Array(4).fill(999), dims: [4] };
            const { outputs } = await LIVE.run("diffusion", { noisy, step });
            return Array.from(outputs.velocity.data);
        }""",
        noisy.flatten().tolist(),
    )
    alpha_bar = torch.tensor(data["alphaBar"][:1]).expand(4)
    with torch.no_grad():
        v = model(noisy, torch.full((4,), data["steps"][0]))
    ours = predict_x0_and_noise(noisy, v, alpha_bar)[0]
    theirs = predict_x0_and_noise(noisy, torch.tensor(got).view_as(noisy), alpha_bar)[0]
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)

    def apart(stop):
        root.get_by_label("stop of the sampler").fill(str(stop))
        before = int(root.get_attribute("data-generation"))
        root.get_by_role("button", name="fork here").click()
        settled(shown, root, before + 1)
        images = root.locator("canvas").evaluate_all(
            "all => all.slice(2).map(c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data))"
        )
        end, *forks = np.array(images, float)
        return np.mean([np.abs(fork - end).mean() for fork in forks])

    assert apart(22) < apart(4) / 2


def test_the_caption_is_the_courses_and_its_words_are_scored_again_after_erasing(shown):
    root = opened(shown, "caption")
    start, model = networks.NETWORKS["caption_start"].module(), networks.NETWORKS["caption_step"].module().model
    image = photo_transforms()(assets._unpacked(assets.views()["streets"][0]["pixels"], 128))[None]
    said = greedy(model, start.encoder(image), need_weights=True)
    buttons = root.locator(".live-words button").all_inner_texts()
    assert buttons == [CITY_WORDS.words[number] for number in said.words[0].tolist()]
    sharpest = int(said.attention.flatten(4).max(-1).values.argmax())
    assert words(root).startswith(f"“{buttons[sharpest]}” had probability")
    assert f"{said.attention.max():.2f} of the attention" in words(root)

    root.get_by_role("button", name="person").click()  # which draws and computes nothing
    assert words(root).startswith("“person”")
    box = root.locator("canvas").first.bounding_box()
    root.get_by_role("radio", name="21").check()
    root.locator("canvas").first.click(position={"x": 0.93 * box["width"], "y": 0.72 * box["height"]})
    settled(shown, root, 2)
    before, after = zip(*re.findall(r"([\d.]+) → ([\d.]+)", root.locator(".live-words").last.inner_text()), strict=True)
    assert len(before) == len(buttons)
    assert before != after


@pytest.mark.parametrize("missing", ["vit", "ort-wasm"])
def test_without_a_file_the_picture_stays_and_the_page_says_so(page, site, tmp_path, missing):
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "_static" / "live" / f"{missing}.js").unlink()
    page.goto((tmp_path / "site" / "playground.html").as_uri())
    root = page.locator("[data-live=attend]")
    root.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('[data-live=attend]').dataset.error")
    page.wait_for_function("document.querySelector('[data-live=attend]').innerText.includes('does not run here')")
    assert f"{missing}.js is missing" in root.inner_text()
    assert root.locator(".live-stage > img").is_visible()


def test_nothing_shuts_people_out(shown, axe):
    for name in places.experiments():
        opened(shown, name)
    shown.evaluate(axe)
    found = shown.evaluate("async () => (await axe.run()).violations")
    serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)
