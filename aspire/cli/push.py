"""``aspire push``: the images or the classifier of a finished run, to a hub, with a card."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from omegaconf import DictConfig

from aspire.cli._datasets import read_dataset
from aspire.cli.models import in_words
from aspire.console import console
from aspire.data.export import Export, generated_entries, write_flat
from aspire.data.export_entry import Entry
from aspire.data.generated import GeneratedImages, read_generated
from aspire.data.hub_dataset import About
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.hub import CARD, Kind, Manifest, Repository, State, write_manifest
from aspire.progress import Bars
from aspire.reporting.hub_cards import UNKNOWN, dataset_card, model_card
from aspire.reporting.table import find_runs
from aspire.runs.claims import run_status
from aspire.runs.trained import TrainedRun, load_run
from aspire.stored.artifacts import read_manifest
from aspire.stored.config import OWN, read_config, read_network, read_node
from aspire.stored.decisions import History, decided
from aspire.stored.files import locked, own_file, write_atomic

SHOWN = 8  # files that are listed by name
# Of a training run's result; the rest speaks of this machine or of files that stay here.
OF_A_RESULT = (
    "schema", "key", "dataset", "dataset_digest", "class_names", "attribute_names",
    "group_definition", "group_counts", "baseline", "augmentation", "model", "seed", "needs",
    "selection", "selected_step", "steps", "train_images", "metrics", "weights_sha256", "identity",
    "generated_digest",
)  # fmt: skip


def job(cfg: DictConfig) -> None:
    """Write what would be pushed, show it, and push it once that is wanted."""
    run, licence = Path(str(cfg.run)), str(cfg.licence or "").strip()
    result = load_run(run).result  # of whatever kind
    kind: Kind = "model" if "weights_sha256" in result else "dataset"
    repository = Repository(str(cfg.repo), kind)
    if cfg.public and not licence:
        raise ConfigError(
            "public=true and no licence: say on which terms others may use it, such as "
            "licence=cc-by-4.0, or that it is not decided: licence=unknown"
        )
    if licence.lower() in ("", UNKNOWN):
        licence = UNKNOWN
    if cfg.real and kind == "model":
        raise ConfigError("real=true: a classifier is pushed without any images. Leave it out.")
    folder = Path(cfg.paths.outputs) / "hub" / f"{kind}s--{repository.name.replace('/', '--')}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):  # another push to it waits
        state = _allowed(repository, bool(cfg.public), bool(cfg.overwrite))
        public = state == "public" or (state == "new" and bool(cfg.public))
        manifest = _written(cfg, run, result, repository, licence, folder)
        _show(repository, manifest, folder, licence, state, public=public, real=bool(cfg.real))
        _ask(bool(cfg.yes))
        url, commit = repository.push(folder, public=public, new=state == "new")
    words = "aspire train dataset" if kind == "dataset" else "aspire discover classifier"
    key = words.rpartition(" ")[2]
    console.show(
        "\n[bold]pushed[/bold]  {}\n[bold]next[/bold]    {}=hub {}.repo={} {}.revision={}",
        *(url, words, key, repository.name, key, commit),
    )


def _written(
    cfg: DictConfig,
    run: Path,
    result: Mapping[str, Any],
    repository: Repository,
    licence: str,
    folder: Path,
) -> Manifest:
    """Put what is to be pushed into a folder, whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        if repository.kind == "model":
            manifest = _write_model(repository.name, TrainedRun(run, "hit"), licence, partial)
        else:
            manifest = _write_images(
                repository.name, run, result, licence, partial, real=bool(cfg.real)
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _allowed(repository: Repository, public: bool, overwrite: bool) -> State:
    """What is there, once it is seen that it may be written.

    Raises:
        ConfigError: for a repository that holds something else, or that more people may see.
    """
    state = repository.state()
    if state == "new":
        return state
    if not overwrite:
        raise ConfigError(
            f"repo={repository.name} is there already ({state}). Choose another name, or replace "
            "what an earlier push has put there: overwrite=true"
        )
    if not repository.is_ours():
        raise ConfigError(
            f"repo={repository.name} was not written by aspire push (it has no aspire.json), so "
            "overwrite=true does not replace it. Choose another name."
        )
    if state == "public" and not public:
        raise ConfigError(
            f"repo={repository.name} is public: everybody will see what is pushed. If that is "
            "meant: public=true"
        )
    return state


# --- what is pushed -----------------------------------------------------------------------------


def _write_images(
    repo: str, run: Path, result: Mapping[str, Any], licence: str, folder: Path, *, real: bool
) -> Manifest:
    """Images, ``metadata.csv``, card and manifest of the generated set of ``aspire run``."""
    if not result.get("generation"):
        raise ConfigError(
            f"run={run}: it made no images. Expected the folder of an aspire run with an arm that "
            "generates (outputs/run/NAME), or of a training run for its classifier."
        )
    generated = read_generated(run)
    for file in (f for r in generated.records for f in (r.file, r.mask) if f):
        own_file(generated.folder / file, generated.folder)  # somebody may have sent it
    dataset = result["dataset"]
    if real:
        source = read_dataset(read_node(run, "dataset"))
        generated.check(source)
        entries = list(Export(source, generated).entries())
    else:
        entries = list(generated_entries(generated, dataset["class_names"]))
    with Bars(console).task("images", len(entries)) as advance:
        write_flat(entries, folder, advance)
    read = {k: v for k, v in dataset.items() if k in About.__struct_fields__}
    about = {
        **msgspec.to_builtins(msgspec.convert(read, About)),
        "name": dataset["name"],
        "licence": licence,
        "real": real,
        "counts": _counts(entries),
        "original_licence": _licence_of(run),
        "made": _made(run, result, generated),
    }
    _write_card(folder, dataset_card(repo, about, licence))
    return write_manifest(folder, "dataset", about)


def _counts(entries: Sequence[Entry]) -> dict[str, dict[str, int]]:
    """Split -> group -> images; generated ones by their class."""
    found: dict[str, Counter[str]] = {}
    for entry in entries:
        values = entry.values
        group = f"{values['class']}/{values['attribute'] or 'unknown'}"
        name = f"{values['class']}, generated" if entry.synthetic else group
        found.setdefault(Split(int(values["split"])).name.lower(), Counter())[name] += 1
    return {split: dict(counts) for split, counts in found.items()}


def _made(run: Path, result: Mapping[str, Any], generated: GeneratedImages) -> dict[str, Any]:
    """How the images came about: by class what was avoided, and the digests of all they rest on."""
    seed, made = next(iter(result["generation"].items()))
    names = result["dataset"]["class_names"]
    kept = Counter(r.y for r in generated.records)
    avoided: dict[int, set[str]] = {}
    for record in generated.records:
        avoided.setdefault(record.y, set()).update(generated.avoided_by(record))
    stages = {k: made[k]["digest"] for k in ("personalise", "generate", "filter")}
    discovery = result["discovery"].get(seed, {})
    stages |= {k: discovery[k]["digest"] for k in ("score", "discover") if k in discovery}
    history = result.get("decisions")
    return {
        "dataset": {k: result["dataset"][k] for k in ("name", "digest")},
        "seed": int(seed),
        "classes": [
            {"class": names[y], "avoided": sorted(avoided[y]), "kept": kept[y]}
            for y in sorted(avoided)
        ],
        "kept": len(generated.records),
        "of": generated.made,
        "reasons": made["reasons"],
        "classifier": _classifier(run, discovery),
        "decisions": decided(msgspec.convert(history, History)).digest if history else None,
        "stages": stages,
        "command": " ".join(["aspire run", *_without_places(result.get("overrides", []))]),
    }


def _classifier(run: Path, discovery: Mapping[str, Any]) -> str | None:
    """Digest of the weights that were audited; None where it is not on this machine."""
    if "score" not in discovery:
        return None
    folder = run.resolve().parent.parent / discovery["score"]["folder"]
    identity = read_manifest(folder)["identity"] if folder.is_dir() else {}
    found = identity.get("classifier") if isinstance(identity, dict) else None
    return str(found) if found else None


def _licence_of(run: Path) -> str | None:
    """Of the dataset that a run is about, where ``conf/`` names one."""
    if not (run / "config.yaml").is_file():
        return None
    node = read_config(run).get("dataset")
    named = node.get("licence") if isinstance(node, dict) else None
    return str(named) if named else None


def _write_model(repo: str, run: TrainedRun, licence: str, folder: Path) -> Manifest:
    """A run folder that ``aspire.load_run`` reads, without what speaks of this machine."""
    node = read_config(run.folder).get("model")
    own = isinstance(node, dict) and OWN in node
    result = {k: run.result[k] for k in OF_A_RESULT if k in run.result}
    result["identity"] = _without_paths(result["identity"])
    model = node if own else _without_paths(read_network(run.folder))
    shutil.copyfile(run.check(run.weights), folder / "model.safetensors")
    write_atomic(folder / "config.yaml", yaml.safe_dump({"model": model}).encode())
    write_atomic(folder / "result.json", msgspec.json.format(msgspec.json.encode(result), indent=1))
    typed = str((run_status(run.folder).about or {}).get("command") or "")
    command = " ".join(_without_places(_words(typed)))
    about = {k: result[k] for k in ("dataset", "model", "baseline", "augmentation", "seed")}
    shown = {**result, "own_network": own}
    _write_card(folder, model_card(repo, shown, licence, _other_seeds(run), command))
    return write_manifest(folder, "model", {**about, "licence": licence})


def _other_seeds(run: TrainedRun) -> list[dict[str, Any]]:
    """Results beside a run that differ in their seed alone."""
    same = ("dataset", "dataset_digest", "identity", "augmentation")
    mine = run.result
    found = {
        other["seed"]: other
        for _, other in find_runs(run.folder.resolve().parent)
        if all(other[k] == mine[k] for k in same) and other["seed"] != mine["seed"]
    }
    return list(found.values())


def _write_card(folder: Path, text: str) -> None:
    write_atomic(folder / CARD, text.encode())


def _words(command: str) -> list[str]:
    """The words of a command that ``shlex.join`` has written; none of one that it has not."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _without_places(words: Sequence[str]) -> list[str]:
    """What was typed, without the places of this machine."""
    return [_without_place(w) for w in words]


def _without_place(word: str) -> str:
    if not re.search(r"[/\\]|=[\"']?~", word):
        return shlex.quote(word)
    key, equals, _ = word.partition("=")
    return f"{key}=..." if equals and not re.search(r"[/\\]", key) else "..."


def _without_paths(node: Any) -> Any:
    """Plain values without absolute paths, which are nobody else's business."""
    if isinstance(node, Mapping):
        return {k: _without_paths(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_without_paths(v) for v in node]
    return Path(node).name if isinstance(node, str) and Path(node).is_absolute() else node


# --- asking ---------------------------------------------------------------------------------------


def _show(
    repository: Repository,
    manifest: Manifest,
    folder: Path,
    licence: str,
    state: State,
    *,
    public: bool,
    real: bool,
) -> None:
    card = (folder / CARD).stat().st_size
    seen = "public: everybody can see it" if public else "private: only you and those you let in"
    what = "replaces what is there" if state != "new" else "a new one"
    terms = "unknown: none was named (licence=NAME)" if licence == UNKNOWN else licence
    console.show(
        "[bold]{} {}[/bold]  ({})\n  seen by   {}\n  licence   {}\n  files     {}, {}\n"
        "  card      {}",
        *(repository.kind, repository.name, what, seen, terms, len(manifest.files) + 2),
        *(in_words(manifest.size + card), folder / CARD),
    )
    for name in list(manifest.files)[:SHOWN]:
        console.show("            {}", name)
    if (left := len(manifest.files) - SHOWN) > 0:
        console.show("            and {} more", left)
    if repository.kind == "dataset":
        images = "real images of the dataset AND generated ones" if real else "generated only"
        console.show("  images    {}", images)


def _ask(yes: bool) -> None:
    """Go on only if that is wanted.

    Raises:
        ConfigError: where nobody has said so.
    """
    if yes:
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            answer = input("Push it? [y/N] ")
        except EOFError:  # Ctrl-D
            answer = ""
        if answer.strip().lower() in ("y", "yes"):
            return
        raise ConfigError("Nothing was pushed.")
    raise ConfigError(
        "Nothing was pushed: nobody was asked, for there is no terminal. Look at the card, then "
        "type the same with yes=true"
    )
