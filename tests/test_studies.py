"""The studies that come with the course, and how they are made."""

import json
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch

from lecture_utils import checkpoints, recipes, runtime, studies
from lecture_utils.costs import training_multiply_adds


@pytest.mark.slide("26")
def test_uniform_attention_trains_all_but_the_score():
    """Three steps; only what the uniform weights leave unused stays as it was."""
    torch.manual_seed(0)
    chosen = studies.UNIFORM
    model, loss = chosen.build(), chosen.task.make_loss(None)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=chosen.options.lr)
    batch = None, torch.randn(2, 256, 16, 16), torch.randint(4, 50, (2, 6))
    for _ in range(3):
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
    kept = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name.startswith("score.")}


def test_uniform_weights_are_all_that_differs_from_attention():
    shipped = recipes.RECIPES["show_attend_tell"]
    assert replace(studies.UNIFORM, name=shipped.name, model=None) == shipped
    assert issubclass(studies.UNIFORM.model.func, type(shipped.build()))
    states = (studies.UNIFORM.build().state_dict(), shipped.build().state_dict())
    assert len({tuple((name, value.shape) for name, value in state.items()) for state in states}) == 1


@pytest.mark.parametrize("name", studies.STUDIES)
def test_a_study_holds_a_row_for_each_model_and_seed(name):
    study, stored = studies.STUDIES[name], studies.load(name)
    assert stored["command"] == f"python -m lecture_utils study {name}"
    assert stored["scenes"] >= (200 if study.splits == ("val",) else 480)
    names = [recipes.recipe(model).name for model in study.models]
    rows = [row for row in stored["rows"] if not {"scored_as", "proposals_of"} & set(row)]
    assert [(row["model"], row.get("fraction", 1), row["seed"], row.get("split", "test")) for row in rows] == list(
        product(names, study.fractions, study.seeds, study.splits)
    )
    crossed = {(row["model"], row["scored_as"], row["seed"]) for row in stored["rows"] if "scored_as" in row}
    others = [(a, b, seed) for a in names for b in names for seed in study.seeds if study.crossed and a != b]
    exchanged = [(row["model"], row["proposals_of"], row["seed"]) for row in stored["rows"] if "proposals_of" in row]
    assert sorted(exchanged) == sorted(
        (a, b, seed) for a in names for b in names for seed in study.seeds if study.exchanged and a != b
    )
    assert (crossed, len(stored["rows"])) == (set(others), len(rows) + len(others) + len(exchanged))


@pytest.mark.parametrize("name", studies.STUDIES)
def test_the_shipped_weights_are_one_of_its_seeds(name):
    for row in studies.load(name)["rows"]:
        if row["model"] not in recipes.RECIPES or {"scored_as", "proposals_of", "split"} & set(row):
            continue
        card = checkpoints.card(row["model"])
        if row.get("fraction", 1) == 1 and row["seed"] == card["seed"]:
            assert {key: row[key] for key in card["metrics"]} == card["metrics"]


def test_other_seeds_are_trained_and_scored_as_they_would_be_shipped(monkeypatch, tmp_path):
    """On unseen scenes, and here on as many of those that they learned from; the card has the shipped seed's."""
    trained, scored = [], []

    def train(recipe, run, *, fraction, checkpoint, restart):
        assert fraction == 1
        trained.append((recipe.name, run.seed, checkpoint.parent))
        return recipe.build(), SimpleNamespace(seconds=12.3)

    def evaluate(recipe, model, run, size=None, split="test", first=None):
        scored.append((split, first, all((p.half().float() == p).all() for p in model.parameters())))
        return 500, {"facts": 0.51234, "by class": {"car": 1.0}}

    monkeypatch.setattr(recipes, "train", train)
    monkeypatch.setattr(recipes, "evaluate", evaluate)
    name = "show_attend_tell"
    monkeypatch.setitem(studies.STUDIES, "both", studies.Study((name,), seeds=(0, 1), splits=("test", "train")))
    made = studies.make("both", runs=tmp_path)
    assert trained == [(name, 1, tmp_path)]
    assert scored == [("train", 500, True), ("test", None, True), ("train", 500, True)]
    assert made["rows"][0]["facts"] == checkpoints.card(name)["metrics"]["facts"]
    assert made["rows"][2] == {"model": name, "seed": 1, "seconds": 12, "facts": 0.5123}
    assert made["rows"][3] == {"model": name, "seed": 1, "seconds": 12, "split": "train", "facts": 0.5123}
    json.dumps(made)


def test_shares_are_trained_one_by_one(monkeypatch, tmp_path):
    trained = []

    def train(recipe, run, *, fraction, checkpoint, restart):
        trained.append((recipe.name, fraction, run.seed, checkpoint.name))
        return recipe.build(), SimpleNamespace(seconds=1)

    monkeypatch.setattr(recipes, "train", train)
    monkeypatch.setattr(recipes, "evaluate", lambda *args, **how: (500, {"miou": 0.5}))
    monkeypatch.setitem(studies.STUDIES, "few", studies.Study(("unet",), seeds=(0, 1), fractions=(0.01, 1)))
    rows = studies.make("few", runs=tmp_path)["rows"]
    assert trained == [
        ("unet", 0.01, 0, "unet-0.01-seed0.safetensors"),
        ("unet", 0.01, 1, "unet-0.01-seed1.safetensors"),
        ("unet", 1, 1, "unet-seed1.safetensors"),
    ]
    assert [(row["fraction"], row["seed"]) for row in rows] == [(0.01, 0), (0.01, 1), (1, 0), (1, 1)]


def test_a_study_can_begin_again(monkeypatch, tmp_path):
    seen = []

    def train(recipe, run, *, fraction, checkpoint, restart):
        seen.append((checkpoint.exists(), restart))  # what is there is left to the training to replace
        checkpoint.touch()
        return recipe.build(), SimpleNamespace(seconds=1)

    monkeypatch.setattr(recipes, "train", train)
    monkeypatch.setattr(recipes, "evaluate", lambda *args, **how: (500, {"miou": 0.5}))
    monkeypatch.setitem(studies.STUDIES, "one", studies.Study(("unet",), seeds=(1,)))
    for restart in (False, False, True):
        studies.make("one", runs=tmp_path, restart=restart)
    assert seen == [(False, False), (True, False), (True, True)]


def test_a_study_has_recipes_of_its_own_and_crosses_them(monkeypatch, tmp_path):
    """The weights of each are scored in the other's network too: which rounds boxes, or does not."""
    trained, scored = [], []

    def train(recipe, run, *, fraction, checkpoint, restart):
        trained.append((recipe.name, run.seed, checkpoint.name))
        return recipe.build(), SimpleNamespace(seconds=1)

    def evaluate(recipe, model, run, size=None, split="test"):
        scored.append((recipe.name, model.pooled))
        return 500, {"map": 0.5}

    monkeypatch.setattr(recipes, "train", train)
    monkeypatch.setattr(recipes, "evaluate", evaluate)
    monkeypatch.setitem(studies.STUDIES, "roi", replace(studies.STUDIES["roi"], seeds=(0, 1)))
    rows = studies.make("roi", runs=tmp_path)["rows"]
    align, pool = "fast_rcnn", "fast_rcnn_roi_pool"
    assert [name for name, *_ in trained] == [align, pool, pool]  # the shipped weights are those of seed 0
    assert trained[-1] == (pool, 1, f"{pool}-seed1.safetensors")
    assert {name: pooled for name, pooled in scored} == {align: False, pool: True}
    assert [(row["model"], row["seed"], row.get("scored_as")) for row in rows] == [
        (model, seed, other)
        for model, its in ((align, pool), (pool, align))
        for seed in (0, 1)
        for other in (None, its)
    ]
    assert rows[0]["map"] == checkpoints.card(align)["metrics"]["map"]


def test_detectors_exchange_their_proposals(monkeypatch):
    """Fast R-CNN gets those of the other's RPN, and is scored without a search; the other's head gets searched ones."""
    scored = []

    def evaluate(recipe, model, run, size=None, split="test"):
        scored.append((recipe.name, model))
        return 500, {"map": 0.5}

    monkeypatch.setattr(recipes, "evaluate", evaluate)
    monkeypatch.setitem(studies.STUDIES, "proposals", replace(studies.STUDIES["proposals"], seeds=(0,)))
    rows = studies.make("proposals")["rows"]
    assert [(row["model"], row.get("proposals_of")) for row in rows] == [
        ("fast_rcnn", None), ("faster_rcnn", None), ("fast_rcnn", "faster_rcnn"), ("faster_rcnn", "fast_rcnn"),
    ]  # fmt: skip
    (with_rpn, learned), (with_search, searched) = scored
    assert (with_rpn, with_search) == ("faster_rcnn", "fast_rcnn")
    fast, faster = (recipes.load(name) for name in ("fast_rcnn", "faster_rcnn"))
    images = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        given, _ = faster.rpn(faster.backbone(images), (128, 128))
        pairs = (learned(images), fast(images, given)), (searched(images, given), faster(images))
    for ours, theirs in pairs:
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other)


def test_a_damaged_study_is_named(monkeypatch, tmp_path):
    (tmp_path / "bottleneck.json").write_text('{"rows": [')
    monkeypatch.setattr(runtime, "resource_path", lambda name: tmp_path / "bottleneck.json")
    with pytest.raises(ValueError, match=r"bottleneck\.json is damaged .*python -m lecture_utils study bottleneck"):
        studies.load("bottleneck")


def test_an_unknown_study_is_refused():
    known = ", ".join(studies.STUDIES)
    for use in (studies.make, studies.load):
        with pytest.raises(ValueError, match=f"name: got 'none', expected one of {known}"):
            use("none")


@pytest.mark.slide("26")
def test_one_vector_is_behind_attention_at_every_number_of_things():
    rows = studies.load("bottleneck")["rows"]
    for group in ("1_2", "3_4", "5_more"):
        for metric in ("facts", "bleu_4"):
            of = {
                m: [row[f"{metric}_{group}"] for row in rows if row["model"] == m]
                for m in ("bottleneck_rnn", "show_attend_tell")
            }
            assert max(of["bottleneck_rnn"]) + 0.15 < min(of["show_attend_tell"]), (metric, group)


@pytest.mark.slide("15")
def test_slots_find_more_the_less_order_is_asked_of_them():
    rows = studies.load("slots")["rows"]
    names = ("eight_slots", "slots_left_to_right", "slots_matched")
    annotated, sorted_, matched = ([row["recall"] for row in rows if row["model"] == name] for name in names)
    assert 2 * max(annotated) < min(sorted_) < max(sorted_) < 0.5 * min(matched)
    precision = {name: [row["precision"] for row in rows if row["model"] == name] for name in names}
    assert max(precision["slots_left_to_right"]) < 0.1 < 0.35 < min(precision["slots_matched"])


@pytest.mark.slide("19")
def test_roi_align_leads_and_rules_are_not_exchanged_without_loss():
    best = {}
    for row in studies.load("roi")["rows"]:
        best.setdefault((row["model"], row.get("scored_as", row["model"])), []).append(row["map"])
    align, pool = "fast_rcnn", "fast_rcnn_roi_pool"
    assert min(best[align, align]) > max(best[pool, pool]) + 0.1
    assert max(*best[align, pool], *best[pool, align]) < 0.5 * min(best[pool, pool])


@pytest.mark.slide("14")
def test_a_weight_of_the_box_reaches_its_loss():
    """The study's recipes differ in the loss alone, and build the network of the shipped model."""
    weights = {recipe.name: recipe for recipe in studies.STUDIES["box_weight"].models}
    images, targets = torch.zeros(2, 3, 128, 128), 2 * [{"boxes": torch.ones(1, 4), "labels": torch.tensor([1])}]
    model = weights["box_weight_1"].build()
    losses = [weights[f"box_weight_{w}"].task.make_loss(None)(model, (images, targets)).item() for w in (1, 10, 30)]
    assert losses[2] - losses[0] == pytest.approx(29 / 9 * (losses[1] - losses[0]), rel=1e-3)
    assert {recipe.options.steps for recipe in weights.values()} == {1000}
    built = [str(recipe.build()) for recipe in (*weights.values(), recipes.recipe("single_object"))]
    assert len(set(built)) == 1


@pytest.mark.slide("14")
def test_too_small_a_weight_costs_the_box_and_too_large_a_one_the_class():
    rows = studies.load("box_weight")["rows"]
    accuracy, iou = (
        {w: [row[key] for row in rows if row["model"] == f"box_weight_{w}"] for w in (1, 10, 30, 100)}
        for key in ("accuracy", "box_iou")
    )
    assert studies.by_model("box_weight", "accuracy") == {f"box_weight_{w}": of for w, of in accuracy.items()}
    assert max(iou[1]) + 0.05 < min(iou[10])
    assert max(accuracy[100]) + 0.05 < min(accuracy[10])
    assert max(accuracy[30]) < min(accuracy[10])
    assert min(iou[100]) < min(iou[30])


@pytest.mark.slide("20")
def test_learned_proposals_lead_in_every_seed():
    rows = studies.load("detectors")["rows"]
    for key in ("map", "map_50", "map_75"):
        fast, faster = ([row[key] for row in rows if row["model"] == name] for name in ("fast_rcnn", "faster_rcnn"))
        assert max(fast) + 0.05 < min(faster)


@pytest.mark.slide("32")
def test_resnet_leads_at_equal_compute_and_less_so_with_more_data():
    """What the notebook says of it: the curves approach one another, and with up to 8,000 streets they do not cross."""
    study = studies.STUDIES["vit_against_resnet"]
    rows = studies.load("vit_against_resnet")["rows"]
    leads = []
    for fraction in study.fractions:
        vit, resnet = (
            [row["accuracy"] for row in rows if (row["model"], row["fraction"]) == (model, fraction)]
            for model in study.models
        )
        assert len(vit) == len(resnet) == 3
        assert max(vit) < min(resnet), fraction
        leads.append(sum(resnet) / 3 - sum(vit) / 3)
    assert len(leads) >= 5
    assert leads == sorted(leads, reverse=True)
    assert leads[-1] < leads[0] / 2


def test_positions_are_compared_by_direction():
    row, column = torch.arange(8).view(8, 1), torch.arange(8)
    mirrored = (row - 3.5).abs() * 0 + (column - 3.5).abs()  # of a place: how far from the middle column
    alike = (mirrored.flatten()[:, None] == mirrored.flatten()).float().reshape(8, 8, 8, 8)
    found = studies.alike_in_rows(alike)
    assert found == {"mirrored": 1, "others": 0, "mirrored_inside": 1, "others_inside": 0, "borders": 1}
    border = (column % 7 == 0).float()  # a border unlike the inside looks like mirroring, unless it is left out
    alike = ((column.expand(8, 8) % 7 == 0).flatten()[:, None] == border.bool().repeat(8)).float().reshape(8, 8, 8, 8)
    found = studies.alike_in_rows(alike)
    assert found["mirrored"] == 1 > found["others"]
    assert found["mirrored_inside"] == found["others_inside"] == found["borders"] == 1
    alike = (row.expand(8, 8).flatten()[:, None] == row.expand(8, 8).flatten()).float().reshape(8, 8, 8, 8)
    assert studies.alike_inside(alike) == {"row": 1, "column": 0, "neither": 0}


def test_inside_six_vits_rows_are_alike_and_columns_are_not():
    for row in studies.load("flips")["rows"]:
        assert row["row"] > row["neither"] + 0.2
        assert row["column"] < row["neither"]


@pytest.mark.slide("31")
def test_without_flips_borders_stay_alike_and_half_of_the_mirroring_is_left():
    flips, none = (
        [row for row in studies.load("flips")["rows"] if row["model"] == m] for m in ("vit_flips", "vit_no_flips")
    )
    assert min(row["borders"] for row in none) > 0.6
    gaps = [[row["mirrored_inside"] - row["others_inside"] for row in rows] for rows in (flips, none)]
    assert min(map(min, gaps)) > 0
    assert max(gaps[1]) > min(gaps[0])
    assert 0.4 < sum(gaps[1]) / sum(gaps[0]) < 0.6


def test_a_table_of_ranges_has_a_line_for_each_name():
    rows = [{"model": "a", "map": 0.5}, {"model": "b", "map": 0.25}, {"model": "a", "map": 0.75}]
    head, first, second = studies.ranges(rows, {"map": "mAP"}, name=lambda row: row["model"]).splitlines()
    assert head.split() == ["mean", "(range)", "mAP"]
    assert first.split() == ["a", "0.625", "(0.500", "to", "0.750)"]
    assert second.split() == ["b", "0.250", "(0.250", "to", "0.250)"]


@pytest.mark.slide("37")
def test_generators_of_equal_budgets_have_equal_budgets():
    """Parameters within 3 % of their mean, multiply–adds within 1 %, as many images; the rates are the best on val."""
    rows, rates = (studies.load(name)["rows"] for name in ("generators", "generator_rates"))
    models = {model.name: model for model in studies.STUDIES["generators"].models}
    for stored, images in ((rows, 48_000), (rates, 24_000)):
        assert {row["images"] for row in stored} == {images}
        for key, within in (("parameters", 0.03), ("multiply_adds", 0.01)):
            values = [row[key] for row in stored]
            assert max(values) - min(values) < 2 * within * sum(values) / len(values)
    for name, model in models.items():
        of = {row["model"]: row["frechet"] for row in rates if row["model"].startswith(f"{name}_")}
        assert len(of) == 3
        assert f"{name}_{model.options.lr:g}" == min(of, key=of.get)


def test_a_budget_is_that_of_the_recipe():
    chosen = studies.equal_generator("vae")
    model = chosen.build()
    loss = chosen.task.make_loss(None)
    assert studies._budget(chosen) == {
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": 48_000,
        "multiply_adds": training_multiply_adds(model, loss, image=(3, 32, 32), images=48_000),
    }


def test_the_first_of_a_split_are_scored(monkeypatch):
    """Of a data set that has no `first` of its own, too."""
    task = replace(
        recipes.RECIPES["vae"].task, data=lambda *_, **__: [*range(9)], score=lambda model, data, run: [*data]
    )
    chosen = replace(recipes.RECIPES["vae"], task=task, pixels=None)
    monkeypatch.setattr(recipes.own_data, "require_one_size", lambda *_, **__: None)
    assert recipes.evaluate(chosen, None, runtime.setup(quiet=True), first=4) == (4, [0, 1, 2, 3])
    assert recipes.evaluate(chosen, None, runtime.setup(quiet=True), first=12) == (9, [*range(9)])


@pytest.mark.slide("37")
def test_with_so_little_compute_the_gan_leads_and_diffusion_covers_least():
    """In every seed; the shipped three, trained for longer, come in another order."""
    frechet, recall = (studies.by_model("generators", key) for key in ("frechet", "recall"))
    assert max(frechet["gan_equal"]) + 30 < min(frechet["diffusion_equal"] + frechet["vae_equal"])
    assert max(recall["diffusion_equal"]) + 0.2 < min(recall["gan_equal"] + recall["vae_equal"])
    assert checkpoints.card("diffusion")["metrics"]["frechet"] < checkpoints.card("gan")["metrics"]["frechet"]
