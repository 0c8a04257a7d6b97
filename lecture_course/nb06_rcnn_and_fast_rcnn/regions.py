"""What two exercises of notebook 06 ask for: the package's RoI pooling and RoI align, of a single box or point."""

from torch import Tensor

from lecture_utils.detection.roi import roi_align, roi_pool


def pool_region(features: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """RoI pooling of one box, in cells of the map: (c, h, w), (4,) → (c, *size)."""
    return roi_pool(features[None], [box[None]], size)[0]


def sample_at(features: Tensor, x: float, y: float) -> Tensor:
    """RoI align of a box without extent: the map (c, h, w), read at one point. A cell's middle is a whole number."""
    point = features.new_tensor([[x, y, x, y]]) + 0.5  # of corners, not middles
    return roi_align(features[None], [point], 1, sampling_ratio=1, aligned=True)[0, :, 0, 0]
