"""Weights of torchvision: taken where they lie, named where they do not, and never run."""

import pytest
import torch
from torchvision import models

from lecture_utils.downloads import downloaded_file, load_downloaded

WEIGHTS = models.SqueezeNet1_1_Weights.IMAGENET1K_V1  # the smallest


@pytest.fixture
def kept(no_network):
    """Where torch would keep the file."""
    file = downloaded_file(WEIGHTS)
    file.parent.mkdir(parents=True)
    return file


def test_the_file_is_the_one_that_torch_looks_for(kept, tmp_path):
    assert kept == tmp_path / "hub" / "checkpoints" / WEIGHTS.url.rpartition("/")[2]
    twin = models.squeezenet1_1()
    torch.save(twin.state_dict(), kept)
    assert torch.equal(WEIGHTS.get_state_dict(progress=False)["classifier.1.bias"], twin.classifier[1].bias)


def test_a_kept_file_is_loaded(kept):
    torch.manual_seed(0)
    twin, network = models.squeezenet1_1(), models.squeezenet1_1()
    torch.save(twin.state_dict(), kept)
    assert not torch.equal(network.classifier[1].weight, twin.classifier[1].weight)
    load_downloaded(network, WEIGHTS, progress=False)
    for key, value in network.state_dict().items():
        assert torch.equal(value, twin.state_dict()[key])


def test_a_query_behind_the_address_is_no_part_of_the_name(kept):
    class Other:
        url = "https://example.org/models/some-0123abcd.pth?download=1"

    assert downloaded_file(Other).name == "some-0123abcd.pth"


def test_without_a_network_the_file_and_the_address_are_named(kept):
    with pytest.raises(FileNotFoundError) as raised:
        load_downloaded(models.squeezenet1_1(), WEIGHTS)
    for part in (str(kept), WEIGHTS.url, "no route to host", "put it there"):
        assert part in str(raised.value)
    assert not kept.exists()
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"half a download", {"a": torch.ones(2)}, 3, None])
def test_a_damaged_file_is_named_and_left_where_it_is(content, kept):
    if isinstance(content, bytes):
        kept.write_bytes(content)
    else:
        torch.save(content, kept)
    with pytest.raises(ValueError, match=f"{kept.name}: holds no weights for this network .*Delete it") as raised:
        load_downloaded(models.squeezenet1_1(), WEIGHTS)
    assert len(str(raised.value).splitlines()) == 1
    assert kept.exists()


def test_weights_of_another_network_are_refused(kept):
    torch.save(models.squeezenet1_1(num_classes=7).state_dict(), kept)
    with pytest.raises(ValueError, match="leave out the settings that change the network"):
        load_downloaded(models.squeezenet1_1(), WEIGHTS)


def test_a_file_cannot_run_code(kept, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(Evil(), kept)
    with pytest.raises(ValueError, match=kept.name):
        load_downloaded(models.squeezenet1_1(), WEIGHTS)
    assert not (tmp_path / "ran").exists()
