"""Keys, tokens and passwords in texts, found by the expressions of detect-secrets.

Only its plugins that know a fixed form are used. What those find that go by entropy or by words
such as "password" was no secret in the data that was looked at (docs/data.md has the counts).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module

from sftflow.cleaningstep import Records, Step
from sftflow.masking import Span, screened

# Kind -> module of detect_secrets.plugins, class, and the group that is the secret (0: all).
PLUGINS = {
    "api_key": [
        ("aws", "AWSKeyDetector", 1),
        ("azure_storage_key", "AzureStorageKeyDetector", 0),
        ("discord", "DiscordBotTokenDetector", 0),
        ("github_token", "GitHubTokenDetector", 0),
        ("gitlab_token", "GitLabTokenDetector", 0),
        ("mailchimp", "MailchimpDetector", 0),
        ("npm", "NpmDetector", 1),
        ("openai", "OpenAIDetector", 0),
        ("pypi_token", "PypiTokenDetector", 0),
        ("sendgrid", "SendGridDetector", 0),
        ("slack", "SlackDetector", 0),
        ("square_oauth", "SquareOAuthDetector", 0),
        ("stripe", "StripeDetector", 0),
        ("telegram_token", "TelegramBotTokenDetector", 0),
        ("twilio", "TwilioKeyDetector", 0),
    ],
    "password": [("basic_auth", "BasicAuthDetector", 1)],
}
# detect-secrets knows the first line of a private key and the first parts of a JSON web token;
# what must go is all of them.
PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<what>[A-Z ]*PRIVATE KEY(?: BLOCK)?)-----"
    r"(?:.{1,16384}?-----END (?P=what)-----|(?:\s|\\n|[A-Za-z0-9+/=])*)",
    re.DOTALL,
)
JSON_WEB_TOKEN = re.compile(r"(?<![\w-])(eyJ[\w-]+\.eyJ[\w-]+)\.[\w-]*", re.ASCII)
# Forms younger than detect-secrets 1.5.0, as the vendors document them.
NEWER = re.compile(
    r"(?<![\w-])(?:sk-(?:proj|ant|or|svcacct)-[\w-]{24,200}|sk-[A-Za-z0-9]{48}"
    r"|github_pat_\w{60,100}|hf_[A-Za-z0-9]{34}|AIza[\w-]{35})(?![\w-])",
    re.ASCII,
)
# https://user:<password>@host is a lesson, not a leak.
PLACEHOLDER = re.compile(r"[<{\[%].*|\*+|x+|\.+", re.IGNORECASE)
KINDS = ("private_key", "token", *PLUGINS)


class Finder:
    """Finds secrets of the given kinds in a text."""

    def __init__(self, kinds: Sequence[str]) -> None:
        """Load the plugins that are needed."""
        self.kinds = kinds
        self.forms: list[tuple[str, re.Pattern, int]] = [
            (kind, form, min(group, form.groups))
            for kind in kinds
            for module, name, group in PLUGINS.get(kind, [])
            for form in getattr(import_module(f"detect_secrets.plugins.{module}"), name).denylist
        ]
        if "api_key" in kinds:
            self.forms.append(("api_key", NEWER, 0))

    def __call__(self, text: str) -> Iterator[Span]:
        """Yield secrets, private keys first: they may hold what looks like another one."""
        if "private_key" in self.kinds and "PRIVATE KEY" in text:
            for found in PRIVATE_KEY.finditer(text):
                yield Span(*found.span(), "private_key", found[0])
        if "token" in self.kinds and "eyJ" in text:
            yield from _web_tokens(text)
        for kind, form, group in self.forms:
            for found in form.finditer(text):
                value = found[group]
                if value and not PLACEHOLDER.fullmatch(value):
                    yield Span(*found.span(group), kind, value)


def _web_tokens(text: str) -> Iterator[Span]:
    from detect_secrets.plugins.jwt import JwtTokenDetector

    for found in JSON_WEB_TOKEN.finditer(text):
        if JwtTokenDetector.is_formally_valid(found[1]):
            yield Span(*found.span(), "token", found[0])


def secrets(
    records: Records, step: Step, kinds: Sequence[str] = KINDS, action: str = "mask"
) -> Records:
    """Mask, drop or report secrets of these kinds in all texts, tool calls included."""
    step.packages.add("detect-secrets")
    return screened(records, step, Finder(kinds), action)
