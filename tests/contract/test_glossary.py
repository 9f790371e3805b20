"""The retired words of docs/glossary.md do not come back.

`python -m tests.contract.glossary [PATH...]` prints what is left below a path, with the line and the word to use
instead. `glossary_remaining.txt` lists the files that are not done yet, each with the number of retired words that it
still has; the number may only fall, and a file that is not listed has none. After a cleanup, lower the numbers with
`python -m tests.contract.glossary --lower`. Where a file that is listed moves, change its line.
"""

from __future__ import annotations

import pytest

from tests.contract.glossary import checked_files, findings, remaining, vocabulary


@pytest.mark.parametrize("top", sorted({path.parts[0] for path in checked_files()}))
def test_no_file_has_more_retired_words_than_it_may(top: str) -> None:
    allowed = remaining()
    for path in checked_files():
        if path.parts[0] == top:
            found = findings(path)
            assert len(found) <= allowed.get(str(path), 0), "\n".join(found)


def test_the_glossary_retires_words_everywhere_and_in_identifiers() -> None:
    words = vocabulary()
    assert {"whoever", "door", "trouble"} <= set(words.everywhere)
    assert {"crew", "compare_digests", "survey"} <= set(words.identifiers) | set(words.everywhere)
