"""A diffusers checkpoint: as :class:`Checkpoint`, for a pipeline of several models in folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aspire.language.pretrained import Checkpoint, file_digest
from aspire.pipeline.stage import Json


class PipelineCheckpoint(Checkpoint):
    """A pipeline on the hub, or in a folder as ``save_pretrained`` writes it."""

    def identity(self) -> dict[str, Json]:
        if self.folder is None:
            return super().identity()
        digest = hashlib.sha256()
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            name = path.relative_to(self.folder).as_posix()
            digest.update(f"{name}\0{file_digest(path)}\n".encode())
        return {"model": self.folder.name, "files": digest.hexdigest()}

    @property
    def commit(self) -> str:
        from huggingface_hub import try_to_load_from_cache

        # A pipeline has no config.json of its own, by which Checkpoint finds what is here.
        cached = try_to_load_from_cache(self.model, "model_index.json", revision=self.revision)
        return Path(cached).parent.name if isinstance(cached, str) else super().commit
