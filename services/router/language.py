"""Words that a part of the router knows of a language, read from `languages/<code>.toml`.

One file for each language, one table in it for each use; a part asks for its table and takes the lists that it knows:

    table("en", "turn")["fillers"]

A language without a file, or a file without the table, has no words: who asks must then stay neutral.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from halfbeat.errors import InvalidRequest

#: What a language without words has.
NOTHING: Mapping[str, frozenset[str]] = MappingProxyType({})


@cache
def table(language: str, name: str) -> Mapping[str, frozenset[str]]:
    """Returns the lists of one use.

    Args:
        language: BCP 47 tag, such as "en-US"; only its first part counts. Any text is safe.
        name: of the table.

    Returns:
        Word lists by name, lower case; empty where the language or the table is not known.

    Raises:
        InvalidRequest: the file is there and is not as it should be.
    """
    return _tables(language.replace("_", "-").split("-")[0].lower()).get(name, NOTHING)


@cache
def _tables(code: str) -> Mapping[str, Mapping[str, frozenset[str]]]:
    if not (code.isalpha() and code.isascii()):
        return MappingProxyType({})
    file = files("services.router").joinpath("languages", f"{code}.toml")
    if not file.is_file():
        return MappingProxyType({})
    tables: dict[str, Mapping[str, frozenset[str]]] = {}
    for name, lists in tomllib.loads(file.read_text(encoding="utf-8")).items():
        for key, words in lists.items():
            if any(word != word.lower().strip() or not word for word in words):
                raise InvalidRequest(f"languages/{code}.toml: {name}.{key} must be lower case words")
        tables[name] = MappingProxyType({key: frozenset(words) for key, words in lists.items()})
    return MappingProxyType(tables)
