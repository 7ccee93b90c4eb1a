"""A training loop that resumes exactly.

What a step sees follows from the seed and the step's number alone, so weights, averages and the
optimiser's state are all there is to keep.
"""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aspire.rng import seed_for

LOG = ("step", "loss", "rate", "seconds")


def rows(seed: int, count: int, step: int, batch: int) -> np.ndarray:
    """(batch,) items of a step: every item once in each round, in random order."""
    positions = np.arange(step * batch, (step + 1) * batch)
    orders = {
        turn: np.random.default_rng(seed_for(seed, "order", int(turn))).permutation(count)
        for turn in np.unique(positions // count)
    }
    return np.array([orders[p // count][p % count] for p in positions])


def generator(seed: int, purpose: str, step: int) -> torch.Generator:
    """All that is random in a step."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, step))


class Loop:
    """Trains modules, averages their weights, keeps both.

    Args:
        folder: of the checkpoint ``state.pt``, the log ``log.csv`` and the sample sheets.
        parts: name -> module, on the device.
        steps: at which training ends.
        rate: learning rate of AdamW after ``warmup`` steps; falls to 0 in the last ``cooldown``.
        slower: name of a part -> share of the rate with which it learns.
        decay: of the averages, once there were enough steps for it.
    """

    def __init__(
        self,
        folder: Path,
        parts: Mapping[str, nn.Module],
        steps: int,
        rate: float,
        warmup: int = 100,
        cooldown: int = 0,
        decay: float = 0.999,
        slower: Mapping[str, float] = {},
    ) -> None:
        self.folder = folder
        self.parts = nn.ModuleDict(parts)
        self.steps = steps
        self.rate = rate
        self.warmup = warmup
        self.cooldown = cooldown
        self.decay = decay
        self.step = 0
        self.stopped = False
        self.weights = list(self.parts.parameters())
        self.averages = [w.detach().clone() for w in self.weights]
        self.shares = [slower.get(name, 1.0) for name in parts]
        groups = [{"params": list(part.parameters())} for part in parts.values()]
        self.optimizer = torch.optim.AdamW(
            groups, rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state.pt").is_file():
            self._load(torch.load(folder / "state.pt", map_location="cpu", weights_only=True))

    def run(
        self,
        loss_of: Callable[[int], Tensor],
        sheet: Callable[[Path], None],
        save_every: float = 180.0,
        log_every: int = 20,
        sheet_every: int = 500,
        stop_at: int | None = None,
    ) -> None:
        """Train until ``steps``, or ``stop_at`` as if killed after a checkpoint.

        Args:
            loss_of: step -> its loss.
            sheet: writes a sheet of samples of the averaged weights to a path.
            save_every: seconds between checkpoints.
            log_every: steps between lines of the log.
            sheet_every: steps between sheets; 0 for none.
            stop_at: a step.
        """
        before = signal.signal(signal.SIGTERM, self._told_to_stop)
        try:
            self._run(loss_of, sheet, save_every, log_every, sheet_every, stop_at)
        finally:
            signal.signal(signal.SIGTERM, before)

    def _run(
        self,
        loss_of: Callable[[int], Tensor],
        sheet: Callable[[Path], None],
        save_every: float,
        log_every: int,
        sheet_every: int,
        stop_at: int | None,
    ) -> None:
        end = min(self.steps, self.steps if stop_at is None else stop_at)
        losses: list[float] = []
        started = saved = logged = time.monotonic()
        first = self.step
        while self.step < end and not self.stopped:
            losses.append(self._train(loss_of))
            now = time.monotonic()
            if self.step % log_every == 0 or self.step == end:
                left = (now - started) / (self.step - first) * (self.steps - self.step)
                pace = (now - logged) / len(losses)
                self._log(float(np.mean(losses)), pace, left / 60)
                losses, logged = [], now
            if now - saved > save_every:
                self.save()
                saved = now
            if sheet_every and self.step % sheet_every == 0:
                with self.averaged():
                    sheet(self.folder / f"sheet-{self.step:06d}.png")
                logged = time.monotonic()
        self.save()

    def _told_to_stop(self, *_: object) -> None:
        self.stopped = True  # after this step, with a checkpoint

    def _train(self, loss_of: Callable[[int], Tensor]) -> float:
        falling = (self.steps - self.step) / self.cooldown if self.cooldown else 1.0
        rate = self.rate * min(1.0, (self.step + 1) / self.warmup, falling)
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            group["lr"] = rate * share
        loss = loss_of(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.decay, self.step / (self.step + 9))
        torch._foreach_lerp_(self.averages, [w.detach() for w in self.weights], 1 - decay)
        return float(loss.detach())

    def _log(self, loss: float, pace: float, minutes_left: float) -> None:
        rate = self.optimizer.param_groups[0]["lr"]
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(LOG)
            writer.writerow((self.step, f"{loss:.5f}", f"{rate:.2e}", f"{pace:.3f}"))
        print(
            f"step {self.step}/{self.steps}  loss {loss:.4f}  {pace:.2f} s/step  "
            f"{minutes_left:.0f} min left",
            flush=True,
        )

    def averaged(self) -> _Averaged:
        """A context in which the parts have their averaged weights."""
        return _Averaged(self)

    def save(self) -> None:
        """Write the checkpoint; it appears complete or not at all."""
        state: dict[str, Any] = {
            "step": self.step,
            "weights": [w.detach() for w in self.weights],
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self.folder / "state.pt.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "state.pt")

    def _load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for key, own in (("weights", self.weights), ("averages", self.averages)):
            for mine, kept in zip(own, state[key], strict=True):
                mine.data.copy_(kept)
        self.optimizer.load_state_dict(state["optimizer"])
        print(f"resumed at step {self.step}", flush=True)


class _Averaged:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop

    def __enter__(self) -> None:
        self._swap()
        self.loop.parts.eval()

    def __exit__(self, *_: object) -> None:
        self._swap()
        self.loop.parts.train()

    def _swap(self) -> None:
        for weight, average in zip(self.loop.weights, self.loop.averages, strict=True):
            weight.data, average.data = average.data, weight.data
