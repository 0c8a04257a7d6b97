import errno
import json
import os
import stat

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lecture_utils import checkpoints, runtime


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A stand-in for the course's data/checkpoints."""
    monkeypatch.setattr(runtime, "checkout", lambda: tmp_path)
    return tmp_path / "data" / "checkpoints"


def net(channels: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.Conv2d(channels, 2, 1))


# Files


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]),
    st.dictionaries(st.text(), st.floats(allow_nan=False) | st.text() | st.none()),
)
def test_what_is_saved_is_read(tmp_path_factory, shape, kind, metadata):
    path = tmp_path_factory.mktemp("saved") / "a.safetensors"
    tensors = {"a.weight": (torch.rand(shape) * 5).to(kind), "b": torch.tensor(7)}
    checkpoints.save(path, tensors, metadata)
    found, its_metadata = checkpoints.read(path)
    assert its_metadata == metadata
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert safetensors.torch.load_file(path).keys() == tensors.keys()  # the plain format, for any other program


def test_tensors_of_any_layout_are_saved(tmp_path):
    images = torch.rand(2, 3, 4, 5)
    tensors = {"last": images.contiguous(memory_format=torch.channels_last), "turned": images.mT, "tied": images}
    tensors |= {"same": images, "part": images[:, 1], "trained": nn.Parameter(images)}
    found, _ = checkpoints.read(checkpoints.save(tmp_path / "a", tensors, {}))
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].is_contiguous()


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    path = checkpoints.save(tmp_path / "new" / "deep" / "a.safetensors", {"x": torch.ones(1)}, {})
    checkpoints.save(path, {"x": torch.zeros(1)}, {})
    assert os.listdir(path.parent) == ["a.safetensors"]
    assert checkpoints.read(path)[0]["x"] == 0
    if os.name == "posix":  # as readable as any other new file
        (tmp_path / "other").touch()
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_metadata_that_json_cannot_hold_is_refused_before_writing(tmp_path):
    with pytest.raises(TypeError):
        checkpoints.save(tmp_path / "a", {"x": torch.ones(1)}, {"run": object()})
    assert not os.listdir(tmp_path)


def test_no_truncated_and_no_altered_file_is_read(tmp_path):
    whole = checkpoints.save(tmp_path / "a.safetensors", {"x": torch.rand(9), "n": torch.arange(5)}, {"step": 12345})
    data = whole.read_bytes()
    broken = tmp_path / "b.safetensors"
    for length in range(0, len(data), 3):
        broken.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"b\.safetensors is damaged.*; make it again with: make checkpoints"):
            checkpoints.read(broken)
    header = 8 + int.from_bytes(data[:8], "little")
    for at in [*range(header, len(data)), data.index(b"12345")]:
        altered = bytearray(data)
        altered[at] ^= 1
        broken.write_bytes(altered)
        with pytest.raises(ValueError, match="checksum"):
            checkpoints.read(broken)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.safetensors is missing; run it again"):
        checkpoints.read(tmp_path / "a.safetensors", mend="run it again")
    with pytest.raises(FileNotFoundError, match="is missing"):
        checkpoints.read(tmp_path)
    torch.save({"x": torch.ones(1)}, tmp_path / "pickled")
    with pytest.raises(ValueError, match="pickled is damaged or no safetensors file"):
        checkpoints.read(tmp_path / "pickled")


def test_a_safetensors_file_from_elsewhere_is_read_without_metadata(tmp_path):
    safetensors.torch.save_file({"x": torch.ones(2)}, tmp_path / "a", {"format": "pt", "by": "another"})
    tensors, metadata = checkpoints.read(tmp_path / "a")
    assert torch.equal(tensors["x"], torch.ones(2))
    assert metadata == {}


@pytest.mark.parametrize("header", [{"crc32": "0"}, {"metadata": "{}"}, {"metadata": "{}", "crc32": ""}])
def test_a_checksum_and_metadata_come_together(tmp_path, header):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"x": torch.ones(1)}, path, header)
    with pytest.raises(ValueError, match="its checksum does not match"):
        checkpoints.read(path)


@pytest.mark.parametrize("text", ["[1]", "3", "null", "{", '"x"', "[" * 100_000])
def test_metadata_that_is_no_object_is_damage(tmp_path, text):
    tensors = {"x": torch.ones(1)}
    header = {"format": "pt", "metadata": text, "crc32": str(checkpoints._checksum(text, tensors))}
    safetensors.torch.save_file(tensors, tmp_path / "a", header)
    with pytest.raises(ValueError, match=r"a is damaged \(its metadata is no JSON object\); make it again"):
        checkpoints.read(tmp_path / "a")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([1.0, float("nan"), 0, 0]), "0.bias holds numbers that are not finite"),
        (torch.tensor([1.0, float("-inf"), 0, 0]), "0.bias holds numbers that are not finite"),
        (torch.tensor([1.0, 1e300, 0, 0], dtype=torch.float64), "0.bias holds numbers that are not finite"),
        (torch.ones(4, dtype=torch.int64), "0.bias holds whole numbers there and floating-point numbers in the model"),
        (torch.ones(4, dtype=torch.bool), "0.bias holds truth values there and floating-point numbers in the model"),
        (torch.ones(4, dtype=torch.complex64), "0.bias holds complex numbers there and floating-point"),
        (torch.ones(4, 1), r"0.bias is \(4, 1\) there and \(4,\) in the model"),
    ],
)
def test_weights_that_are_no_numbers_of_the_model_are_refused_untouched(tmp_path, value, message):
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoints.save(tmp_path / "a", before | {"0.bias": value}, {})
    with pytest.raises(ValueError, match=message):
        checkpoints.load_state(model, checkpoints.read(tmp_path / "a")[0], "a")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("value", [torch.tensor(7.0), torch.tensor(True), torch.tensor(7j)])
def test_a_counter_stays_a_whole_number(value):
    model = net()
    with pytest.raises(ValueError, match=r"1\.num_batches_tracked holds .* there and whole numbers in the model"):
        checkpoints.load_state(model, model.state_dict() | {"1.num_batches_tracked": value}, "a")


def test_other_precisions_and_masks_with_infinity_are_loaded():
    class Masked(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
            self.register_buffer("seen", torch.tensor(3))

    theirs = Masked()
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        state = {name: x.to(kind) if x.is_floating_point() else x.int() for name, x in theirs.state_dict().items()}
        model = Masked()
        checkpoints.load_state(model, state, "a")
        assert model.weight.dtype == torch.float32
        assert torch.equal(model.weight, theirs.weight.to(kind).float())
        assert model.mask.tolist() == [0, float("-inf")]


# Shipped weights


def test_shipped_weights_come_back_in_float32(folder):
    torch.manual_seed(0)
    model = net()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 6, 7))
        model[1].running_var.copy_(torch.tensor([1e-9, 70_000.0, 1.0, 3e38]))  # what float16 cannot hold
    told = {"command": "make checkpoints", "seed": 0, "metrics": {"miou": 0.5}, "note": "größer"}
    path = checkpoints.ship("unet", model, told)
    assert path == folder / "unet.safetensors"
    assert sorted(os.listdir(folder)) == ["unet.json", "unet.safetensors"]
    assert safetensors.torch.load_file(path)["0.weight"].dtype == torch.float16

    loaded = checkpoints.load_weights(net().to(memory_format=torch.channels_last), "unet")
    for (name, mine), theirs in zip(loaded.state_dict().items(), model.state_dict().values(), strict=True):
        assert mine.dtype == theirs.dtype, name
        expected = theirs.half().float() if name.endswith(("weight", "bias")) else theirs
        assert torch.equal(mine, expected), name
    assert loaded[1].num_batches_tracked == 3
    assert checkpoints.card("unet") == told
    assert json.loads((folder / "unet.json").read_text(encoding="utf-8")) == told


def test_weights_of_another_model_are_refused_untouched(folder):
    checkpoints.ship("unet", net(), {})
    for model, message in [
        (net(5), r"0\.weight is \(4, 3, 3, 3\) there and \(5, 3, 3, 3\) in the model; .* and 4 more"),
        (net()[:2], r"unet\.safetensors does not fit this Sequential: 2\.bias is unknown to the model; 2\.weight"),
        (nn.Sequential(*net(), nn.Linear(2, 2)), "3.weight is missing; 3.bias is missing$"),
    ]:
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            checkpoints.load_weights(model, "unet")
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["", "../unet", "a/b", "unet.safetensors", 3, None])
def test_names_are_plain(name, folder):
    for act in (
        lambda: checkpoints.ship(name, net(), {}),
        lambda: checkpoints.load_weights(net(), name),
        lambda: checkpoints.card(name),
    ):
        with pytest.raises(ValueError, match="name: expected a plain name"):
            act()


def test_bad_weights_and_cards_write_nothing(folder, monkeypatch):
    model = net()
    model[0].weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"finite in float16, got 0\.weight with others"):
        checkpoints.ship("unet", model, {})
    with pytest.raises(ValueError, match=r"at most 6,000,000 bytes in float16, got 6,00\d,\d\d\d"):
        checkpoints.ship("unet", nn.Linear(3000, 1000), {})
    with pytest.raises(ValueError, match="card: expected what JSON can hold"):
        checkpoints.ship("unet", net(), {"run": object()})
    monkeypatch.setattr(runtime, "checkout", lambda: None)
    with pytest.raises(ValueError, match="folder: expected a path"):
        checkpoints.ship("unet", net(), {})
    assert not folder.exists()


def test_a_kill_between_weights_and_card_leaves_no_card_of_other_weights(folder, monkeypatch):
    checkpoints.ship("net", nn.Linear(2, 2), {"metrics": {"miou": 0.1}})

    def killed_after_the_weights(source, target, replace=os.replace):
        if target.suffix == ".json":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_after_the_weights)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.ship("net", nn.Linear(2, 2), {"metrics": {"miou": 0.9}})
    assert os.listdir(folder) == ["net.safetensors"]
    with pytest.raises(FileNotFoundError, match="json is missing"):
        checkpoints.card("net")


@pytest.mark.parametrize("full_at", [1, 2])
def test_a_full_disk_leaves_weights_and_card(folder, monkeypatch, full_at):
    checkpoints.ship("net", nn.Linear(2, 2), {"metrics": {"miou": 0.1}})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"net\.(safetensors|json): cannot be written \(the disk is full: \d+ bytes"):
        checkpoints.ship("net", nn.Linear(2, 2), {"metrics": {"miou": 0.9}})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_another_folder_may_be_named(tmp_path):
    path = checkpoints.ship("big-net_2", nn.Linear(3, 2), {}, folder=tmp_path / "mine")
    assert path == tmp_path / "mine" / "big-net_2.safetensors"
    weights = checkpoints.read(path)[0]["weight"]
    assert np.isfinite(weights.numpy()).all()


def test_missing_and_damaged_shipped_files_say_what_makes_them(folder):
    with pytest.raises(FileNotFoundError, match=r"data/checkpoints/unet\.safetensors is missing; .*make checkpoints"):
        checkpoints.load_weights(net(), "unet")
    with pytest.raises(FileNotFoundError, match=r"unet\.json is missing; .*make checkpoints"):
        checkpoints.card("unet")
    path = checkpoints.ship("unet", net(), {})
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "unet.json").write_text('{"seed":')
    with pytest.raises(ValueError, match=r"unet\.safetensors is damaged .*make checkpoints"):
        checkpoints.load_weights(net(), "unet")
    for text in ('{"seed":', "[]", "3"):
        (folder / "unet.json").write_text(text)
        with pytest.raises(ValueError, match=r"unet\.json is damaged .*make checkpoints"):
            checkpoints.card("unet")


def test_no_bit_of_the_header_turns_unnoticed(tmp_path):
    path = checkpoints.save(
        tmp_path / "net.safetensors", {"a": torch.ones(2, 3), "b": torch.arange(4)}, {"model": "Net"}
    )
    content = path.read_bytes()
    for bit in range(8 * (8 + int.from_bytes(content[:8], "little"))):
        turned = bytearray(content)
        turned[bit // 8] ^= 1 << bit % 8
        path.write_bytes(turned)
        with pytest.raises(ValueError, match=r"net\.safetensors is damaged"):
            checkpoints.read(path)
