"""Drawings of detectors: all shapes and numbers are the model's, what they share stays in place, all can be read."""

import numpy as np
import pytest
import torch
from torch import nn

from lecture_utils.detection import RCNN, RPN, Backbone, FasterRCNN, FastRCNN, RegionHead, SingleObject
from lecture_utils.detection.backbone import ResidualBlock
from lecture_utils.detection.boxes import normalize_boxes
from lecture_utils.detection.fast_rcnn import crop_features
from lecture_utils.detection.heads import WEIGHTS
from lecture_utils.detection.rcnn import warp
from lecture_utils.detection.single_object import alexnet, multi_task_loss
from lecture_utils.figures.detector_blocks import maps, picture, under
from lecture_utils.figures.detector_traces import feature_stages
from lecture_utils.figures.detectors import KINDS, detector_drawing, detector_steps
from lecture_utils.figures.network import draw_network
from lecture_utils.figures.network_blocks import Table, steps_of
from lecture_utils.figures.region_detectors import REGIONS
from tests.figures.test_network import require_legible

NAMES = ("background", "car", "traffic light")
HEIGHT, WIDTH = 64, 96
PROPOSALS = torch.tensor([[4.0, 8, 40, 50], [50, 10, 90, 60], [0, 0, 14, 14], [30, 30, 60, 62]])
TARGET = {"boxes": torch.tensor([[6.0, 10, 42, 52]]), "labels": torch.tensor([1])}


def build(kind):
    torch.manual_seed(0)
    if kind is SingleObject:
        layers = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), ResidualBlock(5, 7, stride=2), nn.Flatten())
        model = SingleObject(layers, 7 * 16 * 24, 3)
        nn.init.normal_(model.box.weight, std=1e-3)
    else:
        backbone, head = Backbone(base_channels=4, out_channels=12), RegionHead(12, 3, output_size=5, hidden=20)
        nn.init.normal_(head.classes.weight, std=1.0)
        nn.init.normal_(head.deltas.weight, std=3.0)
        rpn = RPN(12, stride=4, conv_stride=2, sizes=(16, 32), ratios=(1, 2), post_nms_top_n=30)
        model = FasterRCNN(backbone, rpn, head) if kind is FasterRCNN else kind(backbone, head)
    return model.eval()


def given(kind):
    large = np.random.default_rng(0).integers(0, 256, (4 * HEIGHT, 4 * WIDTH, 3), dtype=np.uint8)
    image = torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    more = {"regions": [0, 1, 2]} if kind is not SingleObject else {}
    more |= {"proposals": PROPOSALS} if kind in (RCNN, FastRCNN) else {}
    return {"image": image, "large": large, "names": NAMES, "target": TARGET, **more}


@pytest.fixture(scope="module", params=[SingleObject, RCNN, FastRCNN, FasterRCNN])
def drawn(request):
    model, arguments = build(request.param), given(request.param)
    return model, arguments, detector_drawing(model, **arguments)


def named(drawing):
    return {block.name: block for block in drawing.blocks}


STEPS = {
    SingleObject: ["image", "stage 1", "stage 2", "vector", "class scores", "box", "cross-entropy", "L2", "loss"],
    RCNN: [
        "① image", "② region proposals", "③ warped regions", "④ CNN features", "vectors", "④ class scores",
        "⑤ box deltas", "two losses", "detections",
    ],
    FastRCNN: [
        "image", "feature map", "region proposals", "RoI features", "vectors", "class scores", "box deltas",
        "two losses", "detections",
    ],
    FasterRCNN: [
        "image", "feature map", "RPN convolution", "objectness", "anchor deltas", "anchors", "region proposals",
        "RoI features", "vectors", "class scores", "box deltas", "four losses", "detections",
    ],
}  # fmt: skip


@pytest.mark.slide("14")
@pytest.mark.slide("18")
@pytest.mark.slide("20")
def test_every_step_can_be_read(drawn):
    model, _, drawing = drawn
    assert [step[0].name for step in steps_of(drawing.blocks)] == STEPS[type(model)]
    look = {"gap": 0.18, "bands": drawing.bands, "kinds": KINDS, "about": "All of it."}
    for highlight in (None, *range(len(STEPS[type(model)]))):
        fig = draw_network(drawing.blocks, drawing.arrows, highlight=highlight, **look)
        require_legible(fig)
        assert not [text.get_text() for text in fig.axes[0].texts if text.get_text().rstrip().endswith("→")]
    assert {arrow.kind for arrow in drawing.arrows} - {""} <= set(KINDS)


@pytest.mark.slide("14")
def test_a_single_object_is_one_vector_two_heads_and_two_losses():
    model, arguments = build(SingleObject), given(SingleObject)
    blocks = named(detector_drawing(model, **arguments, weight=3.0))
    image = arguments["image"]
    with torch.no_grad():
        scores, box = model(image)
    assert [blocks[name].shape for name in ("image", "stage 1", "stage 2", "vector")] == [
        (3, 64, 96), (5, 32, 48), (7, 16, 24), (7 * 16 * 24,),
    ]  # fmt: skip
    assert torch.equal(blocks["stage 2"].value.flatten(), model.backbone(image)[0])
    given_scores = scores[0].softmax(0).tolist()
    written = {f"{name} {score:.2f}": score for name, score in zip(NAMES, given_scores, strict=True)}
    assert blocks["class scores"].value == pytest.approx(written)
    assert list(blocks["box"].value.values()) == [f"{value:.2f}" for value in box[0].tolist()]
    true = normalize_boxes(TARGET["boxes"], HEIGHT, WIDTH)
    assert blocks["loss"].value["sum"] == f"{multi_task_loss(scores, box, TARGET['labels'], true, 3.0):.4f}"
    assert [block.shape for block in (blocks["loss"], blocks["box"])] == [(1,), (4,)]
    marks = blocks["box on the image"].marks
    assert marks[0][:4] == pytest.approx(TARGET["boxes"][0].tolist())


@pytest.mark.slide("14")
def test_the_stages_of_alexnet_are_the_sizes_on_its_way():
    shapes = [tuple(maps.shape) for maps in feature_stages(alexnet().backbone.eval(), torch.zeros(1, 3, 224, 224))]
    assert shapes == [(64, 55, 55), (192, 27, 27), (256, 13, 13), (256, 6, 6)]


def pooled(model, image, boxes):
    if isinstance(model, RCNN):
        return model.backbone(warp(image, [boxes], 5 * 4))
    return crop_features(model.backbone(image), output_size=5, stride=4)([boxes])


@pytest.mark.slide("18")
@pytest.mark.slide("19")
@pytest.mark.slide("20")
@pytest.mark.parametrize("kind", [RCNN, FastRCNN, FasterRCNN])
def test_regions_are_drawn_with_what_the_model_makes_of_them(kind):
    model, arguments = build(kind), given(kind)
    arguments["regions"] = [2, 0]
    drawing = detector_drawing(model, **arguments)
    blocks, image = named(drawing), arguments["image"]
    with torch.no_grad():
        boxes = PROPOSALS if kind is not FasterRCNN else model.rpn(model.backbone(image), (HEIGHT, WIDTH))[0][0]
        features = pooled(model, image, boxes)
        scores, deltas = model.head.predict(features)
    one = named(drawing)["④ CNN features" if kind is RCNN else "RoI features"]
    column = [block for block in drawing.blocks if block.at[0] == one.at[0]]
    assert [block.shape for block in column] == [(12, 5, 5)] * 2
    for block, region in zip(column, (2, 0), strict=True):
        assert torch.allclose(block.value, features[region], atol=1e-5)
    assert blocks["vectors"].shape == (20,)
    title = "④ class scores" if kind is RCNN else "class scores"
    assert blocks[title].value == pytest.approx(dict(zip(NAMES, scores[2].softmax(0).tolist(), strict=True)), abs=1e-5)
    assert blocks[title].words == "3"
    table = blocks["⑤ box deltas" if kind is RCNN else "box deltas"]
    assert table.words == "3 × 4"
    label = scores[2].argmax()
    numbers = [f"{x:+.2f}".replace("-", "−") for x in (deltas[2, label] / torch.tensor(WEIGHTS)).tolist()]
    assert list(table.value.values()) == (numbers if label else ["no box"])
    proposals = blocks["② region proposals" if kind is RCNN else "region proposals"]
    assert proposals.words == f"{len(boxes)} × 4"
    assert [mark[4] for mark in proposals.marks] == list(REGIONS[:2])
    assert proposals.marks[0][:4] == pytest.approx(boxes[2].tolist())


@pytest.mark.slide("19")
@pytest.mark.slide("21")
def test_what_is_computed_once_for_the_image_has_the_shapes_of_the_model():
    drawing = detector_drawing(build(FasterRCNN), **given(FasterRCNN))
    blocks = named(drawing)
    words = {name: blocks[name].words for name in ("feature map", "RPN convolution", "objectness", "anchor deltas")}
    assert words == {
        "feature map": "12 × 16 × 24",
        "RPN convolution": "12 × 8 × 12",
        "objectness": "4 × 8 × 12",
        "anchor deltas": "16 × 8 × 12",
    }
    assert blocks["anchors"].words == f"{4 * 8 * 12} × 4"
    assert "K = 4" in blocks["objectness"].says
    on_image, on_map = (
        np.array([mark[:4] for mark in blocks[name].marks]) for name in ("region proposals", "feature map")
    )
    assert on_map == pytest.approx(on_image / 4)
    image, region = drawing.bands[0], drawing.bands[-1]
    assert (image.name, region.name) == ("once per image", "once per region")
    assert blocks["feature map"] in image.blocks
    assert blocks["RoI features"] in region.blocks
    assert image.colour != region.colour


@pytest.mark.slide("18")
def test_the_backbone_of_r_cnn_runs_once_per_region():
    drawing = detector_drawing(build(RCNN), **given(RCNN))
    blocks, region = named(drawing), drawing.bands[-1]
    assert blocks["③ warped regions"].shape == (3, 20, 20)
    assert blocks["③ warped regions"].value.shape == (20, 20, 3)
    (into,) = [arrow for arrow in drawing.arrows if arrow.end is blocks["④ CNN features"]]
    assert into.kind == "backbone"
    assert {into.start, into.end} <= set(region.blocks)


@pytest.mark.slide("20")
@pytest.mark.parametrize(("kind", "names"), [(FastRCNN, 2), (FasterRCNN, 4)])
def test_the_losses_are_those_of_the_model(kind, names):
    model, arguments = build(kind), given(kind)
    state = torch.random.get_rng_state()
    table = named(detector_drawing(model, **arguments))["two losses" if names == 2 else "four losses"].value
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(0)
    more = {} if kind is FasterRCNN else {"proposals": [PROPOSALS]}
    with torch.no_grad():
        losses = model(arguments["image"], **more, targets=[TARGET])
    assert table == {name: f"{value:.3f}" for name, value in losses.items()} | {"sum": f"{sum(losses.values()):.3f}"}
    assert len(losses) == names
    assert isinstance(table, Table)
    without = detector_drawing(model, **arguments | {"target": None})
    assert not {"two losses", "four losses"} & set(named(without))


def test_what_detectors_share_stands_in_the_same_place():
    r_cnn, fast, faster = (named(detector_drawing(build(kind), **given(kind))) for kind in (RCNN, FastRCNN, FasterRCNN))
    shared = set(fast) & set(faster) - {"two losses"}
    assert {"image", "feature map", "region proposals", "RoI features", "vectors", "detections"} <= shared
    for name in shared:
        assert fast[name].at == faster[name].at
    assert r_cnn["④ CNN features"].at[0] == fast["RoI features"].at[0]
    assert r_cnn["vectors"].at[0] == fast["vectors"].at[0]


def test_two_objects_of_different_classes_and_a_background_are_followed():
    model, arguments = build(FastRCNN), given(FastRCNN)
    wanted = torch.tensor([[0.0, 9, 0], [0, 0, 5], [9, 0, 0], [0, 8, 0]])
    model.head.classes.register_forward_hook(lambda module, inputs, output: wanted)
    drawing = detector_drawing(model, **arguments | {"regions": None, "target": None})
    marks = named(drawing)["region proposals"].marks
    assert [mark[:4] for mark in marks] == [tuple(PROPOSALS[i].tolist()) for i in (0, 1, 2)]


@pytest.mark.slide("14")
def test_the_steps_are_the_frames_of_an_explorer():
    arguments = given(SingleObject)
    explorer = detector_steps(build(SingleObject), **arguments, kilobytes=200)
    assert [place["part"] for place in explorer.places] == ["all", *STEPS[SingleObject]]
    assert explorer.title == "Classification + localization, step by step"
    assert explorer.play == "part"
    assert explorer.frame(part="box").alt.startswith("box is highlighted. Localization")
    assert "vector" in explorer.frame(part="all").alt


BAD = [
    (SingleObject, {"target": None}, "target: got None, expected one box"),
    (SingleObject, {"target": {"boxes": torch.rand(2, 4), "labels": torch.ones(2)}}, r"target: got boxes \(2, 4\)"),
    (SingleObject, {"target": {"boxes": torch.rand(1, 4), "labels": torch.ones(2)}}, "target: got 1 boxes, expected 2"),
    (SingleObject, {"names": NAMES[:2]}, "names: got 2, expected 3"),
    (SingleObject, {"proposals": PROPOSALS}, "proposals: got some for SingleObject"),
    (FasterRCNN, {"proposals": PROPOSALS}, "proposals: got some for FasterRCNN"),
    (FasterRCNN, {"names": NAMES[:2]}, "names: got 2, expected 3"),
    (RCNN, {"proposals": None}, "proposals: got None"),
    (FastRCNN, {"proposals": torch.zeros(0, 4)}, r"proposals: got shape \(0, 4\)"),
    (FastRCNN, {"regions": [4]}, r"regions: got \[4\], expected 1 to 3 numbers from 0 to 3"),
    (FastRCNN, {"regions": [0, 1, 2, 3]}, r"regions: got \[0, 1, 2, 3\]"),
    (FastRCNN, {"image": torch.rand(3, 64, 96)}, r"image: got shape \(3, 64, 96\)"),
    (FastRCNN, {"large": np.zeros((9, 9, 3))}, "large: got float64"),
]


@pytest.mark.parametrize(("kind", "change", "message"), BAD)
def test_what_does_not_fit_is_refused(kind, change, message):
    with pytest.raises(ValueError, match=message):
        detector_drawing(build(kind), **given(kind) | change)


def test_other_models_and_models_in_training_are_refused():
    with pytest.raises(ValueError, match="model: got Linear, expected SingleObject, RCNN"):
        detector_drawing(nn.Linear(2, 2).eval(), **given(FasterRCNN))
    with pytest.raises(ValueError, match="model: got one in training mode"):
        detector_drawing(build(FasterRCNN).train(), **given(FasterRCNN))


def test_a_map_lies_over_an_image_and_hides_most_where_its_weight_is_largest():
    image, map_ = np.full((32, 32, 3), 255, np.uint8), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    shown = under(image, map_, veil=0.0)
    assert (shown[0, 0] == 255).all()  # no weight, no veil
    red, green, blue = shown[-1, -1].tolist()  # 85 % of viridis' yellow
    assert blue < red
    assert blue < green
    assert (under(image, map_)[0, 0] < 255).any()
    assert (under(image, 0 * map_, veil=0.0) == 255).all()


def test_images_and_maps_are_blocks_of_their_shapes():
    block = picture("street", np.zeros((64, 128, 3), np.uint8), (0, 1), "A street.", "20 × 256", 1.5)
    assert (block.words, block.sides, block.at) == ("20 × 256", (1.5, 0.75), (0, 1))
    assert maps("x", torch.rand(4, 3, 5), (0, 0), "Maps.", label="y").label == "y"
    assert maps("x", torch.rand(3, 5), (0, 0), "A map.").scale is None
