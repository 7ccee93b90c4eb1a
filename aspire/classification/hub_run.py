"""A classifier of the Hugging Face Hub that ``aspire push`` has written."""

from __future__ import annotations

from pathlib import Path

from aspire.classification.predictor import FinishedRun, Probabilities, Request
from aspire.errors import ConfigError
from aspire.hub import Repository
from aspire.values import Positive


class HubRun:
    """``classifier=hub``: a finished run that somebody has pushed, fetched once a commit.

    Its configuration, result and weights are checked as those of any run folder.

    Args:
        repo: ``owner/name``.
        cache: folder that fetched commits are kept in.
        revision: commit, tag or branch; only a commit stays what it is.
        anyway: look for shortcuts though it is no better than guessing.
        max_gb: 10^9 bytes that are fetched at most.
    """

    def __init__(
        self,
        repo: str | None,
        cache: str | Path,
        revision: str = "main",
        anyway: bool = False,
        max_gb: Positive = 5.0,
    ) -> None:
        if not repo:
            raise ConfigError(
                "classifier.repo is not set; expected a classifier of the hub that aspire push "
                "has written: classifier=hub classifier.repo=OWNER/NAME"
            )
        self.repository = Repository(str(repo), "model")
        self.revision = str(revision)
        self.cache = Path(cache)
        self.anyway = anyway
        self.max_gb = max_gb

    def classifier(self, request: Request) -> Probabilities:
        folder = self.repository.bring(self.revision, self.cache, self.max_gb)
        return FinishedRun(str(folder)).classifier(request)
