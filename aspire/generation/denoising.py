"""Learning by denoising: the LightningModule of every personaliser.

Which image is seen at which step, mirrored or not, under which words, at which noise level and
with which noise follows from the seed and the position of the sample alone. A resumed run
therefore sees what an undisturbed one does, and micro-batches of any size what one batch does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aspire.data.images import read_image
from aspire.errors import AspireError
from aspire.generation.diffusion_model import conditions
from aspire.generation.pictures import crop_square
from aspire.rng import seed_for

KEPT = 100  # losses that are kept


@dataclass
class Source:
    """Images in latent space, and what is said about them.

    Args:
        purpose: seeds what is drawn from it.
        mean, std: (N, 2, C, h, w) float32 of each image and its mirror image.
        captions: for each image what may be said about it.
        weight: of its loss.
        flip: probability of the mirror image.
    """

    purpose: str
    mean: Tensor
    std: Tensor
    captions: Sequence[Sequence[str]]
    weight: float = 1.0
    flip: float = 0.5
    _orders: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False)

    def row(self, seed: int, position: int) -> int:
        """The image of a sample: every image once in each round, in random order."""
        turn, place = divmod(position, len(self.mean))
        if (seed, turn) not in self._orders:
            rng = np.random.default_rng(seed_for(seed, self.purpose, "order", turn))
            self._orders[seed, turn] = rng.permutation(len(self.mean))
        return int(self._orders[seed, turn][place])


@dataclass(frozen=True)
class Draw:
    """Samples to learn from: latents (B, C, h, w), their noise, noise levels (B,) and words."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    captions: list[str]

    @classmethod
    def of(cls, source: Source, seed: int, positions: range, levels: int) -> Draw:
        """These samples of a source; each follows from the seed and its position alone."""
        latents, noises, timesteps, captions = [], [], [], []
        for position in positions:
            row = source.row(seed, position)
            rng = np.random.default_rng(seed_for(seed, source.purpose, position))
            side = int(rng.random() < source.flip)
            captions.append(source.captions[row][int(rng.integers(len(source.captions[row])))])
            timesteps.append(int(rng.integers(levels)))
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            spread, noise = torch.randn((2, *source.mean.shape[2:]), generator=generator)
            latents.append(source.mean[row, side] + source.std[row, side] * spread)
            noises.append(noise)
        return cls(torch.stack(latents), torch.stack(noises), torch.tensor(timesteps), captions)


@dataclass(frozen=True)
class Learnt:
    """What a personaliser trains in a pipeline.

    Args:
        parameters: name -> parameter, float32.
        state: gives what is kept of them, as tensors for a safetensors file.
        without: a context in which the pipeline is as if nothing had been learnt.
        frozen: name -> parameter beside which they are learnt; must come out bit-equal.
    """

    parameters: Mapping[str, nn.Parameter]
    state: Callable[[], dict[str, Tensor]]
    without: Callable[[], AbstractContextManager[None]]
    frozen: Mapping[str, Tensor]


class Denoising(pl.LightningModule):
    """Trains what is learnt to tell the noise in images apart from the images.

    Args:
        pipe: frozen but for what is learnt; not part of the checkpoints.
        learnt: what is trained.
        sources: what is learnt from; the losses add up by their weights.
        seed: of everything drawn.
        size: side of the images in pixels.
        micro_batch: samples at once.
        accumulate: micro-batches an optimiser step.
        learning_rate, weight_decay: of AdamW, at a constant rate.
    """

    def __init__(
        self,
        pipe: Any,
        learnt: Learnt,
        sources: Sequence[Source],
        seed: int,
        size: int,
        micro_batch: int,
        accumulate: int,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self._pipe = (pipe,)  # a tuple hides it: its weights are neither kept nor moved
        self.trained = nn.ParameterList(learnt.parameters.values())
        self.learnt = learnt
        self.sources = sources
        self.seed = seed
        self.size = size
        self.micro_batch = micro_batch
        self.accumulate = accumulate
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.losses: list[float] = []
        self._unread: list[tuple[int, Tensor]] = []
        self._micro = 0

    @property
    def pipe(self) -> Any:
        """The pipeline."""
        return self._pipe[0]

    @cached_property
    def schedule(self) -> Any:
        """How much noise there is at each level."""
        from diffusers import DDPMScheduler

        return DDPMScheduler.from_config(self.pipe.scheduler.config)

    @property
    def levels(self) -> int:
        """Number of noise levels."""
        return int(self.schedule.config.num_train_timesteps)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(
            self.trained, lr=self.learning_rate, weight_decay=self.weight_decay
        )

    def train_dataloader(self) -> Any:
        # What a step sees follows from its number; Lightning only wants to count.
        return torch.utils.data.DataLoader(_Counter(), batch_size=None)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        first = (self.global_step * self.accumulate + self._micro) * self.micro_batch
        self._micro = (self._micro + 1) % self.accumulate
        positions = range(first, first + self.micro_batch)
        loss = torch.zeros((), device=self.pipe.unet.device)
        for source in self.sources:
            draw = Draw.of(source, self.seed, positions, self.levels)
            predicted, target = self.predict_noise(draw)
            loss = loss + source.weight * F.mse_loss(predicted, target)
        self.log("personalise/loss", loss.detach())
        self._unread.append((self.global_step, loss.detach()))
        self.read_losses(but=1)  # this one is still being worked out on a GPU
        return loss

    def read_losses(self, but: int = 0) -> None:
        """Take note of the losses so far.

        Args:
            but: leave so many of the last for later.

        Raises:
            AspireError: when one is not a number.
        """
        while len(self._unread) > but:
            step, loss = self._unread.pop(0)
            value = float(loss)
            if not np.isfinite(value):
                raise AspireError(
                    f"The loss became {value} at step {step} of the personalisation. The last "
                    "good checkpoint is kept. Try a smaller personaliser.learning_rate or "
                    "personaliser.precision=float32."
                )
            self.losses.append(value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the last losses too, so that a curve is whole whoever finishes it."""
        checkpoint["losses"] = self.losses[-KEPT:]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses = list(checkpoint.get("losses", []))  # states of old have none

    def predict_noise(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """What the model takes for the noise, and what it should; float32."""
        unet = self.pipe.unet
        latents, noise = draw.latents.to(unet.device), draw.noise.to(unet.device)
        timesteps = draw.timesteps.to(unet.device)
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        told = conditions(self.pipe, draw.captions, self.size)
        predicted = unet(noisy.to(unet.dtype), timesteps, **told, return_dict=False)[0].float()
        kind = self.schedule.config.prediction_type
        if kind == "v_prediction":
            return predicted, self.schedule.get_velocity(latents, noise, timesteps)
        return predicted, {"epsilon": noise, "sample": latents}[kind]

    @torch.no_grad()
    def effect(self, samples: int) -> dict[str, float]:
        """What the learnt parameters do, on samples never trained on.

        Returns:
            ``effect``, the mean change of the prediction relative to its size, and the loss
            ``with`` and ``without`` them.
        """
        change = size = 0.0
        loss = {"with": 0.0, "without": 0.0}
        seed = seed_for(self.seed, "effect")
        for position in range(samples):
            one = range(position, position + 1)
            draw = Draw.of(self.sources[0], seed, one, self.levels)
            after, target = self.predict_noise(draw)
            with self.learnt.without():
                before, _ = self.predict_noise(draw)
            change += float((after - before).abs().mean())
            size += float(before.abs().mean())
            loss["with"] += float(F.mse_loss(after, target)) / samples
            loss["without"] += float(F.mse_loss(before, target)) / samples
        return {"effect": change / max(size, 1e-12), **loss}


class _Counter(torch.utils.data.IterableDataset[int]):
    def __iter__(self) -> Any:
        count = 0
        while True:
            yield count
            count += 1


@torch.no_grad()
def encode(pipe: Any, files: Sequence[Path], size: int) -> tuple[Tensor, Tensor]:
    """Images and their mirror images in latent space, encoded once.

    Returns:
        Mean and standard deviation, (N, 2, C, h, w) float32 on the CPU.
    """
    vae = pipe.vae
    means, stds = [], []
    for file in files:
        pixels = crop_square(read_image(file), size)
        image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
        both = torch.stack([image, image.flip(-1)]).to(vae.device, vae.dtype)
        distribution = vae.encode(both).latent_dist
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        scale = vae.config.scaling_factor
        means.append((distribution.mean.float() - shift).cpu() * scale)
        stds.append(distribution.std.float().cpu() * scale)
    return torch.stack(means), torch.stack(stds)
