"""What a student can watch: the U-Net after a minute, first on images of half size, scored on unseen scenes."""

import torch

from lecture_utils import recipes, runtime, tasks, training
from lecture_utils.datasets import QUICK_SIZE


def test_a_minute_of_training(benchmark):
    run = runtime.setup(seed=0, quiet=True)
    recipe = recipes.recipe("unet")
    whole = tasks.segmentation_data("train").preload()
    half = tasks.segmentation_data("train", size=QUICK_SIZE // 2).preload()
    loss = tasks.segmentation_loss(tasks.class_weights(whole))
    settings = {"options": recipe.options, "quiet": True}
    torch.manual_seed(run.seed)
    unet = recipe.build()

    def train():
        for data, seconds in ((half, 24), (whole, 36)):
            training.fit(unet, data, loss=loss, run=run, max_seconds=seconds, **settings)

    benchmark.pedantic(train, rounds=1)
    scores = tasks.score_segmentation(unet, tasks.segmentation_data("val"), run)
    benchmark.extra_info |= {"precision": run.precision, "miou": scores["miou"], "miou_thin": scores["miou_thin"]}
    print(f"mIoU {scores['miou']:.3f}, thin classes {scores['miou_thin']:.3f}, in {run.precision}")
    assert scores["miou"] >= 0.75
