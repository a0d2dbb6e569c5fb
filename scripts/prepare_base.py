"""Make or copy a start model as a plain Hugging Face folder with its chat template.

reads   nothing (make), a local model folder (path), or what was fetched from the hub (hub);
        the chat template's file, unless the template is the model's own (native)
writes  model/: config.json, *.safetensors, the tokenizer's files, chat_template.jinja,
        generation_config.json, {TOKENIZER,START}.SHA256SUMS, SHA256SUMS, manifest.json

The folder is built beside its place and put there whole, so it is never half there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.chat_templates import CONTROL, PROBE, ChatTemplate
from sftflow.folders import built_beside, check_payloads
from sftflow.jobs import project_path
from sftflow.manifests import read_manifest, sha256_json, write_manifest
from sftflow.modelfolders import (
    TOKENIZER_SUMS,
    copy_model,
    embedding_rows,
    install_template,
    missing_weights,
    read_json,
    stop_ids,
    tensor_shapes,
    write_generation_config,
    write_start_sums,
    write_tokenizer_sums,
)
from sftflow.modelimports import import_models
from sftflow.modeltokenizers import load_as_others_do, name_class, tokenizer_digests
from sftflow.pretraining import make_model
from sftflow.remotecode import check_code, may_run_code
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.templatedefaults import with_defaults
from sftflow.templatelimits import check_template
from sftflow.unreadablemodels import told_if_unreadable

logger = logging.getLogger("sftflow")

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub")
TEMPLATES = Path(__file__).resolve().parents[1] / "config" / "templates"


def template_text(spec: Mapping[str, Any]) -> str | None:
    """Return the chat template that the spec asks for, None for the model's own."""
    name = spec["template"]
    if name == "native":
        return None
    path = project_path(name) if name.endswith(".jinja") else TEMPLATES / f"{name}.jinja"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"bases.{spec['base']}.template: {path} can't be read: {error}") from None


def fill(folder: Path, spec: Mapping[str, Any], fetched: Path | None) -> dict[str, Any]:
    """Put weights, config and tokenizer into ``folder``; return what the manifest says of it."""
    given = [key for key in ("make", "path", "hub") if spec.get(key)]
    if len(given) != 1:
        raise StageError(f"bases.{spec['base']}: give one of make, path and hub, not {given}")
    code = bool(spec.get("trust_remote_code"))
    if given == ["make"]:
        return {"kind": "make", "pretraining": make_model(spec["make"], folder)}
    if given == ["path"]:
        source = project_path(spec["path"])
        return {"kind": "path", "left_out": copy_model(source, folder, code)}
    if fetched is None:
        raise StageError(f"bases.{spec['base']}: {spec['hub']} is not fetched; give --fetched")
    check_payloads(fetched)
    left_out = read_manifest(fetched / "manifest.json")["left_out"]
    return {"kind": "hub", "left_out": left_out + copy_model(fetched, folder, code)}


def install_defaults(folder: Path, values: Mapping[str, Any], name: str) -> None:
    """Write values of variables into the model's chat template."""
    with told_if_unreadable(name, "the tokenizer or config.json"):
        text = load_as_others_do(folder).chat_template
    if not isinstance(text, str):
        raise StageError(
            f"{name}.chat_template_kwargs: the model has no or several chat templates; copy the "
            "one to use into a .jinja file and name that as template"
        )
    for variable in values:
        if not re.search(rf"\b{variable}\b", text):
            console().say(
                f"{name}.chat_template_kwargs: the chat template never asks for '{variable}', so "
                "it has no effect; correct its name or leave it out"
            )
    install_template(folder, with_defaults(text, values))


def checked(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that the manifest states of a model; write generation_config.json.

    Raises StageError if tokenizer, embeddings, template and end-of-turn do not fit together.
    """
    name = f"bases.{spec['base']}"
    with told_if_unreadable(name, "the tokenizer or config.json"):
        if may_run_code(folder):
            check_code(folder, name)
        tokenizer = load_as_others_do(folder)
        name_class(folder, tokenizer)
    text = str(tokenizer.chat_template or "")
    check_template(text, lambda: ChatTemplate(tokenizer, name), name)
    template = ChatTemplate(tokenizer, name)  # refuses a template that no model could learn
    shapes = tensor_shapes(folder)
    with told_if_unreadable(name, "config.json"):
        missing = missing_weights(folder, shapes)
    if missing:
        raise StageError(
            f"{name}: {len(missing)} weights are in no file, {missing[0]} among them; they would "
            "be random numbers; fetch the model again"
        )
    with told_if_unreadable(name, "config.json"):
        rows = embedding_rows(shapes, read_json(folder / "config.json"))
    if len(tokenizer) > rows:
        raise StageError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}; "
            "tokenizer and model do not belong together"
        )
    if tokenizer.eos_token_id is None:
        raise StageError(f"{name}: the tokenizer has no eos token; set eos_token in its config")
    end_of_turn = template.control[template.end_of_turn]
    # Without a pad token of its own, padding is told from text by its position only.
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    with told_if_unreadable(name, "eos_token_id of config.json or generation_config.json"):
        eos = stop_ids(folder, end_of_turn, tokenizer.eos_token_id)
    check_stops(template, eos)
    write_generation_config(folder, eos, pad)
    return {
        "parameters": sum(_size(shape) for shape in shapes.values()),
        "tokens": len(tokenizer),
        "embedding_rows": rows,
        "end_of_turn": template.end_of_turn,
        "eos_token_ids": eos,
        "pad_token_id": pad,
        "pad_is_eos": pad in (end_of_turn, tokenizer.eos_token_id),
        "sample": template.render(PROBE, None),
        "notes": template.notes,
        **tokenizer_digests(folder, tokenizer),
    }


def check_stops(template: ChatTemplate, eos: Sequence[int]) -> None:
    """Raise StageError if an id at which answers end is a token of ordinary text.

    vLLM stops at each eos_token_id of a model's own files, also where it takes no sampling setting
    from them, and says that the answer ended by itself.
    """
    known = range(len(template.tokenizer))  # leftovers of other vocabularies end nothing
    for token in sorted(set(eos).intersection(known) - template.control_ids):
        text = template.tokenizer.decode([token])
        if CONTROL.match(text):
            continue
        raise StageError(
            f"{template.name}: eos_token_id of generation_config.json or config.json names "
            f"token {token}, which is ordinary text ({text!r}): a server would end answers at it; "
            "take it out there (of a hub model in a copy, given as path)"
        )


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec without places: they say where the model was, not what it is."""
    places = {"path"} | ({"template"} if spec["template"].endswith(".jinja") else set())
    return {key: value for key, value in spec.items() if key not in places}


def write_books(folder: Path, spec: Mapping[str, Any], source: dict, facts: dict) -> None:
    """Write the sums of parts, and sums and manifest of all files."""
    write_tokenizer_sums(folder)
    payloads = [p for p in folder.iterdir() if p.name != TOKENIZER_SUMS]
    write_manifest(
        folder / "manifest.json",
        stage="prepare_base",
        spec=settings(spec),
        payloads=payloads,
        counts={key: facts.pop(key) for key in ("parameters", "tokens", "embedding_rows")},
        packages=PACKAGES,
        source=source,
        settings_sha256=sha256_json(settings(spec)),
        **facts,
    )
    write_start_sums(folder)


def main(argv: list[str] | None = None) -> None:
    """Build the folder, look at it closely, vouch for it, put it in its place."""
    parser = stage_parser(__doc__, "model", "manifest")
    parser.add_argument("--fetched", type=Path, help="folder of a model of the hub")
    args = parser.parse_args(argv)
    spec = args.spec
    template = template_text(spec)
    import_models()
    with built_beside(args.model) as folder:
        source = fill(folder, spec, args.fetched)
        if template is not None:
            install_template(folder, template)
        if spec.get("chat_template_kwargs"):
            install_defaults(folder, spec["chat_template_kwargs"], f"bases.{spec['base']}")
        facts = checked(folder, spec)
        for note in facts.pop("notes"):
            console().say(f"look at this: {note}")
        if facts["pad_is_eos"]:
            logger.warning("the pad token is also an eos token; padding is masked by position")
        console().say(
            f"{spec['base']}: {facts['parameters']:,} parameters, {facts['tokens']:,} tokens, "
            f"turns end with {facts['end_of_turn']}"
        )
        write_books(folder, spec, source, facts)


if __name__ == "__main__":
    run_stage(main)
