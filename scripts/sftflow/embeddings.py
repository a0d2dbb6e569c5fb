"""Vectors of texts by a sentence-transformers model from a local folder or the pinned hub."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftflow.embeddingfolders import check_embedding_folder, embedding_files
from sftflow.hub import COMMIT, download
from sftflow.jobs import project_path
from sftflow.manifests import sha256_file, sha256_json
from sftflow.modelfolders import tensor_shapes
from sftflow.stage import StageError, console

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

HUB_CACHE = Path("results/.cache/hub")
PACKAGES = ("sentence-transformers", "torch", "transformers", "tokenizers")
SPARE = 2  # tokens: a cut within a word can make more of them


class Embedder:
    """Texts -> vectors of length 1, on the GPU if there is one."""

    def __init__(self, folder: Path, batch_size: int) -> None:
        """Load the model of ``folder``; raise StageError with what is wrong if it can't be."""
        check_embedding_folder(folder)
        self.sha256 = sha256_json(
            [[name, sha256_file(path)] for name, path in embedding_files(folder).items()]
        )
        self._model = _loaded(folder)
        self._batch_size = batch_size
        self.device = str(self._model.device)
        self.cut = 0  # texts that are longer than the model reads
        self._limit = self._longest_piece()

    def _longest_piece(self) -> int | None:
        """Return how many tokens of text the model reads, None if it reads any number."""
        longest = self._model.max_seq_length
        if longest is None or longest > 1_000_000:  # "no bound", as an int or infinite
            return None
        tokenizer = self._model.tokenizer
        prompt = self._model.prompts.get(self._model.default_prompt_name) or ""
        before = len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) if prompt else 0
        return max(1, int(longest) - tokenizer.num_special_tokens_to_add() - before - SPARE)

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return for each text its vectors (pieces, dimensions), float32: one for each piece.

        A text is one piece unless it is longer than the model reads; then it is cut evenly.
        """
        pieces = self._pieces(texts)
        vectors = self._model.encode(
            [piece for parts in pieces for piece in parts],
            batch_size=self._batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        if not np.isfinite(vectors).all():
            raise StageError(
                "the embedding model gives vectors that are no numbers; choose another"
            )
        self.cut += sum(len(parts) > 1 for parts in pieces)
        ends = np.cumsum([len(parts) for parts in pieces])
        return np.split(vectors.astype(np.float32), ends[:-1])

    def _pieces(self, texts: Sequence[str]) -> list[list[str]]:
        if self._limit is None:
            return [[text] for text in texts]
        found = self._model.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            truncation=False,
            verbose=False,
        )["offset_mapping"]
        return [cut(text, places, self._limit) for text, places in zip(texts, found, strict=True)]


def cut(text: str, tokens: Sequence[tuple[int, int]], limit: int) -> list[str]:
    """Return ``text`` in as few pieces of at most ``limit`` tokens as there must be, even ones.

    ``tokens`` are the places of the text's tokens (begin, end), in characters.
    """
    count = max(1, -(-len(tokens) // limit))
    starts = [tokens[i * len(tokens) // count][0] for i in range(1, count)]
    return [text[begin:end] for begin, end in pairwise([0, *starts, len(text)])]


def model_folder(model: str, revision: str | None) -> Path:
    """Return the folder of a model: a path of the project, or, with ``revision``, a hub id.

    What was fetched once stays in results/.cache/hub and is used without asking the hub.
    """
    if revision is None:
        return project_path(model)
    if not COMMIT.fullmatch(revision):
        raise StageError(f"hub model {model} needs the 40 hex digits of a commit as `revision`")
    cache = HUB_CACHE / model.replace("/", "--")
    whole = cache / f"{revision}.whole"  # a download that was cut off leaves a folder, too
    if whole.is_file():
        return Path(whole.read_text(encoding="utf-8"))
    console().say(f"fetching {model} at {revision[:12]}")
    folder = Path(download(model, revision, False, cache, folders=True))
    whole.write_text(str(folder), encoding="utf-8")
    return folder


def _loaded(folder: Path) -> SentenceTransformer:
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            str(folder),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    except (
        OSError,
        ValueError,
        LookupError,
        ImportError,
        RuntimeError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        first = str(error).strip().split("\n")[0]
        raise StageError(f"{folder} is no embedding model that loads: {first}") from None
    missing = _missing_weights(folder, model.transformers_model)
    if missing:
        raise StageError(
            f"{folder}: {len(missing)} weights are in no file, {missing[0]} among them; they would "
            "be random numbers; fetch the model again"
        )
    return model


def _missing_weights(folder: Path, model: Any) -> list[str]:
    """Return the weights that transformers has filled with random numbers, sorted.

    The pooler of BERT's kin is often left out; token vectors do without. Where the files hold
    other names than the class, nothing can be said from the names (see modelfolders.py).
    """
    if model is None or not (folder / "config.json").is_file():
        return []
    wanted, present = set(model.state_dict()), set(tensor_shapes(folder))
    if present - wanted:
        return []
    return sorted(name for name in wanted - present if not name.startswith("pooler."))
