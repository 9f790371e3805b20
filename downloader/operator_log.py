"""How the operator classifies a failed pod by its log, and how our lines are worded for the right category.

The operator searches the last lines of the log, all of them for one category before the next category. So the line that
reports the failure must match its own category (`last_line`), and no other line may match any (`neutralize`). For runs
that the operator has not started, nothing is reworded, and the last line is `plain_line`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from downloader.errors import Category
from downloader.formatting import single_line
from downloader.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from downloader.errors import DownloadError

INFRASTRUCTURE: Final = "infrastructure"
"""A failure of the cluster, which takes precedence over all others; none of our failures is classified as one."""

Classification: TypeAlias = Category | Literal["infrastructure"]

LAST_LINE_LIMIT: Final = 600
"""Characters."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Classifies a line that contains these words in this order, in any case, with any text between them."""

    classification: Classification
    words: tuple[re.Pattern[str], ...]
    break_word: int
    """Index of the word that `neutralize` breaks."""
    break_at: int
    """Offset in that word at which it is broken, in characters."""
    new: bool
    """Only the operator's newest version has this rule."""

    def find(self, line: str) -> tuple[int, ...] | None:
        """Return the earliest offset of each word; None if the line does not match.

        The words are searched one by one: an expression with `.*` between them takes cubic time on a malicious line.
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


def _rules(classification: Classification, *notations: str, new: bool = False) -> tuple[Rule, ...]:
    return tuple(_rule(classification, notation.split("…"), new=new) for notation in notations)


def _rule(classification: Classification, words: list[str], *, new: bool) -> Rule:
    break_word = next(index for index, word in enumerate(words) if "|" in word)
    patterns = tuple(re.compile(re.escape(word.replace("|", "")), re.IGNORECASE) for word in words)
    return Rule(classification, patterns, break_word, words[break_word].index("|"), new)


# An ellipsis separates words, a bar is where `neutralize` breaks a word.
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
"""In the order in which the operator applies them."""

_OPENINGS: Final = {
    Category.OTHER: "failed: ",
    Category.NOT_FOUND: "source not found (404): ",
    Category.DENIED: "access denied (S3, Hub or web server): ",
    Category.STORAGE_FULL: "no space left on device: ",
}
"""The beginning of the last line. It matches its category with and without the new rules."""

_BREAK: Final = "·"


def classify(line: str, *, newest: bool) -> Classification:
    """Return the category of a log with only this line. `newest`: for the operator's main branch, else for v0.2.0."""
    return classify_log([line], newest=newest)


def classify_log(lines: Iterable[str], *, newest: bool) -> Classification:
    """Return the category of a failed pod with this log."""
    seen = deque(lines, maxlen=200 if newest else 50)
    for rule in RULES:
        if (newest or not rule.new) and any(rule.find(line) for line in seen):
            return rule.classification
    return Category.OTHER


def neutralize(text: str) -> str:
    """Insert a dot into one word of each match, so that no line of the text matches a rule."""
    return "\n".join(_reword(line, RULES) for line in text.split("\n"))


def last_line(error: DownloadError, redactor: Redactor | None = None) -> str:
    """Return the line that reports a failure to the operator and to users: in the error's category, without secrets.

    Nothing may be written to the log after it, and everything before it must have been passed to `neutralize`.
    """
    opening = _OPENINGS[error.category]
    told = single_line((redactor or Redactor()).redact(str(error)), LAST_LINE_LIMIT - len(opening))
    stronger = tuple(itertools.takewhile(lambda rule: rule.classification is not error.category, RULES))
    line = single_line(_reword(opening + told, stronger, kept=len(opening)), LAST_LINE_LIMIT)
    if all(classify(line, newest=newest) is error.category for newest in (False, True)):
        return line
    return opening.removesuffix(": ")


def plain_line(error: DownloadError, redactor: Redactor | None = None) -> str:
    """Return the line that reports a failure to users, without secrets."""
    return single_line((redactor or Redactor()).redact(f"{_OPENINGS[Category.OTHER]}{error}"), LAST_LINE_LIMIT)


def json_text(value: Mapping[str, object]) -> str:
    """Return an object as one line of plain ASCII."""
    return json.dumps(value, ensure_ascii=True)


def neutralize_json(line: str) -> str:
    r"""Return a line of JSON that matches no rule and means the same: `s\u0033` is how JSON may write `s3`."""
    return _reword(line, RULES, _escape)


def json_last_line(facts: Mapping[str, object], error: DownloadError, redactor: Redactor | None = None) -> str:
    """Return a JSON object of these facts, and of `last_line` as its `message`: in the error's category, too."""
    opening = _OPENINGS[error.category]
    head = json_text(facts)[:-1] + ', "message": '
    stronger = tuple(itertools.takewhile(lambda rule: rule.classification is not error.category, RULES))
    line = f"{head}{json.dumps(last_line(error, redactor))}}}"
    line = _reword(line, stronger, _escape, kept=len(head) + 1 + len(opening))
    if _is_json(line) and all(classify(line, newest=newest) is error.category for newest in (False, True)):
        return line
    return f"{head}{json.dumps(opening.removesuffix(': '))}}}"


def _is_json(line: str) -> bool:
    """Tell whether escaping has left valid JSON: the last word of a match may be part of another escape."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _insert_break(line: str, spot: int) -> str:
    return line[:spot] + _BREAK + line[spot:]


def _escape(line: str, spot: int) -> str:
    return f"{line[:spot]}\\u{ord(line[spot]):04x}{line[spot + 1 :]}"


def _reword(
    line: str, rules: Iterable[Rule], broken: Callable[[str, int], str] = _insert_break, *, kept: int = 0
) -> str:
    """Break one word of each match, never before offset `kept`. The text before it must not match the rules."""
    for rule in rules:
        while (starts := rule.find(line)) is not None:
            # If that word is kept, the last word is not: otherwise the text that is kept would match by itself.
            spot = starts[rule.break_word] + rule.break_at if starts[rule.break_word] >= kept else starts[-1] + 1
            line = broken(line, spot)
    return line
