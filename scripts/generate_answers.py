"""Let a served model answer sets of prompts, greedily.

reads   server.json of a running server; the model folder; per set a split of a dataset folder
        (records: the prompt is what stands before the last assistant message, which is the
        reference) or a JSONL file of {"messages": [...]} with optional "id", "tools", "reference"
writes  generations.jsonl: {set, id, messages, reference|null, answer|null, finish_reason,
        prompt_tokens, completion_tokens} in the order of the spec and of each set; tags where
        a row has some; reasoning where an answer begins with thinking, which is not in the answer

Every sampling parameter is sent, so that no default of model or server decides. A prompt that
leaves no room for an answer gets ``answer`` null and finish_reason ``prompt_too_long``. Before the
first answer the server must read some rows of the data as they are trained, token by token.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftflow.chat_templates import ChatTemplate
from sftflow.conversations import template_messages, template_tools
from sftflow.endpoint import ask
from sftflow.jobs import project_path
from sftflow.manifests import write_text
from sftflow.promptrows import file_rows, split_answer
from sftflow.reasoningtags import parted
from sftflow.records import read_rows
from sftflow.seats import seat
from sftflow.servedtokens import check_rows, varied
from sftflow.serving import Server, compare_ids, served
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser

if TYPE_CHECKING:
    import httpx

REQUEST_S = 600.0
TRIES = 3

GREEDY = {
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "n": 1,
    "seed": 0,
}

logger = logging.getLogger("sftflow")


@dataclass(frozen=True)
class Prompt:
    """One thing to ask."""

    set: str
    id: str
    messages: list[dict[str, Any]]  # as chat templates read them
    tools: list[dict[str, Any]] | None
    reference: str | None
    row: Mapping[str, Any] | None = None  # of a dataset, if it ends with an answer
    tags: list[str] | None = None


def set_rows(one: Mapping[str, Any], folders: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Return the rows of one set of the spec."""
    if one["path"] is not None:
        return file_rows(project_path(one["path"]))
    if one["dataset"] not in folders:
        raise StageError(f"set {one['name']}: --datasets has no folder {one['dataset']}")
    return read_rows(folders[one["dataset"]] / f"{one['split']}.parquet")


def prompts_of(one: Mapping[str, Any], folders: Mapping[str, Path]) -> list[Prompt]:
    """Return the first ``limit`` prompts of a set (all if null), with unique ids."""
    prompts, seen = [], Counter()
    for row in islice(set_rows(one, folders), one["limit"]):
        messages, reference = split_answer(row["messages"])
        if not messages:
            raise StageError(f"set {one['name']}: row {row['id']} has no prompt before its answer")
        seen[row["id"]] += 1
        again = "" if seen[row["id"]] == 1 else f".{seen[row['id']]}"
        prompts.append(
            Prompt(
                one["name"],
                f"{row['id']}{again}",
                template_messages(messages),
                template_tools(row.get("tools")),
                row.get("reference") or reference,
                row if reference is not None and one["path"] is None else None,
                row.get("tags") if one["path"] is None else None,
            )
        )
    if not prompts:
        raise StageError(f"set {one['name']} has no rows to answer; take it out of the config")
    return prompts


def request_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as the API wants them: the arguments of a tool call as JSON text.

    Thinking goes under one name only; vLLM (0.32) gives templates both.
    """
    shaped = []
    for message in messages:
        turn = dict(message)
        turn.pop("reasoning_content", None)
        if "tool_calls" in turn:
            turn["tool_calls"] = [
                {**call, "function": _as_text(call["function"])} for call in turn["tool_calls"]
            ]
        shaped.append(turn)
    return shaped


def _as_text(function: Mapping[str, Any]) -> dict[str, Any]:
    arguments = function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {**function, "arguments": text}


def generated(prompt: Prompt, **said: Any) -> dict[str, Any]:
    """Return a row of generations.jsonl."""
    return {
        "set": prompt.set,
        "id": prompt.id,
        "messages": prompt.messages,
        "reference": prompt.reference,
        **({"tags": list(prompt.tags)} if prompt.tags else {}),
        **said,
    }


async def answered(
    client: httpx.AsyncClient, server: Server, prompt: Prompt, max_new_tokens: int
) -> dict[str, Any]:
    """Return the model's answer to one prompt; raise StageError if the server refuses it."""
    ids = server.prompt_ids(prompt.messages, prompt.tools)
    room = server.max_model_len - len(ids)
    if room < 1:
        nothing = {"answer": None, "finish_reason": "prompt_too_long", "completion_tokens": 0}
        return generated(prompt, prompt_tokens=len(ids), **nothing)
    body = {
        "model": server.model,
        "messages": request_messages(prompt.messages),
        "max_tokens": min(max_new_tokens, room),
        "return_token_ids": True,
        **GREEDY,
    }
    if prompt.tools:
        body |= {"tools": prompt.tools, "tool_choice": "none"}  # shown to it, not parsed here
    where = f"set {prompt.set}, row {prompt.id}"
    said = await post(client, f"{server.url}/chat/completions", body, where)
    compare_ids(said["prompt_token_ids"], ids, where)
    choice = said["choices"][0]
    return generated(
        prompt,
        answer=choice["message"]["content"] or "",
        finish_reason=choice["finish_reason"],
        prompt_tokens=said["usage"]["prompt_tokens"],
        completion_tokens=said["usage"]["completion_tokens"],
    )


async def post(client: httpx.AsyncClient, url: str, body: Any, where: str) -> dict[str, Any]:
    """Return the answer to a request; try again only if the connection failed."""
    import httpx

    for left in reversed(range(TRIES)):
        try:
            response = await client.post(url, json=body)
        except httpx.TimeoutException:
            raise StageError(f"{where}: no answer within {REQUEST_S:g} s") from None
        except httpx.TransportError as error:
            if not left:
                raise StageError(f"{where}: no connection to the server ({error!r})") from None
            logger.warning("%s: %r, trying again", where, error)
            await asyncio.sleep(0.5)
            continue
        if response.status_code != 200:
            raise StageError(f"{where}: HTTP {response.status_code}: {response.text[:500]}")
        return response.json()
    raise AssertionError("unreachable")


async def answer_all(server: Server, prompts: Sequence[Prompt], spec: dict) -> list[dict]:
    """Return the rows of all prompts in order, ``concurrency`` requests under way at once."""
    import httpx

    rows: list[dict[str, Any]] = [{} for _ in prompts]
    waiting = iter(enumerate(prompts))
    progress = Progress(len(prompts), "answers")
    concurrency = min(spec["concurrency"], len(prompts))

    async def sender(client: httpx.AsyncClient) -> None:
        for i, prompt in waiting:
            rows[i] = await answered(client, server, prompt, spec["max_new_tokens"])
            progress.add()

    async with httpx.AsyncClient(
        headers=server.headers,
        timeout=httpx.Timeout(REQUEST_S, connect=30),
        limits=httpx.Limits(max_connections=concurrency),
        trust_env=False,  # no proxy: the server is on this machine
    ) as client:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(sender(client))
    return rows


def run(server: Server, prompts: Sequence[Prompt], spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of all prompts; raise the first error of any request."""
    try:
        return asyncio.run(answer_all(server, prompts, spec))
    except* StageError as errors:
        raise errors.exceptions[0] from None


def without_thinking(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the thinking that its answer begins with in a field of its own.

    References have none: an answer is scored by what follows its thinking.
    """
    thought, answer = parted(row["answer"] or "")
    return row if thought is None else {**row, "answer": answer, "reasoning": thought}


def check_tokens(server: Server, template: ChatTemplate, prompts: Sequence[Prompt]) -> None:
    """Raise StageError if the server reads rows of the data otherwise than they are trained."""

    def tokenize(body: dict[str, Any]) -> list[int]:
        body = {"model": server.model, **body}
        try:
            return json.loads(ask(server.endpoint, "/tokenize", body, REQUEST_S))["tokens"]
        except (OSError, ValueError) as error:
            raise StageError(f"vLLM did not tokenise a row of the data: {error}") from None

    rows = varied([prompt.row for prompt in prompts if prompt.row is not None])
    if rows:
        checked = check_rows(template, rows, request_messages, tokenize, compare_ids)
        logger.info("the server reads %d rows as they are trained", checked)


def main(argv: list[str]) -> None:
    """Read the prompts, ask, write."""
    parser = stage_parser(__doc__, "endpoint", "model", "generations")
    parser.add_argument("--datasets", type=Path, nargs="*", default=[], help="dataset folders")
    args = parser.parse_args(argv)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line per request
    folders = {folder.name: folder for folder in args.datasets}
    prompts = [prompt for one in args.spec["sets"] for prompt in prompts_of(one, folders)]
    with seat(args.endpoint), served(args.endpoint, args.model, args.spec["model"]) as server:
        template = ChatTemplate(server.tokenizer, server.model)
        check_tokens(server, template, prompts)
        rows = run(server, prompts, args.spec) if prompts else []
        if template.renders_reasoning:
            rows = [without_thinking(row) for row in rows]
    write_text(
        args.generations, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )
    reasons = Counter((row["set"], row["finish_reason"]) for row in rows)
    said = ", ".join(f"{name} {reason}: {n}" for (name, reason), n in sorted(reasons.items()))
    console().say(f"{len(rows)} answers ({said})")


if __name__ == "__main__":
    run_stage(main)
