"""The tokenizer of a model folder, loaded in two ways that must agree.

``load_tokenizer`` takes the class that the folder names: on two cores, the import behind
transformers' AutoTokenizer (models, generation, scikit-learn) costs six seconds in every
process. What AutoTokenizer and so vLLM make of the folder is looked at once, by
``load_as_others_do``, before any stage uses it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sftflow.manifests import write_text
from sftflow.remotecode import may_run_code
from sftflow.stage import StageError

# Digits, white space, marks and contractions: where pre-tokenizers differ.
PROBES = (
    "hello 12",
    "a  b\n\nc\t1234",
    "é e\u0301 😀 ß",
    'don\'t {"k": [1, 2]}',
    "Ready? 12 + 30 = 42, naïve café 😀\n  ok",
    "1 2 3, 10 100 1000.5 -7 i++; x_y == 'z' 订单 12 号",
)
# Names that say nothing: AutoTokenizer goes by the model type then.
GENERIC = ("PreTrainedTokenizer", "PreTrainedTokenizerFast", "PythonBackend", "TokenizersBackend")


def load_tokenizer(folder: Path | str) -> Any:
    """Return the folder's fast tokenizer.

    Raises StageError if the folder has none, or none that cuts text as its file says.
    """
    _check_file(folder)
    named = _named_class(Path(folder))
    if named is not None:
        tokenizer = named.from_pretrained(folder, local_files_only=True)
        if tokenizer.is_fast and difference(tokenizer, folder) is None:
            return tokenizer
    return load_as_others_do(folder)


def load_as_others_do(folder: Path | str) -> Any:
    """Return what AutoTokenizer makes of a folder, after seeing that it is the one in its file.

    transformers puts another pre-tokenizer in place for some model types, and makes an
    empty tokenizer of a folder without tokenizer files; both are silent.
    """
    from transformers import AutoTokenizer

    _check_file(folder)
    code = may_run_code(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=code)
    if not tokenizer.is_fast:
        raise StageError(f"{folder}: the tokenizer is not a fast one; no token offsets, no mask")
    text = difference(tokenizer, folder)
    if text is not None:
        raise StageError(
            f"{folder}: transformers' {type(tokenizer).__name__} cuts {text!r} otherwise than "
            "tokenizer.json does; save the folder again with the tokenizer that AutoTokenizer "
            "loads from it, and train the model on that one"
        )
    return tokenizer


def name_class(folder: Path, tokenizer: Any) -> None:
    """Let tokenizer_config.json name the class that AutoTokenizer has made of the folder.

    For some model types it takes another one than the folder names.
    """
    name = type(tokenizer).__name__
    path = folder / "tokenizer_config.json"
    said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    named = str(said.get("tokenizer_class") or "")
    if named.removesuffix("Fast") != name.removesuffix("Fast") and name not in GENERIC:
        write_text(path, json.dumps(said | {"tokenizer_class": name}, indent=2) + "\n")


def difference(tokenizer: Any, folder: Path | str) -> str | None:
    """Return a text that the tokenizer cuts otherwise than the folder's file does, or None."""
    from tokenizers import Tokenizer

    own = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    for text in PROBES:
        try:
            ids = tokenizer(text, add_special_tokens=False).input_ids
        except Exception:  # tokenizers knows no other: a class that is not this file's
            return text
        if ids != own.encode(text, add_special_tokens=False).ids:
            return text
    return None


def tokenizer_digests(folder: Path | str, tokenizer: Any) -> dict[str, str]:
    """Return sha256 of tokenizer.json and of the chat template's text."""
    data = (Path(folder) / "tokenizer.json").read_bytes()
    template = tokenizer.chat_template or ""
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return {
        "tokenizer_sha256": hashlib.sha256(data).hexdigest(),
        "chat_template_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _check_file(folder: Path | str) -> None:
    if not (Path(folder) / "tokenizer.json").is_file():
        raise StageError(f"{folder} has no tokenizer.json: save the model with a fast tokenizer")


def _named_class(folder: Path) -> Any:
    """Return transformers' own class that tokenizer_config.json names, or None."""
    import transformers

    path = folder / "tokenizer_config.json"
    said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    name = said.get("tokenizer_class") or ""
    if "auto_map" in said or name in GENERIC:
        return None
    return getattr(transformers, name, None)
