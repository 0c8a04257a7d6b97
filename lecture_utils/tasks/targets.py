"""Whether there is anything to learn from: a loss falls on empty images, too, as a detector learns to find nothing."""

from torch.utils.data import Dataset, Subset


def require_targets(dataset: Dataset, what: str) -> None:
    """Refuse a training set of which no image has a target: `what`, as "an object" or "a caption"."""
    if dataset is not None and not any(_count(dataset, index) for index in range(len(dataset))):
        raise ValueError(f"dataset: none of its {len(dataset)} images has {what}, so there is nothing to learn from")


def _count(dataset: Dataset, index: int) -> int:
    """How many targets an item has; 1 where nothing tells without decoding it."""
    if isinstance(dataset, Subset):
        return _count(dataset.dataset, dataset.indices[index])
    if hasattr(dataset, "target_count"):
        return dataset.target_count(index)
    wrapped = [dataset.dataset] if hasattr(dataset, "dataset") else []
    return _count(wrapped[0], index) if wrapped else 1
