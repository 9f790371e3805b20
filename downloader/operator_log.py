"""The operator's reading of a log: how it files a failed pod, and how our lines are made to be filed right.

The operator looks at the last lines of the log, at all of them for one category before the next category. So the one
line that tells of the failure must match its own category (`last_line`), and no other line may match any
(`neutralize`). Where the operator does not listen, nothing is reworded, and the last line is `plain_line`.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from downloader.errors import Category
from downloader.formatting import single_line
from downloader.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from downloader.errors import DownloadError

INFRASTRUCTURE: Final = "infrastructure"
"""Trouble of the cluster, which hides every other; no failure of ours is filed so."""

Classification: TypeAlias = Category | Literal["infrastructure"]

LAST_LINE_LIMIT: Final = 600
"""Characters."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A line that holds these words in this order, in any case, with anything between them, is filed so."""

    filing: Classification
    words: tuple[re.Pattern[str], ...]
    weak_word: int
    """The word that `neutralize` breaks, as an index."""
    weak_spot: int
    """Where it breaks that word, in characters."""
    new: bool
    """Only the operator's newest state has this rule."""

    def find(self, line: str) -> tuple[int, ...] | None:
        """Return where each word begins, the earliest possible; None where the line does not match.

        Word by word, since one expression with `.*` between the words takes cubic time on a hostile line.
        """
        starts = []
        position = 0
        for word in self.words:
            match = word.search(line, position)
            if match is None:
                return None
            starts.append(match.start())
            position = match.end()
        return tuple(starts)


def _rules(filing: Classification, *notations: str, new: bool = False) -> tuple[Rule, ...]:
    return tuple(_rule(filing, notation.split("…"), new=new) for notation in notations)


def _rule(filing: Classification, words: list[str], *, new: bool) -> Rule:
    weak_word = next(index for index, word in enumerate(words) if "|" in word)
    patterns = tuple(re.compile(re.escape(word.replace("|", "")), re.IGNORECASE) for word in words)
    return Rule(filing, patterns, weak_word, words[weak_word].index("|"), new)


# An ellipsis stands between words, a bar where `neutralize` breaks a word.
RULES: Final = (
    *_rules(
        INFRASTRUCTURE,
        "RBAC:…n|ot found",
        "clusterrole…n|ot found",
        "forbidden…can|not…resource",
        "serviceaccount…can|not",
    ),
    *_rules(
        Category.NOT_FOUND,
        "Repository N|ot Found",
        "RepositoryN|otFoundError",
        "404…n|ot…found",
        "n|ot…found…404",
        "NoSuch|Key",
        "NoSuch|Bucket",
        "model…n|ot…found",
        "file…n|ot…found",
        "s|3…404",
    ),
    *_rules(Category.NOT_FOUND, "no objects f|ound", new=True),
    *_rules(
        Category.DENIED,
        "access…den|ied…s3",
        "s|3…403",
        "Invalid|AccessKeyId",
        "Signature|DoesNotMatch",
        "s|3…unauthorized",
        "aws…credentials…n|ot…found",
        "NoCredential|Providers",
        "Access to model … is restr|icted",
        "Cannot access ga|ted repo",
        "Inv|alid…token…huggingface",
        "huggingface…authentication…fai|led",
        "401…Un|authorized…hf.co",
        "403…For|bidden…hf.co",
    ),
    *_rules(
        Category.DENIED,
        "Access|Denied",
        "Unable to lo|cate credentials",
        "repository requires app|roval",
        new=True,
    ),
    *_rules(
        Category.STORAGE_FULL,
        "no space l|eft on device",
        "disk…fu|ll",
        "ENO|SPC",
        "quota…exc|eeded",
        "storage…fu|ll",
    ),
)
"""In the operator's order."""

_OPENINGS: Final = {
    Category.OTHER: "failed: ",
    Category.NOT_FOUND: "source not found (404): ",
    Category.DENIED: "access denied (S3, Hub or web server): ",
    Category.STORAGE_FULL: "no space left on device: ",
}
"""How the last line begins: each lands in its category, with and without the new rules."""

_BREAK: Final = "·"


def classify(line: str, *, newest: bool) -> Classification:
    """Return how the operator files a log that consists of this line. `newest`: its main branch, else v0.2.0."""
    return classify_log([line], newest=newest)


def classify_log(lines: Iterable[str], *, newest: bool) -> Classification:
    """Return how the operator files a failed pod with this log."""
    seen = deque(lines, maxlen=200 if newest else 50)
    for rule in RULES:
        if (newest or not rule.new) and any(rule.find(line) for line in seen):
            return rule.filing
    return Category.OTHER


def neutralize(text: str) -> str:
    """Reword text so that no line of it matches a rule: a dot goes into one word of each match, the rest stays."""
    return "\n".join(_reword(line, RULES) for line in text.split("\n"))


def last_line(error: DownloadError, redactor: Redactor | None = None) -> str:
    """Return the line that tells the operator and people of a failure: filed under the error's category, secret-free.

    Nothing may be written to the log after it, and what was written before must have gone through `neutralize`.
    """
    opening = _OPENINGS[error.category]
    told = single_line((redactor or Redactor()).redact(str(error)), LAST_LINE_LIMIT - len(opening))
    stronger = tuple(itertools.takewhile(lambda rule: rule.filing is not error.category, RULES))
    line = single_line(_reword(opening + told, stronger, kept=len(opening)), LAST_LINE_LIMIT)
    if all(classify(line, newest=newest) is error.category for newest in (False, True)):
        return line
    return opening.removesuffix(": ")


def plain_line(error: DownloadError, redactor: Redactor | None = None) -> str:
    """Return the line that tells people of a failure, secret-free."""
    return single_line((redactor or Redactor()).redact(f"{_OPENINGS[Category.OTHER]}{error}"), LAST_LINE_LIMIT)


def _reword(line: str, rules: Iterable[Rule], kept: int = 0) -> str:
    """Break one word of each match, never before offset `kept`: what stands before it must match none of the rules."""
    for rule in rules:
        while (starts := rule.find(line)) is not None:
            # Where the weak word is to be kept, the last word is not: else what is kept would match alone.
            spot = starts[rule.weak_word] + rule.weak_spot if starts[rule.weak_word] >= kept else starts[-1] + 1
            line = line[:spot] + _BREAK + line[spot:]
    return line
