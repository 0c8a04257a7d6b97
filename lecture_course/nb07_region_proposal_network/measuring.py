"""What notebook 07 measures on many streets: recall and precision after NMS, recall by kind, AP by size, seconds."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from lecture_utils import training
from lecture_utils.detection import FasterRCNN
from lecture_utils.detection.anchors import grid_anchors
from lecture_utils.detection.boxes import box_iou, decode, encode
from lecture_utils.detection.fast_rcnn import crop_features
from lecture_utils.detection.heads import region_losses
from lecture_utils.detection.rpn import ProposalNetwork
from lecture_utils.detection.scores import CocoScores, ProposalRecall, apply_nms
from lecture_utils.runtime import Runtime
from lecture_utils.toycity import Scene

SIZE = "√area (pixels)"
DETECTORS = {"rcnn": "R-CNN", "fast_rcnn": "Fast R-CNN", "faster_rcnn": "Faster R-CNN"}
OWN = {"fast_rcnn": "searched", "faster_rcnn": "learned"}  # the proposals that a network was trained on


@torch.no_grad()
def detect(model: FasterRCNN, images: Sequence[Tensor], device: str | torch.device) -> list[dict]:
    """The detections of each image (3, h, w), one image at a time, on the CPU."""
    each = (model(image.as_subclass(Tensor)[None].to(device)) for image in images)
    return [{key: values.cpu() for key, values in one.items()} for (one,) in each]


def by_threshold(
    found: Sequence[dict], truths: Sequence[dict], thresholds: Sequence[float], *, score: float = 0.5
) -> dict[str, list[float]]:
    """What is right and wrong after NMS of detections before it (`boxes`, `labels`, `scores` of each street).

    For each IoU threshold the recall, the fraction of objects that a detection of their class covers by half; the
    precision, their number divided by that of the detections; and numbers: the objects lost, those of them that no
    detection covers even before NMS and those that NMS loses, duplicates, and detections that cover no object.
    Detections below `score` do not count.
    """
    sure = [{key: values[one["scores"] >= score] for key, values in one.items()} for one in found]
    objects, before = sum(len(target["boxes"]) for target in truths), found_of(hits(sure, truths))
    columns = []
    for threshold in thresholds:
        kept = apply_nms(sure, iou_threshold=threshold)
        each = hits(kept, truths)
        right, number = found_of(each), sum(len(one["boxes"]) for one in kept)
        covering = [hit.max(0).indices[hit.any(0)] for hit in each if len(hit)]  # the object of each that covers one
        wrong = {"no box before NMS": objects - before, "lost to NMS": before - right}
        wrong |= {"duplicates": sum(len(of) - len(of.unique()) for of in covering)}
        wrong |= {"false positives": number - sum(map(len, covering))}
        shares = {"recall": right / objects, "precision": right / max(1, number), "objects lost": objects - right}
        columns.append(shares | wrong | {"errors in all": sum(wrong.values())})
    return {name: [column[name] for column in columns] for name in columns[0]}


def hits(found: Sequence[dict], truths: Sequence[dict]) -> list[Float[Tensor, "objects boxes"]]:
    """For each street the IoU of each object with each detection, 0 where it is below 0.5 or of another class."""
    each = []
    for one, truth in zip(found, truths, strict=True):
        overlap, same = box_iou(truth["boxes"], one["boxes"]), truth["labels"][:, None] == one["labels"]
        each.append(overlap * (same & (overlap >= 0.5)))
    return each


def found_of(hits: Sequence[Float[Tensor, "objects boxes"]]) -> int:
    """How many objects of all streets are covered."""
    return sum(int(hit.any(1).sum()) for hit in hits)


def beside_others(truths: Sequence[dict], overlap: float = 0.25) -> list[dict]:
    """Of each street only the objects that overlap another of their class by an IoU of `overlap` or more."""
    few = []
    for truth in truths:
        same = truth["labels"][:, None] == truth["labels"]
        mask = ((box_iou(truth["boxes"], truth["boxes"]) >= overlap) & same).sum(1) > 1  # itself is one
        few.append({key: values[mask] for key, values in truth.items()})
    return few


def missed(found: Sequence[dict], truths: Sequence[dict]) -> dict[int, list[int]]:
    """The objects that no detection covers by an IoU of 0.5: street → their indices, if any."""
    pairs = enumerate(zip(found, truths, strict=True))
    hit = {k: (box_iou(truth["boxes"], one["boxes"]) >= 0.5).any(1) for k, (one, truth) in pairs}
    return {k: (~each).nonzero()[:, 0].tolist() for k, each in hit.items() if not each.all()}


def example_street(by_iou: Sequence[Tensor], by_both: Sequence[Tensor], streets: Sequence[Scene]) -> int:
    """The first street by day with three positive anchors or more by their IoU, and as many by the best match alone."""
    for i, (iou, both, street) in enumerate(zip(by_iou, by_both, streets, strict=True)):
        if street.time == "day" and min((iou >= 0).sum(), ((both >= 0) & (iou < 0)).sum()) >= 3:
            return i
    raise ValueError("streets: got none by day with three positive anchors of each kind")


def best_anywhere(truths: Sequence[Float[Tensor, "_ 4"]], shapes: Float[Tensor, "k 4"]) -> Float[Tensor, "objects"]:
    """The best IoU of each object with an anchor of one of the `shapes`, if there is one at every pixel."""
    sides, own = (boxes[:, 2:] - boxes[:, :2] for boxes in (torch.cat(list(truths)), shapes))
    inside = torch.minimum(sides[:, None], own).prod(-1)  # where one lies in the other, as far as it can
    return (inside / (sides.prod(1)[:, None] + own.prod(1) - inside)).amax(1)


def best_overlaps(
    truths: Sequence[Float[Tensor, "_ 4"]], shapes: Float[Tensor, "k 4"], strides: Sequence[int]
) -> dict[int, Float[Tensor, "objects"]]:
    """For each stride the best IoU of each object of streets of 128 × 128 pixels with an anchor; 1 is every pixel."""
    best = {}
    for stride in strides:
        anchors = grid_anchors(shapes, (128 // stride, 128 // stride), stride)
        best[stride] = torch.cat([box_iou(truth, anchors).amax(1) for truth in truths])
    return best | {1: best_anywhere(truths, shapes)}


@torch.no_grad()
def moved_by_deltas(detector: FasterRCNN, scenes: Dataset, device: str | torch.device, *, number: int = 100) -> dict:
    """The mean IoU of anchors with the object that they overlap most, "before" and "after" their deltas.

    Of the anchors that overlap one by half or more, on the first `number` scenes.
    """
    before, after = [], []
    for image, target in (scenes[i] for i in range(number)):
        if len(truth := target["boxes"].as_subclass(Tensor)):
            _, deltas, anchors = detector.rpn.predict(detector.backbone(image.as_subclass(Tensor)[None].to(device)))
            best, nearest = box_iou(truth, anchors.cpu()).max(dim=0)
            near = best >= 0.5
            moved = box_iou(truth, decode(deltas[0], anchors).cpu()[near])
            before.append(best[near])
            after.append(moved.gather(0, nearest[near][None])[0])
    return {"before": torch.cat(before).mean().item(), "after": torch.cat(after).mean().item()}


def sign_test(won: int, lost: int) -> float:
    """The probability that of won + lost fair coins so many or more fall on one side (two-sided)."""
    from scipy.stats import binomtest  # half a second, which only this needs

    return float(binomtest(won, won + lost).pvalue)


def exchanged(rows: Sequence[Mapping], key: str) -> dict[tuple[str, str], list[float]]:
    """Of the study "proposals": (network, kind of proposals) → the `key` of each seed."""
    square = {(DETECTORS[model], kind): [] for model in OWN for kind in OWN.values()}
    for row in rows:
        square[DETECTORS[row["model"]], OWN[row.get("proposals_of", row["model"])]].append(row[key])
    return square


def gains(square: Mapping[tuple[str, str], Sequence[float]]) -> dict[str, float]:
    """What other proposals or another network add to the means of `exchanged`, first, second, and both."""
    first, proposals, network, both = (sum(values) / len(values) for values in square.values())
    return {
        "proposals": proposals - first,
        "network": network - first,
        "then network": both - proposals,
        "then proposals": both - network,
        "both": both - first,
    }


@torch.no_grad()
def proposals(
    detector: FasterRCNN | ProposalNetwork, scenes: Dataset, device: str | torch.device, *, number: int | None = None
) -> list[Float[Tensor, "n 4"]]:
    """The proposals of a detector's RPN, best first, for each of the first scenes, by default of all; on the CPU."""
    network = ProposalNetwork(detector.backbone, detector.rpn)
    images = [scenes[i][0].as_subclass(Tensor) for i in range(number or len(scenes))]
    batches = (torch.stack(images[i : i + 8]).to(device) for i in range(0, len(images), 8))  # all of one size
    return [boxes.cpu() for batch in batches for boxes in network(batch)]


def rpn_losses(model: ProposalNetwork, images: Tensor, targets: list[dict]) -> dict[str, Tensor]:
    """The two losses of an RPN alone: no proposals are made, which no loss needs."""
    return model.rpn.losses(*model.rpn.predict(model.backbone(images)), targets)


def loss_without_deltas(
    anchors: Float[Tensor, "n 4"], truths: Sequence[Float[Tensor, "_ 4"]], matches: Sequence[Tensor], sampled: int
) -> float:
    """The mean loss of the deltas on streets with `truths`, if each were 0; `matches` are those of the anchors (n,)."""
    losses = []
    for truth, match in zip(truths, matches, strict=True):
        wanted = encode(truth[match[match >= 0]], anchors[match >= 0])
        losses.append(F.smooth_l1_loss(wanted, torch.zeros_like(wanted), reduction="sum", beta=1 / 9) / sampled)
    return torch.stack(losses).mean().item()


def losses_in_training(
    model: FasterRCNN | ProposalNetwork,
    examples: Dataset,
    run: Runtime,
    *,
    losses: Callable[..., dict[str, Tensor]] | None = None,
    **settings,
) -> dict[str, list[float]]:
    """Train a detector on the sum of its losses: name of a loss → one number for each step.

    `losses(model, images, targets)` gives them, by default the model itself; `settings` goes to `training.fit`.
    """
    course: dict[str, list[float]] = {}

    def loss(model: FasterRCNN | ProposalNetwork, batch: tuple[Tensor, list[dict]]) -> Tensor:
        each = losses(model, *batch) if losses else model(*batch)
        for name, value in each.items():
            course.setdefault(name, []).append(value.item())
        return sum(each.values())

    training.fit(model, examples, loss=loss, run=run, **settings)
    return course


def four_losses(
    model: FasterRCNN, examples: Dataset, run: Runtime, **settings
) -> tuple[dict[str, list[float]], dict[str, dict[str, float]]]:
    """Train on all four losses: "RPN: objectness", …, "head: class", … → one number for each step; and levels.

    Two more are of the head's positive regions that are proposals, not the objects' own boxes, which join them: what
    fraction they are, and the loss of their deltas per proposal, nan where there is none. The levels are what the best
    constant answer costs the class, and deltas of 0 such a proposal: name → words → mean over all steps.
    """
    near, counts = {"fraction": [], "loss": [], "with deltas of 0": []}, torch.zeros(model.head.num_classes)

    def losses(model: FasterRCNN, images: Tensor, targets: list[dict]) -> dict[str, Tensor]:
        features, size = model.backbone(images), images.shape[-2:]
        proposals, of_rpn = model.rpn(features, size, targets)
        crop = crop_features(features, output_size=model.head.output_size, stride=model.backbone.stride)
        chosen, labels, boxes = model.head.sample_proposals(proposals, targets)
        scores, deltas = model.head.predict(crop(chosen))
        regions, labels, boxes = torch.cat(chosen), torch.cat(labels), torch.cat(boxes)
        positive = labels > 0
        apart = positive & (regions != boxes).any(1)  # an object's own box is its region
        given = regions[apart], labels[apart], boxes[apart]
        for name, moves in (("loss", deltas), ("with deltas of 0", torch.zeros_like(deltas))):
            value = region_losses(scores[apart].detach(), moves[apart].detach(), *given)["box deltas"].item()
            near[name].append(value if apart.any() else float("nan"))
        near["fraction"].append(apart.sum().item() / max(1, positive.sum().item()))
        counts.add_(labels.cpu().bincount(minlength=len(counts)))
        return of_rpn | region_losses(scores, deltas, regions, labels, boxes)

    course = losses_in_training(model, examples, run, losses=losses, **settings)
    parts = ("RPN: ", "RPN: ", "head: ", "head: ")
    named = {part + name: values for part, (name, values) in zip(parts, course.items(), strict=True)}
    named |= {"positives that are proposals": near["fraction"], "head: deltas, per such proposal": near["loss"]}
    constant = torch.distributions.Categorical(counts).entropy().item()
    zero = torch.tensor(near["with deltas of 0"]).nanmean().item()
    levels = {"head: class": {"the best constant answer": constant}}
    return named, levels | {"head: deltas, per such proposal": {"deltas of 0": zero}}


@torch.no_grad()
def proposals_by_threshold(
    detector: FasterRCNN | ProposalNetwork,
    scenes: Dataset,
    thresholds: Sequence[float],
    device: str | torch.device,
    *,
    number: int = 50,
    kept: Sequence[int] = (10, 50, 300),
) -> dict[str, list[float]]:
    """Recall of the best few proposals on the first scenes, for each threshold of the RPN's own NMS."""
    usual, recalls = detector.rpn.nms_threshold, [ProposalRecall(kept) for _ in thresholds]
    try:
        for image, target in (scenes[i] for i in range(min(number, len(scenes)))):
            maps = detector.backbone(image.as_subclass(Tensor)[None].to(device))
            for detector.rpn.nms_threshold, recall in zip(thresholds, recalls, strict=True):
                (proposals,), _ = detector.rpn(maps, tuple(image.shape[-2:]))
                recall.update([proposals.cpu()], [{"boxes": target["boxes"].as_subclass(Tensor)}])
    finally:
        detector.rpn.nms_threshold = usual
    values = [recall.compute() for recall in recalls]
    return {f"the best {n}": [each[n] for each in values] for n in kept}


def covered(truths: Sequence[dict], proposals: Sequence[Float[Tensor, "n 4"]]) -> Bool[Tensor, "objects"]:
    """Which objects of all streets one of the street's proposals covers by an IoU of 0.5."""
    pairs = zip(truths, proposals, strict=True)
    return torch.cat([(box_iou(target["boxes"], boxes) >= 0.5).any(1) for target, boxes in pairs])


def sizes_of(truths: Sequence[dict]) -> dict[str, Bool[Tensor, "objects"]]:
    """Which objects of all streets of 128 × 128 pixels are small, middling, large by √area in pixels: words → mask."""
    return kinds_of(truths)[SIZE]


def kinds_of(truths: Sequence[dict]) -> dict[str, dict[str, Bool[Tensor, "objects"]]]:
    """Which objects of all streets of 128 × 128 pixels are wide or tall, and small or large: panel → kind → mask."""
    boxes = torch.cat([target["boxes"] for target in truths])
    sides = boxes[:, 2:] - boxes[:, :2]
    ratio, side = sides[:, 1] / sides[:, 0], sides.prod(1).sqrt()
    return {
        "shape (height / width)": {
            "wide": ratio < 0.75,
            "square": (ratio >= 0.75) & (ratio <= 1.5),
            "tall": ratio > 1.5,
        },
        SIZE: {"below 8": side < 8, "8 to 16": (side >= 8) & (side < 16), "from 16": side >= 16},
    }


def recall_by_number(
    proposed: Mapping[str, Sequence[Tensor]], truths: Sequence[dict], numbers: Sequence[int]
) -> dict[str, tuple[list[float], list[float]]]:
    """Recall of the first few proposals on the first streets, those of `truths`: method → (numbers, recalls).

    The last number of each method is that of all its proposals, per street.
    """
    lines = {}
    for name, boxes in proposed.items():
        mean, few = sum(map(len, boxes[: len(truths)])) / len(truths), ProposalRecall(numbers)
        few.update(list(boxes[: len(truths)]), list(truths))
        line = {number: recall for number, recall in few.compute().items() if number < mean}
        line[mean] = covered(truths, boxes[: len(truths)]).float().mean().item()
        lines[name] = [*line], [*line.values()]
    return lines


@torch.no_grad()
def map_by_number(
    detector: FasterRCNN, scenes: Dataset, truths: Sequence[dict], numbers: Sequence[int], device: str | torch.device
) -> dict[str, float]:
    """How good the detections of the head are that gets only the first few of the RPN's proposals: "mAP with 10", ….

    On the first scenes, those of `truths`. "mAP with all" is that of all proposals that the RPN's NMS leaves.
    """
    usual, scores = detector.rpn.post_nms_top_n, [CocoScores(scenes.categories) for _ in (*numbers, None)]
    detector.rpn.post_nms_top_n = detector.rpn.pre_nms_top_n
    try:
        for i, target in enumerate(truths):
            image = scenes[i][0].as_subclass(Tensor)[None].to(device)
            features, size = detector.backbone(image), tuple(image.shape[-2:])
            (proposals,), _ = detector.rpn(features, size)
            crop = crop_features(features, output_size=detector.head.output_size, stride=detector.backbone.stride)
            classes, deltas = detector.head.predict(crop([proposals]))  # each region by itself: once for all numbers
            for n, score in zip((*numbers, None), scores, strict=True):
                of = classes[:n], deltas[:n], [proposals[:n]]
                (found,) = detector.head.postprocess_detections(*of, size)
                score.update([{key: values.cpu() for key, values in found.items()}], [target])
    finally:
        detector.rpn.post_nms_top_n = usual
    names = [f"mAP with {n}" for n in (*numbers, "all")]
    return {name: score.compute()["map"] for name, score in zip(names, scores, strict=True)}


def ap_by_size(
    found: Sequence[dict], truths: Sequence[dict], names: Sequence[str], *, scale: float
) -> dict[str, dict[str, tuple[float, int]]]:
    """COCO's AP of each class for each size, and how many objects that are: class → size → (AP, objects).

    `names` are those of the labels, the background first; all boxes are multiplied by `scale`. AP is nan of no object.
    """
    table = {}
    for label, name in enumerate(names[1:], start=1):
        score = CocoScores(names, scale=scale)
        mine, true = (
            [{key: values[one["labels"] == label] for key, values in one.items()} for one in given]
            for given in (found, truths)
        )
        score.update(mine, true)
        of_class = score.compute()
        boxes = scale * torch.cat([one["boxes"] for one in true])
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        sizes = {"small": areas < 32**2, "medium": (areas >= 32**2) & (areas <= 96**2), "large": areas > 96**2}
        table[name] = {size: (of_class[f"map_{size}"], int(mask.sum())) for size, mask in sizes.items()}
    return table
