"""docs/protocol.md says what the code does: every kind, every field, every guard."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from halfbeat import subjects
from halfbeat.drop import DropReason
from halfbeat.v1 import common_pb2, session_pb2

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text()
# Described once, under their own names.
SHARED = (
    common_pb2.Stamp,
    common_pb2.Residence,
    common_pb2.Error,
    session_pb2.OpenReply,
    session_pb2.SessionConfig,
    session_pb2.ClientTool,
)


def section(heading: str) -> str:
    """Returns the text under a heading, up to the next one."""
    found = re.search(rf"^### {re.escape(heading)}$(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/protocol.md has no section {heading}"
    return found[1]


def fields(message: Descriptor, prefix: str = "") -> list[str]:
    """Returns the names of a message's fields; of messages that are not shared, their own fields."""
    shared = {m.DESCRIPTOR.full_name for m in SHARED}
    names = []
    for field in message.fields:
        inner = field.message_type if field.type == FieldDescriptor.TYPE_MESSAGE else None
        is_map = inner is not None and inner.GetOptions().map_entry
        if inner is None or is_map or inner.full_name in shared or not inner.fields:
            names.append(prefix + field.name)
        else:
            names += fields(inner, f"{prefix}{field.name}.")
    return names


@pytest.mark.parametrize("kind", subjects.KINDS, ids=lambda k: f"{k.kind}.{k.verb}")
def test_every_kind_is_described_with_all_its_fields(kind: subjects.Kind) -> None:
    text = section(f"`hb.v1.{kind.kind}.{kind.verb}.<sid>`")
    missing = [name for name in fields(kind.message.DESCRIPTOR) if f"`{name}`" not in text]
    assert not missing


@pytest.mark.parametrize("message", SHARED, ids=lambda m: m.DESCRIPTOR.name)
def test_every_shared_message_is_described_with_all_its_fields(message: type[common_pb2.Stamp]) -> None:
    text = section(message.DESCRIPTOR.name)
    missing = [name for name in fields(message.DESCRIPTOR) if f"| `{name}` |" not in text]
    assert not missing


def test_no_subject_is_described_that_does_not_exist() -> None:
    described = set(re.findall(r"^### `(hb\.v1\.[a-z.]+)\.<sid>`$", TEXT, re.MULTILINE))
    assert described == {f"hb.v1.{k.kind}.{k.verb}" for k in subjects.KINDS}


def test_what_is_logged_is_said_to_be_logged() -> None:
    for kind in subjects.KINDS:
        text = section(f"`hb.v1.{kind.kind}.{kind.verb}.<sid>`")
        assert ("Logged" in text) is kind.is_logged, f"{kind.kind}.{kind.verb}"


@pytest.mark.parametrize("kind", subjects.KINDS, ids=lambda k: f"{k.kind}.{k.verb}")
def test_who_sends_and_who_receives_is_said_as_the_table_has_it(kind: subjects.Kind) -> None:
    first = section(f"`hb.v1.{kind.kind}.{kind.verb}.<sid>`").strip().split(".\n")[0].replace("\n", " ")
    senders, _, receivers = re.sub(r"\([^)]*\)", "", first.split("`")[0]).lower().partition("→")

    def named(text: str) -> set[str]:
        return set(re.findall(r"\b(router|asr|dialogue|tts)\b", text))

    assert (named(senders), named(receivers)) == (set(kind.publishers), set(kind.subscribers))


def test_every_guard_names_a_test_that_exists() -> None:
    table = TEXT.split("## What the client and the server really do")[1]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| fact")]
    here = Path(__file__).parent
    existing = {
        n for p in here.glob("test_*.py") for n in re.findall(r"^(?:async )?def (test_\w+)", p.read_text(), re.M)
    }
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"no test: {row}"
        assert not set(named) - existing, f"no such test: {set(named) - existing}"


def test_reasons_of_drops_are_words_of_their_own() -> None:
    assert len({r.value for r in DropReason}) == len(DropReason)
    assert all(re.fullmatch(r"[a-z_]+", r.value) for r in DropReason)
