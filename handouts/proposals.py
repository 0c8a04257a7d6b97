"""Store Selective Search's proposals for the images that notebooks 05 to 07 search: data/selective_search.npz.

    python handouts/proposals.py

Where OpenCV's contrib modules are missing, as on Colab and Kaggle on some days, `selective_search` takes them from
there. To be run again when the city's scenes change, on a machine with opencv-contrib-python-headless.
"""

import io
import time

import cv2
import numpy as np
from skimage import data

from lecture_utils import checkpoints, runtime, toycity
from lecture_utils.datasets import DETECTION_SIZE, city_instances
from lecture_utils.detection.selective_search import (
    STORE,
    STRATEGIES,
    segmentation_seconds,
    selective_search,
    thumbnail,
)

STREETS = 50  # of the validation scenes, in their order
TRAINING = 128  # training scenes of notebook 06
WAYS = (("fast", 1), ("quality", 1), ("fast", 2))


def main() -> None:
    streets = city_instances("val")
    images = [streets[index][0].permute(1, 2, 0).numpy() for index in range(STREETS)]
    searches = [(index, *way) for index in range(STREETS) for way in WAYS]
    images.append(data.astronaut())
    searches += [(STREETS, strategy, 1) for strategy in STRATEGIES]
    for seed in toycity.seeds("train", TRAINING):
        searches.append((len(images), *WAYS[0]))
        images.append(toycity.render(toycity.sample_scene(seed), DETECTION_SIZE).image)

    cv2.setNumThreads(1)
    boxes, factors = [], []
    for index, strategy, scale in searches:
        start = time.process_time()  # of this process alone, so that a busy machine counts as an idle one
        found = selective_search(images[index], strategy=strategy, scale=scale)
        took = time.process_time() - start
        factors.append(took / segmentation_seconds(images[index], scale, time.process_time))
        boxes.append((found * scale).numpy().astype(np.uint16))  # whole pixels of the searched image
    ways = [way for _, *way in searches]
    typical = [np.median([factor for factor, other in zip(factors, ways, strict=True) if other == way]) for way in ways]
    indices, strategies, scales = zip(*searches, strict=True)
    columns = np.concatenate(boxes).T
    file = io.BytesIO()
    np.savez_compressed(
        file,
        thumbnails=np.stack([thumbnail(image) for image in images]),
        sizes=np.array([image.shape[:2] for image in images], np.uint16),
        images=np.array(indices, np.uint8),
        strategies=np.array([STRATEGIES.index(strategy) for strategy in strategies], np.uint8),
        scales=np.array(scales, np.uint8),
        factors=np.array(typical, np.float32),
        counts=np.array([len(found) for found in boxes], np.int64),
        low=(columns % 256).astype(np.uint8),
        high=(columns // 256).astype(np.uint8),
    )
    path = checkpoints.write(runtime.checkout() / "data" / STORE, file.getvalue())
    print(f"{path.name}: {sum(map(len, boxes)):,} boxes of {len(images)} images, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
