"""RandAugment of single views: torchvision's, decided by the view's seed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import RandAugment as Torchvision

from aspire.data.datamodule import GroupDataModule
from aspire.data.image_table import ImageTable
from aspire.data.random_views import RandAugment
from aspire.data.transforms import Preprocessing

SMALL = Preprocessing(size=16, crop=1.0)


def view(seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (3, 16, 16), generator=torch.Generator().manual_seed(seed)).byte()


def test_it_is_torchvision_s_with_the_seed() -> None:
    change = RandAugment(num_ops=2, magnitude=9)
    for seed in range(20):
        torch.manual_seed(seed)
        expected = Torchvision(2, 9)(view())
        assert torch.equal(change(view(), seed), expected), seed


def test_the_seed_alone_decides_and_the_global_generator_is_left_alone() -> None:
    change = RandAugment()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = [change(view(), s) for s in range(30)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = [RandAugment()(view(), s) for s in reversed(range(30))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({a.numpy().tobytes() for a in first}) > 20
    assert {(a.dtype, tuple(a.shape)) for a in first} == {(torch.uint8, (3, 16, 16))}


def test_training_sees_changed_views_and_evaluation_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = tuple(tmp_path / f"{i}.png" for i in range(6))
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    zeros = np.zeros(6, np.int64)
    table = ImageTable(paths, zeros, zeros)

    def batches(change: object, size: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
        data = GroupDataModule(table, [table], SMALL, size, 12 // size, seed=1, change=change)
        train = torch.cat([b.image for b in data.train_dataloader()])
        val = torch.cat([b.image for b in data.val_dataloader()[0]])
        return train, val

    plain, plain_val = batches(None)
    changed, changed_val = batches(RandAugment())
    assert torch.equal(plain_val, changed_val)
    assert not torch.equal(plain, changed)
    assert torch.equal(changed, batches(RandAugment(), size=6)[0])  # whatever the batch
