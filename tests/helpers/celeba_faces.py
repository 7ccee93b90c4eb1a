"""CelebA as it is published, with sixteen faces without a face."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

# image -> (Blond_Hair, Male, partition); two images of every group in train
FACES = {
    f"{i + 1:06d}.jpg": face
    for i, face in enumerate(
        [(b, m, 0) for b in (-1, 1) for m in (-1, 1)] * 2
        + [(b, m, p) for p in (1, 2) for b in (-1, 1) for m in (-1, 1)]
    )
}
NAMES = [f"Attr_{i}" for i in range(40)]
NAMES[9], NAMES[20] = "Blond_Hair", "Male"


def values(blond: int, male: int) -> list[int]:
    row = [-1] * 40
    row[9], row[20] = blond, male
    return row


def images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in FACES:
        Image.new("RGB", (178, 218)).save(folder / name)


def write_txt(root: Path) -> Path:
    """Of the authors, as torchvision keeps it: in a folder of its own."""
    images(root / "celeba" / "img_align_celeba")
    lines = [str(len(FACES)), " ".join(NAMES) + " "]
    for name, (b, m, _) in FACES.items():
        lines.append(name + "".join(f"{v:>3}" for v in values(b, m)))
    (root / "celeba" / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    lines = [f"{n} {p}" for n, (_, _, p) in FACES.items()]
    (root / "celeba" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return root
