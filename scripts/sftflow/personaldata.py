"""E-mail addresses, phone, card and account numbers, IP addresses: found by form and check digits.

Names and postal addresses need a model of the language and are not looked for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from sftflow.cleaningstep import Records, Step
from sftflow.masking import Span, screened
from sftflow.stage import StageError

EMAIL = re.compile(
    r"(?<![\w.%+-])[A-Za-z0-9][\w.%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}(?![\w@])",
    re.ASCII,
)
# Issuers' first digits (ISO/IEC 7812) and the ways in which cards are printed, so that not one
# in ten of any long numbers passes.
CARD = re.compile(
    r"(?<![\w.,-])(?=3|4|5|6|2[2-7])"
    r"(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5})(?![\w-]|[.,]\d)",
    re.ASCII,
)
# Ahead, so that one that follows another is seen too: where the first ends only its country says.
IBAN = re.compile(r"(?<!\w)(?=([A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}))", re.ASCII)
# "version 1.2.3.4" and "v1.2.3.4" are no addresses.
IPV4 = re.compile(r"(?<![\w.])(?<!version )(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,7}(?![\w:])", re.ASCII)
SEVEN_DIGITS = r"\d(?:[\s().\-/]{0,3}\d){6}"
MAYBE_PHONE = re.compile(SEVEN_DIGITS)
MAYBE_ABROAD = re.compile(rf"[+＋]\(?{SEVEN_DIGITS}")
BEFORE_OPERAND = re.compile(r"[\d)=<>*/×÷^]\s*\Z")
AFTER_OPERAND = re.compile(r"\s*[=<>*/×÷^+%]")

# Length of an IBAN by country: the registry of ISO 13616 (SWIFT, IBAN Registry, release 98).
IBAN_LENGTHS = {
    length: countries.split()
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI",
        20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ TL", 24: "AD CZ DZ ES MD PK RO SA SE SK TN VG", 25: "AO CV GW MZ PT ST",
        26: "IS TR", 27: "BF BI CF CG CM DJ FR GR IT MC MG MR SM SN",
        28: "AL AZ BJ BY CI CY DO GT HN HU LB LC ML NE NI PL TD TG", 29: "BR EG PS QA UA",
        30: "JO KW MU", 31: "MT SC",
    }.items()
}  # fmt: skip
IBAN_LENGTH = {c: length for length, countries in IBAN_LENGTHS.items() for c in countries}


def emails(text: str) -> Iterator[Span]:
    """Yield e-mail addresses; upper and lower case are the same."""
    if "@" in text:
        for found in EMAIL.finditer(text):
            yield Span(*found.span(), "email", found[0].lower())


def luhn(digits: str) -> bool:
    """Return whether a number has the check digit of ISO/IEC 7812-1 (Luhn)."""
    doubled = [sum(divmod(2 * int(d), 10)) for d in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def cards(text: str) -> Iterator[Span]:
    """Yield numbers of payment cards: 13 to 19 digits, an issuer's first ones, the check digit."""
    for found in CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if luhn(digits) and len(set(digits)) > 1:
            yield Span(*found.span(), "card", digits)


def mod97(iban: str) -> bool:
    """Return whether an IBAN (no spaces) has its check digits, ISO 7064 mod 97-10."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def ibans(text: str) -> Iterator[Span]:
    """Yield account numbers of the length that their country has, with the right check digits."""
    for found in IBAN.finditer(text):
        length = IBAN_LENGTH.get(found[1][:2])
        places = [i for i, c in enumerate(found[1]) if c != " "]
        if length is None or len(places) < length:
            continue
        end = places[length - 1] + 1  # what follows is the next word
        value = found[1][:end].replace(" ", "")
        if mod97(value) and not found[1][end : end + 1].isalnum():
            yield Span(found.start(), found.start() + end, "iban", value)


def ip_addresses(text: str) -> Iterator[Span]:
    """Yield IP addresses but for loopback, unspecified and netmask ones, which are nobody's."""
    found = IPV4.finditer(text) if text.count(".") > 2 else iter(())
    found6 = IPV6.finditer(text) if text.count(":") > 2 else iter(())
    for match in chain(found, found6):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.version == 6 and not any(c.isdigit() for c in match[0]):
            continue  # words between colons, as in a::bad::c
        first = match[0].partition(".")[0]
        if not (address.is_loopback or address.is_unspecified or first in ("0", "255")):
            yield Span(*match.span(), "ip", str(address))


def phone_finder(countries: Sequence[str]) -> Callable[[str], Iterator[Span]]:
    """Return a finder of valid phone numbers: with +, and as people in ``countries`` write them."""
    import phonenumbers

    unknown = [c for c in countries if c not in phonenumbers.SUPPORTED_REGIONS]
    if unknown:
        raise StageError(
            f"personal_data: countries: {unknown[0]!r} is no country with phone numbers; "
            "write ISO 3166 codes such as US, DE, CN"
        )

    maybe = MAYBE_PHONE if countries else MAYBE_ABROAD
    e164 = phonenumbers.PhoneNumberFormat.E164

    def phones(text: str) -> Iterator[Span]:
        if not maybe.search(text):
            return
        for country in countries or (None,):
            for found in phonenumbers.PhoneNumberMatcher(text, country):
                if not _is_sum(text, found.start, found.end):
                    value = phonenumbers.format_number(found.number, e164)
                    yield Span(found.start, found.end, "phone", value)

    return phones


def _is_sum(text: str, start: int, end: int) -> bool:
    """Return whether what looks like a phone number is arithmetic, as in 198472 + 3580000 = ..."""
    found = text[start:end]
    if found.startswith(("+ ", "＋ ")) or " - " in found or " / " in found:
        return True
    before, after = text[max(0, start - 8) : start], text[end : end + 8]
    return bool(BEFORE_OPERAND.search(before) or AFTER_OPERAND.match(after))


# In this order: an account number may look like a card, and both hold what looks like a phone.
FINDERS = {"email": emails, "iban": ibans, "card": cards, "ip": ip_addresses}
KINDS = (*FINDERS, "phone")


def personal_data(
    records: Records,
    step: Step,
    kinds: Sequence[str] = KINDS,
    action: str = "mask",
    countries: Sequence[str] = (),
) -> Records:
    """Mask, drop or report personal data of these kinds in all texts, tool calls included."""
    finders = [find for kind, find in FINDERS.items() if kind in kinds]
    if "phone" in kinds:
        step.packages.add("phonenumbers")
        finders.append(phone_finder(countries))
    return screened(
        records, step, lambda text: chain.from_iterable(find(text) for find in finders), action
    )
