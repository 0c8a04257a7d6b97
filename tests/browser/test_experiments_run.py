"""The experiments of handouts/live in a browser, from files: PyTorch's numbers, mouse and keyboard, no network."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from live import assets, networks, places, sprites
from live_networks import ANSWER, difference, examples, given
from torch.nn.functional import pixel_unshuffle

from lecture_course.nb11_detr.measuring import unsuppressed
from lecture_utils.captioning.decoding import greedy
from lecture_utils.city_models import CITY_WORDS
from lecture_utils.detection.anchors import grid_anchors
from lecture_utils.detection.boxes import box_iou, decode, nms
from lecture_utils.detection.matching import match_boxes
from lecture_utils.detection.scores import apply_nms
from lecture_utils.generative.diffusion import predict_x0_and_noise
from lecture_utils.tasks import grid_encoder
from lecture_utils.tasks.masked_images import nearest_visible
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.transformers.detr import postprocess


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
    inputs = examples(name)
    got = shown.evaluate(ANSWER, [name, given(inputs)])
    assert difference(name, inputs, got) < networks.TOLERANCE


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
    encoder, model = grid_encoder(), networks.NETWORKS["caption_step"].module().model
    image = photo_transforms()(assets._unpacked(assets.views()["streets"][0]["pixels"], 128))[None]
    said = greedy(model, encoder(image), need_weights=True)
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


def placed(names, places, *, street=0):
    """An empty street of the experiments with sprites at (y, x), where `None` is their own place; and their boxes."""
    made, put = sprites.streets()[street], []
    for name, place in zip(names, places, strict=True):
        one = next(s for s in made["sprites"] if s["name"] == name and s["size"] == "large")
        put.append((one, *(place or (one["y"], one["x"]))))
    corners = [[x, y, x + one["mask"].shape[1], y + one["mask"].shape[0]] for one, y, x in put]
    pixels = torch.from_numpy(sprites.pasted(made["pixels"], put)).permute(2, 0, 1)
    return photo_transforms()(pixels).as_subclass(torch.Tensor), torch.tensor(corners, dtype=torch.float32)


def beside(names):
    """Where "merge" puts its two objects."""
    ours = {one["name"]: one for one in sprites.streets()[0]["sprites"] if one["size"] == "large"}
    columns = zip(names, (38, 92), strict=True)  # 0.3 and 0.72 of 128 pixels
    return [
        (ours[name]["y"], int(np.floor(middle - ours[name]["mask"].shape[1] / 2 + 0.5))) for name, middle in columns
    ]


def test_boxes_in_the_page_are_the_packages(shown):
    dice = torch.Generator().manual_seed(3)
    low = torch.rand(60, 2, generator=dice) * 40
    boxes = torch.cat([low, low + torch.rand(60, 2, generator=dice) * 40], dim=1)
    deltas, scores = torch.randn(60, 4, generator=dice), torch.rand(60, generator=dice).sort(descending=True).values
    deltas[0, 2] = 9  # grows by no more than the limit
    weights = (10.0, 10.0, 5.0, 5.0)
    overlap = box_iou(boxes[:1], boxes)
    got = shown.evaluate(
        """([boxes, deltas, weights, rule]) => {
            const { iou, decode, suppress, labelled, gridAnchors } = LIVE.boxes;
            const overlaps = boxes.map((box) => iou(boxes[0], box));
            return {
                overlaps,
                decoded: boxes.map((box, i) => decode(deltas[i], box, weights)),
                kept: suppress(boxes, 0.3),
                labels: [true, false].map((bestMatch) => labelled(overlaps.slice(1), { ...rule, bestMatch })),
                anchors: gridAnchors({ base: [[-4, -2, 4, 2], [-2, -4, 2, 4]], grid: 3, stride: 8 }),
            };
        }""",
        [boxes.tolist(), deltas.tolist(), weights, {"high": 0.7, "low": 0.1}],
    )
    torch.testing.assert_close(torch.tensor(got["overlaps"]), overlap[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.tensor(got["decoded"]), decode(deltas, boxes, weights), atol=1e-3, rtol=1e-5)
    assert got["kept"] == nms(boxes, scores, 0.3).tolist()
    named = {0: "positive", -1: "negative", -2: "ignored"}
    for best_match, labels in zip((True, False), got["labels"], strict=True):
        ours = match_boxes(overlap[:, 1:], high=0.7, low=0.1, allow_low_quality_matches=best_match)
        assert labels == [named[label] for label in ours.tolist()]
    base = torch.tensor([[-4.0, -2, 4, 2], [-2, -4, 2, 4]])
    assert got["anchors"] == grid_anchors(base, (3, 3), 8).tolist()


def test_rule_and_prediction_are_counted_as_the_course_counts(shown):
    root = opened(shown, "anchors")
    model = networks.NETWORKS["proposals"].module().model
    image, box = placed(["red car"], [None])
    with torch.no_grad():
        logits, _, laid = model.rpn.predict(model.backbone(image[None]))
    overlap, sure = box_iou(box, laid), logits[0].sigmoid() >= 0.5
    for checked in (True, False):
        root.get_by_label("best-match rule").set_checked(checked)
        labels = match_boxes(overlap, high=0.7, low=0.3, allow_low_quality_matches=checked)
        said = words(root)
        assert f"{(labels >= 0).sum()} of 2,304 anchors positive, {(overlap >= 0.7).sum()} of them by" in said
        assert f"(the best is {overlap.max():.2f}); {(labels == -2).sum()} ignored" in said
        assert f"Prediction: {sure.sum()} anchors" in said
        assert f"calls {(sure & (labels >= 0)).sum()} of them positive" in said
    best = int(overlap.argmax())
    cells = root.locator(".live-chosen td").all_inner_texts()
    assert cells[1:4] == [f"{overlap[0, best]:.2f}", "positive", f"{logits[0, best].sigmoid():.2f}"]


def test_an_object_is_dragged_by_keyboard_alone_and_comes_back(shown):
    root = opened(shown, "anchors")
    before = words(root), pixels(root, 0), pixels(root, 1)
    root.locator("canvas").first.focus()
    for number, key in enumerate(("Shift+ArrowRight", "ArrowDown", "ArrowRight"), 2):
        shown.keyboard.press(key)
        settled(shown, root, number)
    model = networks.NETWORKS["proposals"].module().model
    ((one, (y, x)),) = [(s, (s["y"], s["x"])) for s in sprites.streets()[0]["sprites"] if s["size"] == "large"][:1]
    image, box = placed([one["name"]], [(y + 1, x + 9)])
    with torch.no_grad():
        logits, _, laid = model.rpn.predict(model.backbone(image[None]))
    assert f"the best is {box_iou(box, laid).max():.2f}" in words(root)
    assert f"Prediction: {(logits >= 0).sum()} anchors" in words(root)
    for number in (5, 6, 7):
        root.get_by_role("button", name="undo").focus()
        shown.keyboard.press("Enter")
        settled(shown, root, number)
    shown.mouse.move(0, 0)
    assert (words(root), pixels(root, 0), pixels(root, 1)) == before


def test_a_point_is_chosen_by_click_and_by_keys_and_asks_no_network(shown):
    root = opened(shown, "anchors")
    right = root.locator("canvas").nth(1)
    box = right.bounding_box()
    right.click(position={"x": box["width"] * 24 / 128, "y": box["height"] * 16 / 128})
    clicked = pixels(root, 1), root.locator(".live-table tbody").inner_text()
    right.focus()
    shown.keyboard.press("ArrowRight")
    assert (pixels(root, 1), root.locator(".live-table tbody").inner_text()) != clicked
    shown.keyboard.press("ArrowLeft")
    assert (pixels(root, 1), root.locator(".live-table tbody").inner_text()) == clicked
    assert root.get_attribute("data-generation") == "1"


@pytest.mark.parametrize("pair", ["two cars", "two people"])
def test_two_objects_are_found_as_the_course_finds_them(shown, pair):
    names = {"two cars": ["blue car", "red car"], "two people": ["person in green", "person in yellow"]}[pair]
    root = opened(shown, "merge")
    root.get_by_role("radio", name=pair).check()
    shown.wait_for_function("document.querySelector('[data-live=merge]').dataset.generation >= 1")
    image, boxes = placed(names, beside(names))
    faster, detr = (networks.NETWORKS[name].module().model for name in ("proposals", "detr"))
    raw = unsuppressed(faster, [(image, None)], [0], "cpu")
    with torch.no_grad():
        features = faster.backbone(image[None])
        said = postprocess(detr(pixel_unshuffle(features, 2)), (128, 128))[0]
    sure = (raw[0]["scores"] >= 0.5).sum()

    def expected(threshold):
        kept = apply_nms(raw, iou_threshold=threshold)[0]
        return (
            f"overlap by an IoU of {box_iou(boxes[:1], boxes[1:]).item():.2f}. Faster R-CNN: {sure} boxes before NMS, "
            f"{(kept['scores'] >= 0.5).sum()} after it. DETR: {(said['scores'] >= 0.5).sum()} of its 20 queries."
        )

    shown.wait_for_function(
        "text => document.querySelector('[data-live=merge]').innerText.includes(text)", arg=expected(0.5)
    )
    for threshold in (0.9, 0.3):
        root.get_by_label("NMS threshold").fill(str(threshold))
        assert expected(threshold) in words(root)


def test_of_a_fast_drag_the_last_place_is_what_stays_and_undo_gives_the_first(shown):
    root = opened(shown, "merge")
    canvas = root.locator("canvas").first
    first = words(root), pixels(root, 0), pixels(root, 1)

    def drag(*, wait):
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        unit = box["width"] / 128
        x, y = box["x"] + 92 * unit, box["y"] + 88 * unit
        shown.mouse.move(x, y)
        shown.mouse.down()
        for k in range(1, 13):
            before = int(root.get_attribute("data-generation"))
            shown.mouse.move(x - 3 * k * unit, y)
            if wait:
                settled(shown, root, before + 1)
        shown.mouse.up()
        number = ""
        while number != (number := root.get_attribute("data-generation")):  # until a second brings nothing new
            shown.wait_for_timeout(1000)
        return words(root), pixels(root, 0), pixels(root, 1)

    fast = drag(wait=False)
    assert fast != first
    before = int(root.get_attribute("data-generation"))
    root.get_by_role("button", name="undo").click()
    settled(shown, root, before + 1)
    shown.mouse.move(0, 0)
    assert (words(root), pixels(root, 0), pixels(root, 1)) == first
    assert drag(wait=True) == fast


def test_boxes_are_counted_all_the_way_and_a_stop_can_be_gone_to(shown):
    root = opened(shown, "merge")
    root.get_by_role("button", name="count boxes").click()
    shown.wait_for_function("document.querySelector('[data-live=merge]').dataset.way === '11'")
    rows = [line.split("\t") for line in root.locator(".live-table").inner_text().splitlines()]
    overlaps, counts, queries = ([cell.strip() for cell in row[1:]] for row in rows)
    assert overlaps == sorted(overlaps)
    assert (overlaps[0], overlaps[-1]) == ("0.00", "1.00")
    assert (counts[0], queries[0]) == tuple(re.search(r"(\d+) after it. DETR: (\d+)", words(root)).groups())
    before = int(root.get_attribute("data-generation"))
    root.get_by_role("button", name=overlaps[6], exact=True).click()
    settled(shown, root, before + 1)
    said = re.search(r"IoU of ([\d.]+)\..* (\d+) after it. DETR: (\d+)", words(root)).groups()
    assert said == (overlaps[6], counts[6], queries[6])
    root.get_by_label("NMS threshold").fill("0.95")
    more = [line.split("\t") for line in root.locator(".live-table").inner_text().splitlines()][1][1:]
    assert sum(map(int, more)) > sum(map(int, counts))


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


def test_without_a_worker_the_picture_stays_and_the_page_says_so(page, site_without_worker):
    page.goto((site_without_worker / "playground.html").as_uri())
    root = page.locator("[data-live=paint]")
    page.wait_for_function("document.querySelector('[data-live=paint]').innerText.includes('does not run here')")
    assert "(its worker stopped: " in root.inner_text()
    assert root.locator(".live-stage > img").is_visible()


def test_nothing_shuts_people_out(shown, axe):
    for name in places.experiments():
        opened(shown, name)
    shown.evaluate(axe)
    found = shown.evaluate("async () => (await axe.run({ preload: false })).violations")
    serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)
