"""Word lists of languages."""

import pytest

from services.router.language import table


def test_a_tag_of_a_region_finds_its_language() -> None:
    assert table("en-GB", "turn") is table("EN", "turn")
    assert "the" in table("en", "turn")["open_words"]


@pytest.mark.parametrize("language", ["de", "", "../en", "en/../en", "é", "turn"])
def test_a_language_without_a_file_has_no_words(language: str) -> None:
    assert table(language, "turn") == {}


def test_a_table_that_is_not_there_is_empty() -> None:
    assert table("en", "nothing") == {}
