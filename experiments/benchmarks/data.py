"""Images per second: our loader against the ordinary path, side by side in one run.

The ordinary path is what peers use: PIL opens the file, torchvision transforms (random resized
crop, flip, to tensor, normalise) on PIL images, a DataLoader with two workers. Ours is the pixel
cache, random views cut from uint8 tensors, one normalisation per batch. Both give batches that are
ready for the network; the first pass (which fills caches) is not counted.

    python experiments/benchmarks/data.py ../shared/data/waterpets
    python experiments/benchmarks/data.py --memory 50000     # memory over a generated set
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from aspire.data.datamodule import GroupDataModule
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelSource, open_cache
from aspire.data.table import Split
from aspire.data.transforms import Preprocessing
from aspire.data.waterbirds import Waterbirds
from aspire.memory import keep_freed_memory

ORDINARY, OURS = "ordinary (PIL, 2 workers)", "aspire (pixel cache)"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Ordinary(Dataset):
    def __init__(self, paths, labels, size):
        self.paths, self.labels = paths, labels
        self.transform = T.Compose(
            [
                T.RandomResizedCrop(size, scale=(0.7, 1.0)),
                T.RandomHorizontalFlip(),
                T.ToTensor(),
                T.Normalize(MEAN, STD),
            ]
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), self.labels[index]


def rate(batches, seconds):
    """Images a second over at least ``seconds``, after one whole pass."""
    for _ in batches():
        pass
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for batch in batches():
            done += len(batch[0])
    return done / (time.perf_counter() - start)


def ours(table, size, batch_size, cache, workers):
    preprocessing = Preprocessing(size)
    source = PixelSource(
        preprocessing.stored_side,
        [open_cache(cache, "benchmark", table.paths, preprocessing.stored_side)],
    )
    steps = len(table) // batch_size
    data = GroupDataModule(
        table, [table], preprocessing, batch_size, steps, 0, num_workers=workers, pixels=source
    )
    loader = data.train_dataloader()

    def batches():
        for epoch, batch in enumerate(loader):
            if epoch == 0:
                loader.sampler.set_epoch(loader.sampler.epoch + 1)
            yield (preprocessing.normalise(batch.image), batch.y)

    return batches


def memory():
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def speed(folder, size, batch_size, seconds):
    dataset = Waterbirds(folder).read()
    table = ImageTable.of(dataset, Split.TRAIN)
    peer = DataLoader(
        Ordinary(table.paths, table.y, size),
        batch_size,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
    )
    with tempfile.TemporaryDirectory() as cache:
        candidates = {
            ORDINARY: lambda: iter(peer),
            OURS: ours(table, size, batch_size, Path(cache), 0),
        }
        rounds = [{n: rate(b, seconds) for n, b in candidates.items()} for _ in range(3)]
    print(f"{len(table)} images at {size} px, batches of {batch_size}, {os.cpu_count()} cores")
    for name in candidates:
        print(f"  {name:<28}{np.median([r[name] for r in rounds]):8.0f} images/s")
    ratios = sorted(r[OURS] / r[ORDINARY] for r in rounds)
    print(f"  ratio in three rounds: {', '.join(f'{r:.2f}' for r in ratios)}")


def flat(number, size, batch_size):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = []
        for index in range(number):
            pixels = np.full((size, size, 3), rng.integers(256, size=3), np.uint8)
            paths.append(root / f"{index:06d}.bmp")
            Image.fromarray(pixels).save(paths[-1])
        table = ImageTable(tuple(paths), np.zeros(number, np.int64), np.zeros(number, np.int64))
        batches = ours(table, size, batch_size, root / "cache", 0)
        seen = 0
        for step, batch in enumerate(batches()):
            seen += len(batch[0])
            if step % (number // batch_size // 8) == 0:
                print(f"  after {seen:>6} images: {memory():7.0f} MiB resident")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--memory", type=int, metavar="IMAGES")
    options = parser.parse_args()
    torch.manual_seed(0)
    keep_freed_memory()  # as every verb does; the ordinary path gains from it too
    if options.folder:
        speed(options.folder, options.size, options.batch_size, options.seconds)
    if options.memory:
        flat(options.memory, 64, options.batch_size)
