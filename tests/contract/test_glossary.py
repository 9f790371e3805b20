"""The retired words of docs/glossary.md do not come back.

`python -m tests.contract.glossary [PATH...]` prints those below a path, with the line and the word to use instead.
"""

from __future__ import annotations

import pytest

from tests.contract.glossary import checked_files, findings, vocabulary


@pytest.mark.parametrize("top", sorted({path.parts[0] for path in checked_files()}))
def test_no_file_has_a_retired_word(top: str) -> None:
    found = [finding for path in checked_files() if path.parts[0] == top for finding in findings(path)]
    assert not found, "\n".join(found)


def test_the_glossary_retires_words_everywhere_and_in_identifiers() -> None:
    words = vocabulary()
    assert {"whoever", "door", "trouble"} <= set(words.everywhere)
    assert {"judge", "survey", "proved"} <= set(words.identifiers)
