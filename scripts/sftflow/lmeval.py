"""What lm-eval needs to measure a served model soundly: its model, its tasks, its metrics.

Imports lm_eval at once, so import this module only where it is used.

The model is lm-eval's own ``local-completions`` with what it leaves open pinned down: token
ids go to the server, never text; nothing is cut to fit; a missing answer is an error and not
an empty answer; whatever the server says it saw must be what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import BaseLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval import utils as lm_eval_utils
from lm_eval.api.registry import metric_registry, register_metric
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.openai_completions import LocalCompletionsAPI

from sftflow.benchmark import boundary_shares
from sftflow.matching import is_json, parsed_json, right_share, same_number
from sftflow.serving import Server
from sftflow.stage import Progress, StageError

CONCURRENCY = 8
SEED = 1234  # lm-eval's own
# Sent with every request, so that no default of the server or the model folder counts.
GREEDY = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0}


class Answer(str):
    """A generated text that knows why it ended."""

    finish_reason: str | None

    def __new__(cls, text: str, finish_reason: str | None = None) -> Answer:
        """Return the text with its finish reason."""
        answer = super().__new__(cls, text)
        answer.finish_reason = finish_reason
        return answer


class ServedModel(LocalCompletionsAPI):
    """A model behind sftflow's server, asked by token ids."""

    def __init__(self, server: Server, chat: bool, least_share: float) -> None:
        """Take address, limits and tokenizer from the server.

        ``least_share``: of the choices must be cut from their question where a token ends.
        """
        tokenizer = server.tokenizer
        # A chat template brings its own BOS; plain text gets one where the tokenizer adds it.
        begins = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [
            tokenizer.bos_token_id
        ]
        super().__init__(
            model=server.model,
            base_url=f"{server.url}/completions",
            tokenizer_backend="none",
            num_concurrent=CONCURRENCY,
            max_length=server.max_model_len,
            add_bos_token=begins and not chat,
            eos_string=tokenizer.eos_token,
            header=server.headers,
            seed=SEED,
        )
        # lm-eval would load it once more, by AutoTokenizer and the imports behind that.
        self.tokenizer, self.tokenizer_backend = tokenizer, "huggingface"
        self.tokenized_requests = True
        self.boundary_shares: dict[str, float] = {}
        self._sent: set[tuple[int, ...]] = set()
        self._done = Progress(0, "requests")
        self._least_share = least_share

    def _create_payload(self, messages: Any, generate: bool = False, **kwargs: Any) -> dict:
        self._sent.update(map(tuple, messages))
        kwargs.setdefault("eos", self.eos_string)
        payload = super()._create_payload(messages, generate=generate, **kwargs)
        # Two tokens can have one text (halves of a character): keyed by text, the top
        # log-probabilities would lose one of them.
        return {
            **GREEDY,
            **payload,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }

    def parse_generations(self, outputs: Any, **_: Any) -> list[str]:
        """Return the answers of one response; raise StageError if one is missing."""
        choices = sorted(outputs["choices"], key=lambda choice: choice["index"])
        for choice in choices:
            if choice["text"] is None or choice["finish_reason"] not in ("stop", "length"):
                raise StageError(f"vLLM did not answer: {choice['finish_reason']}")
            if tuple(choice["prompt_token_ids"]) not in self._sent:
                raise StageError("vLLM answered a prompt that was not sent")
        self._done.add(len(choices))
        return [Answer(choice["text"], choice["finish_reason"]) for choice in choices]

    def parse_logprobs(
        self, outputs: Any, tokens: Any = None, ctxlens: Any = None, **_: Any
    ) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each continuation and whether it is the greedy one."""
        choices = sorted(outputs["choices"], key=lambda choice: choice["index"])
        for choice, ids in zip(choices, tokens, strict=True):
            if len(choice["logprobs"]["token_logprobs"]) != len(ids) + 1:
                raise StageError("vLLM gave log-probabilities for another number of tokens")
            seen = choice.get("prompt_token_ids")
            if seen != list(ids):
                raise StageError("vLLM gave log-probabilities for another prompt")
        self._done.add(len(choices))
        return LocalCompletionsAPI.parse_logprobs(outputs, tokens=tokens, ctxlens=ctxlens)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> Any:
        """Return log-likelihoods, after a look at where contexts and continuations meet."""
        pairs = ((request.task_name, *request.args) for request in requests if request.args[0])
        self.boundary_shares = boundary_shares(
            pairs, lambda text: self.tokenizer(text, add_special_tokens=False).input_ids
        )
        for task, share in self.boundary_shares.items():
            if share < self._least_share:
                raise StageError(
                    f"task {task}: for {1 - share:.0%} of the choices a token reaches over the "
                    "boundary of question and choice; change target_delimiter, gen_prefix or "
                    "doc_to_choice"
                )
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def batch_loglikelihood_requests(self, chunks: Any) -> Any:
        """Check the token ids of each request before lm-eval would cut them."""
        chunks = [list(chunk) for chunk in chunks]
        self._check([context + answer for chunk in chunks for _, context, answer in chunk], 0)
        return super().batch_loglikelihood_requests(chunks)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer prompts that fit, whole, beside their answers."""
        longest: dict[int, list[str]] = {}
        for request in requests:
            prompt, settings = request.args
            room = settings.get("max_tokens", settings.get("max_gen_toks", self._max_gen_toks))
            longest.setdefault(int(room), []).append(prompt)
        for room, prompts in longest.items():
            self._check(self.tok_encode(prompts, add_special_tokens=self.add_bos_token), room)
        return super().generate_until(requests, disable_tqdm=disable_tqdm)

    def _check(self, prompts: Sequence[Sequence[int]], room: int) -> None:
        """Raise StageError unless every prompt fits with its answer and has one BOS at most."""
        fits = self.max_length - room
        over = [len(ids) for ids in prompts if len(ids) > fits]
        if over:
            raise StageError(
                f"{len(over)} of {len(prompts)} prompts have up to {max(over)} tokens and would be "
                f"cut to {fits} (served length {self.max_length + 1}, answers of {room}); raise "
                "serve.max_model_len, take fewer examples or a smaller max_gen_toks"
            )
        bos = self.tokenizer.bos_token_id
        if bos is not None and any(list(ids[:2]) == [bos, bos] for ids in prompts):
            raise StageError("prompts begin with two BOS tokens; the chat template brings one too")
        self._done = Progress(len(prompts), "requests")


class ConversationTask(ConfigurableTask):
    """A task from YAML that can put a conversation's earlier turns before the question.

    ``metadata.history`` names the column with the messages. All that stands before the last
    user turn, but for system messages (``description`` is for those), then precedes it.
    """

    def fewshot_context(self, doc: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Return the prompt, in the chat template if there is one."""
        column = (self.config.metadata or {}).get("history")
        turns = earlier_turns(doc[column]) if column else []
        template = kwargs.get("chat_template")
        if not turns:
            return super().fewshot_context(doc, *args, **kwargs)
        if template is None:
            said = "".join(turn["content"] + self.config.fewshot_delimiter for turn in turns)
            return said + super().fewshot_context(doc, *args, **kwargs)

        def with_turns(messages: list[dict[str, str]], **more: Any) -> Any:
            last = max(i for i, m in enumerate(messages) if m["role"] == "user")
            return template([*messages[:last], *turns, *messages[last:]], **more)

        return super().fewshot_context(doc, *args, **{**kwargs, "chat_template": with_turns})


def earlier_turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return role and content of what stands before the last user turn, system left out."""
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=0)
    return [
        {"role": m["role"], "content": m["content"]}
        for m in messages[:last]
        if m["role"] != "system"
    ]


def _metric(name: str, compare: Callable[[str, str], float | None]) -> Callable[..., float]:
    """Return a comparison of answer and reference in the form that lm-eval calls: lists of one."""

    def metric(references: Sequence[str], predictions: Sequence[str], **_: Any) -> float:
        score = compare(predictions[0], references[0])
        if score is None:
            raise StageError(f"{name} does not suit this reference: {references[0][:80]!r}")
        return float(score)

    return metric


METRICS: dict[str, Callable[[str, str], float | None]] = {
    "json_valid": lambda answer, _: is_json(answer),
    "json_fields": right_share,
    "numeric_answer": same_number,
}


def prepare() -> list[str]:
    """Register our metrics, put Jinja in a sandbox; return the names of all metrics."""
    for name, compare in METRICS.items():
        if name not in metric_registry:
            register_metric(
                metric=name,
                higher_is_better=True,
                output_type="generate_until",
                aggregation="mean",
            )(_metric(name, compare))
    # Task files are data from somewhere: in lm-eval's plain environment, a template can reach
    # Python's internals.
    sandbox = ImmutableSandboxedEnvironment(
        loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True
    )
    sandbox.filters |= {**lm_eval_utils.env.filters, "from_json": parsed_json}
    lm_eval_utils.env = sandbox
    return list(metric_registry.keys())
