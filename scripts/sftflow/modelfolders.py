"""Hugging Face model folders: which files count, safe copies, weights read without loading."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sftflow.folders import START_SUMS
from sftflow.manifests import SUMS, sha256_file, write_text
from sftflow.remotecode import may_run_code
from sftflow.stage import StageError

# What file systems answer that have no links, or not between each other.
NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
SMALL = (".json", ".jinja", ".model", ".txt")  # .model and .txt: vocabularies of tokenizers
CODE = ".py"
INDEX = "model.safetensors.index.json"
# What decides how text becomes tokens.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
TOKENIZER_SUMS = "TOKENIZER.SHA256SUMS"
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; raise StageError if the file is missing or holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path} is missing; give a complete Hugging Face folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path} can't be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise StageError(f"{path} holds no JSON object")
    return value


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that the model consists of.

    Raises StageError if there are none, if all weights are pickles, or if a shard that the
    index names is missing.
    """
    index = folder / INDEX
    if index.is_file():
        names = _shard_names(index)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing or not names:
            raise StageError(
                f"{folder} lacks {len(missing)} of {len(names)} weight files that {INDEX} names "
                f"({', '.join(missing[:3])}); fetch the model again"
            )
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
    if pickles:
        raise StageError(
            f"{folder} has its weights only as pickle ({', '.join(pickles[:3])}), which can run "
            "code when it is loaded; convert them to safetensors first"
        )
    raise StageError(f"{folder} has no weights: neither model.safetensors nor {INDEX}")


def _shard_names(index: Path) -> list[str]:
    """Return the names of a model's shards; raise StageError for one that leads elsewhere."""
    shards = read_json(index).get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    for name in names:
        if Path(name).name != name:
            raise StageError(
                f"{index} names {name!r}, which is no file of that folder; fetch the model again"
            )
    return names


def check_source(folder: Path) -> None:
    """Raise StageError with what is wrong if ``folder`` is not a model that can be tuned."""
    if not folder.is_dir():
        raise StageError(f"{folder} is not a folder; give the path of a Hugging Face model folder")
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise StageError(f"{folder} is an adapter, not a model; merge it into its base first")
    read_json(folder / "config.json")
    if not (folder / "tokenizer.json").is_file():
        raise StageError(
            f"{folder} has no tokenizer.json; save its tokenizer there once with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    weight_files(folder)


def copy_model(source: Path, folder: Path, code: bool) -> list[str]:
    """Copy the small files of a model and link its weights; return the names left out.

    Left out are pickles and, unless ``code``, Python files; cards, pictures and whatever else no
    loader reads are not even told.
    """
    check_source(source)
    weights = {path.name for path in weight_files(source)}
    taken, left_out = model_parts(source, code)
    for path in taken:
        if path.name in weights:
            link(path.resolve(), folder / path.name)
        else:
            shutil.copyfile(path, folder / path.name)
    return left_out


def model_parts(folder: Path, code: bool) -> tuple[list[Path], list[str]]:
    """Return the files of a folder that make the model, and the names that are left out."""
    try:
        weights = {path.name for path in weight_files(folder)}
    except StageError:  # told when the model is made; until then every file may be one
        weights = {path.name for path in folder.glob("*.safetensors")}
    taken, left_out = [], []
    for path in sorted(folder.iterdir()):
        if path.name in weights or (path.is_file() and _is_wanted(path.name, code)):
            taken.append(path)
        elif path.suffix in (*PICKLES, CODE) and path.name not in weights:
            left_out.append(path.name)
    return taken, left_out


def _is_wanted(name: str, code: bool) -> bool:
    if name in ("manifest.json", INDEX) or name.startswith("."):
        return name == INDEX
    return name.endswith(SMALL) or (code and name.endswith(CODE))


def link(source: Path, target: Path, stays: bool = True) -> None:
    """Hard-link a file; where that can't be, link to one that ``stays`` by name, or copy it.

    Other file systems have no hard links between them, and some have none at all (FAT, SMB, many
    of FUSE's), nor symbolic ones.
    """
    try:
        os.link(source, target)
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    if stays:
        try:
            target.symlink_to(source)
            return
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
    shutil.copyfile(source, target)


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model, read from the files' headers."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="numpy") as file:
                shapes |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise StageError(f"{path} is damaged ({error}); fetch it again") from None
    return shapes


def missing_weights(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the weights that the model's class wants and its files lack, sorted.

    transformers fills such weights with random numbers and says so only in a log. Where the
    files hold other names than the class, it renames them when it loads; then nothing can be
    said from the names, and the list is empty.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    code = may_run_code(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=code)
        with torch.device("meta"):  # shapes without memory
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=code)
    except (ValueError, KeyError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise
        first = str(error).strip().split("\n")[0]
        raise StageError(f"{folder} is no causal language model that loads: {first}") from None
    wanted, present = set(model.state_dict()), set(names)
    if present - wanted:
        return []
    tied = set(model.all_tied_weights_keys)
    return sorted(wanted - present - tied)


def embedding_rows(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> int:
    """Return for how many token ids a model has an embedding."""
    for name, shape in shapes.items():
        if name.endswith(EMBEDDINGS) and "visual" not in name:
            return shape[0]
    return config["vocab_size"]  # named otherwise in this family


def install_template(folder: Path, text: str) -> None:
    """Make ``text`` the one chat template of the model."""
    write_text(folder / "chat_template.jinja", text)
    (folder / "chat_template.json").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    if settings.pop("chat_template", None) is not None:
        write_text(path, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")


def stop_ids(folder: Path, *more: int | None) -> list[int]:
    """Return the ids that end an answer: those of the model's own files and ``more``."""
    ids = {i for i in more if i is not None}
    for name in ("config.json", "generation_config.json"):
        own = read_json(folder / name).get("eos_token_id") if (folder / name).is_file() else None
        ids |= {own} if isinstance(own, int) else set(own or ())
    return sorted(ids)


def write_generation_config(folder: Path, eos: list[int], pad: int) -> None:
    """Write generation_config.json with these ids; other settings of the model stay."""
    path = folder / "generation_config.json"
    settings = read_json(path) if path.is_file() else {}
    settings |= {"eos_token_id": eos, "pad_token_id": pad}
    settings.pop("transformers_version", None)
    write_text(path, json.dumps(settings, indent=1, sort_keys=True) + "\n")


def write_tokenizer_sums(folder: Path) -> None:
    """Write the digests of the tokenizer's files: what templating depends on, and no more."""
    present = [name for name in sorted(TOKENIZER_FILES) if (folder / name).is_file()]
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in present]
    write_text(folder / TOKENIZER_SUMS, "".join(lines))


def write_start_sums(folder: Path) -> None:
    """Write the digests of what a training starts from, as SHA256SUMS has them."""
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.endswith("  chat_template.jinja\n")]
    write_text(folder / START_SUMS, "".join(kept))


def text_digest(text: str) -> str:
    """Return the hex SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
