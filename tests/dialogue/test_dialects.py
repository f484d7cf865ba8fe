"""Each dialect renders a conversation so that it only ever grows, and reads speech and calls as they stream."""

import json
from typing import Any

import pytest

from halfbeat.errors import EngineFailed
from services.dialogue.compact import grammar
from services.dialogue.dialect import Dialect, Parser, by_name
from services.dialogue.engine import (
    AgentSaid,
    CallDelta,
    CallerSaid,
    Delta,
    Item,
    Prompt,
    Shot,
    TextDelta,
    ToolRan,
    ToolSpec,
)

BOOK = ToolSpec("schedule_pickup", "book", "The caller wants a truck.", {"type": "object", "properties": {}})
REPORT = ToolSpec(
    "report_issue",
    "problem",
    "The caller reports a problem.",
    {
        "type": "object",
        "properties": {"kind": {"enum": ["pothole", "graffiti"]}, "urgent": {"type": "boolean"}},
        "required": ["kind", "urgent"],
    },
)
TALK: list[Item] = [
    AgentSaid("Hi there."),
    CallerSaid("Send a truck."),
    ToolRan("c1", "schedule_pickup", "{}", '{"day":"tomorrow"}', is_spoken=True),
    AgentSaid("Done, it comes tomorrow."),
    CallerSaid("Thanks."),
    AgentSaid("You are", is_cut=True),
    CallerSaid("Wait."),
]


def prompt(items: list[Item], **changes: Any) -> Prompt:
    given: dict[str, Any] = {
        "instructions": "You are an agent.",
        "shots": [Shot("Go on.", "Done.", "book")],
        "facts": ["The caller lives on Oak Street."],
        "tools": [BOOK, REPORT],
    }
    return Prompt(items=items, **(given | changes))


def read(parser: Parser, text: str, size: int = 4) -> list[Delta]:
    deltas: list[Delta] = []
    for start in range(0, len(text), size):
        deltas += parser.feed(text[start : start + size])
        if parser.is_called:
            return deltas
    return deltas + parser.flush()


def words(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def calls(deltas: list[Delta]) -> list[tuple[str, Any]]:
    return [(delta.name, json.loads(delta.arguments_json)) for delta in deltas if isinstance(delta, CallDelta)]


@pytest.fixture(params=["compact", "structured", "native"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return by_name(request.param)


def told(dialect: Dialect, prompt: Prompt) -> Any:
    """What the model reads: a text, or messages."""
    request = dialect.request(prompt)
    return request["prompt"] if "prompt" in request else request["messages"]


def test_what_came_earlier_is_never_rewritten(dialect: Dialect) -> None:
    whole = told(dialect, prompt(TALK))
    for length in range(1, len(TALK)):
        if isinstance(TALK[length - 1], ToolRan):
            continue  # its message is complete only with the words that follow
        part = told(dialect, prompt(TALK[:length]))
        assert part == whole[: len(part)]


def test_what_is_read_ahead_is_how_the_request_for_the_answer_begins(dialect: Dialect) -> None:
    whole = told(dialect, prompt(TALK))
    for length in range(1, len(TALK) + 1):
        if isinstance(TALK[length - 1], ToolRan):
            continue
        ahead = dialect.beginning(prompt(TALK[:length]))
        part = ahead["prompt"] if "prompt" in ahead else ahead["messages"]
        assert part == whole[: len(part)]


def test_what_is_open_changes_no_message(dialect: Dialect) -> None:
    closed = ToolSpec(BOOK.name, BOOK.label, BOOK.description, BOOK.schema, is_open=False)
    assert told(dialect, prompt(TALK)) == told(dialect, prompt(TALK, tools=[closed, REPORT]))


def test_where_one_tool_is_meant_there_is_no_other_choice(dialect: Dialect) -> None:
    meant = ToolSpec(BOOK.name, BOOK.label, BOOK.description, BOOK.schema, is_meant=True)
    asked = prompt(TALK, tools=[meant, REPORT])
    assert [tool.name for tool in asked.open_tools] == ["schedule_pickup"]
    assert told(dialect, asked) == told(dialect, prompt(TALK))
    request = json.dumps(dialect.request(asked) | {"prompt": "", "messages": []})
    assert "report_issue" not in request
    assert '"tool_choice": "required"' in request or ("speak" not in request and "reply |" not in request)
    closed = ToolSpec(BOOK.name, BOOK.label, BOOK.description, BOOK.schema, is_open=False, is_meant=True)
    assert not prompt(TALK, tools=[closed, REPORT]).needs_tool
    assert not prompt(TALK, tools=[meant, REPORT], is_speech_only=True).needs_tool


def test_a_cut_answer_is_marked(dialect: Dialect) -> None:
    assert "You are —" in json.dumps(told(dialect, prompt(TALK)), ensure_ascii=False)


def test_a_result_that_was_not_spoken_is_told_to_the_model(dialect: Dialect) -> None:
    ran = ToolRan("c1", "schedule_pickup", "{}", '{"day":"tomorrow"}')
    assert "tomorrow" in json.dumps(told(dialect, prompt([CallerSaid("Book"), ran])))


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match="compact"):
        by_name("morse")


# compact


def test_the_compact_prompt_is_a_transcript_in_which_one_line_end_lies_before_the_answer() -> None:
    text = told(by_name("compact"), prompt(TALK))
    assert text.endswith(
        "\n> Go on.\nbook Done.\n\n(A new call begins. The caller lives on Oak Street.)\nother Hi there.\n"
        "> Send a truck.\nbook Done, it comes tomorrow.\n> Thanks.\nother You are —\n> Wait.\n"
    )


def test_compact_reads_ahead_to_within_the_callers_words() -> None:
    ahead = by_name("compact").beginning(prompt([AgentSaid("Hi."), CallerSaid("Send a")]))["prompt"]
    assert ahead.endswith("\n> Send a")


def test_compact_reads_ahead_to_where_the_callers_words_begin() -> None:
    ahead = by_name("compact").beginning(prompt([CallerSaid("Hello."), AgentSaid("Hi.")]))["prompt"]
    assert ahead.endswith("\nother Hi.\n>")


def test_the_compact_answer_is_a_line() -> None:
    assert by_name("compact").request(prompt(TALK))["stop"] == ["\n"]


def test_compact_without_tools_has_no_labels() -> None:
    plain = prompt([CallerSaid("Hello"), AgentSaid("Hi.")], tools=[], shots=[])
    assert told(by_name("compact"), plain).endswith("> Hello\nHi.\n")
    assert words(read(by_name("compact").parser(plain), "Good day.")) == "Good day."
    assert grammar(plain).startswith("root ::= reply\n")


@pytest.mark.parametrize("size", [1, 3, 50])
def test_compact_speech_streams_without_its_label(size: int) -> None:
    parser = by_name("compact").parser(prompt([]))
    assert words(read(parser, "other I can help with that.", size)) == "I can help with that."


def test_compact_speech_has_its_first_word_with_the_second_token() -> None:
    parser = by_name("compact").parser(prompt([]))
    assert parser.feed("other") == []
    assert parser.feed(" Yes") == [TextDelta("Yes")]


def test_compact_waits_while_a_label_may_be_another_one() -> None:
    more = ToolSpec("look_book_up", "booking", "Looks a booking up.", BOOK.schema)
    parser = by_name("compact").parser(prompt([], tools=[BOOK, more]))
    assert parser.feed("book") == []
    assert calls(parser.flush()) == [("schedule_pickup", {})]


def test_compact_speech_that_never_came_is_no_call() -> None:
    parser = by_name("compact").parser(prompt([]))
    assert parser.feed("other") == []
    assert parser.flush() == []


def test_compact_decides_for_a_tool_at_the_first_piece_that_fits_no_other() -> None:
    parser = by_name("compact").parser(prompt([]))
    assert calls(parser.feed("bo")) == [("schedule_pickup", {})]
    assert parser.is_called


def test_compact_arguments_are_read_to_their_end() -> None:
    parser = by_name("compact").parser(prompt([]))
    deltas = read(parser, 'problem {"kind":"pothole","urgent":true} Thanks')
    assert calls(deltas) == [("report_issue", {"kind": "pothole", "urgent": True})]


def test_compact_refuses_a_label_that_is_not_open() -> None:
    closed = ToolSpec(BOOK.name, BOOK.label, BOOK.description, BOOK.schema, is_open=False)
    parser = by_name("compact").parser(prompt([], tools=[closed]))
    with pytest.raises(EngineFailed, match="label"):
        read(parser, "book Done.")


def test_compact_refuses_an_answer_that_breaks_off_within_arguments() -> None:
    with pytest.raises(EngineFailed, match="whole"):
        read(by_name("compact").parser(prompt([])), 'problem {"kind":"pot')


def test_the_grammar_admits_only_what_is_open() -> None:
    closed = ToolSpec(BOOK.name, BOOK.label, BOOK.description, BOOK.schema, is_open=False)
    rules = grammar(prompt([], tools=[closed, REPORT]))
    assert '"book' not in rules
    assert '"problem "' in rules
    assert r'"\"pothole\""' in rules
    assert "problem" not in grammar(prompt([], is_speech_only=True))


def test_the_grammar_of_a_tool_that_is_meant_admits_its_label_alone() -> None:
    meant = ToolSpec(BOOK.name, BOOK.label, BOOK.description, BOOK.schema, is_meant=True)
    assert grammar(prompt([], tools=[meant, REPORT])).startswith('root ::= "book"\n')


def test_the_grammar_has_a_rule_for_arguments_of_any_shape() -> None:
    schema = {
        "type": "object",
        "properties": {
            "place": {"type": "object", "properties": {"lat": {"type": "number"}}},
            "tags": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "object"},
            "when": {"anyOf": [{"$ref": "#/$defs/Day"}, {"type": "null"}]},
        },
        "$defs": {"Day": {"enum": ["today"]}},
    }
    rules = grammar(prompt([], tools=[ToolSpec("find", "find", "Finds.", schema)]))
    assert r'"\"lat\":" number' in rules
    assert r'"\"more\":" object' in rules
    assert r'("\"today\"") | null' in rules


def test_examples_come_before_the_facts_so_that_all_calls_share_them() -> None:
    first = told(by_name("compact"), prompt([], facts=["Alpha"]))
    second = told(by_name("compact"), prompt([], facts=["Beta"]))
    assert first.split("Alpha")[0] == second.split("Beta")[0]
    assert "Go on." in first.split("Alpha")[0]


# structured


def test_structured_speech_streams_out_of_the_growing_object() -> None:
    parser = by_name("structured").parser(prompt([]))
    early = parser.feed('{"do": "speak", "say": "I can help')
    assert words(early) == "I can help"
    assert words(read(parser, ' \\"now\\"."}')) == ' "now".'


def test_structured_call_comes_with_its_arguments() -> None:
    parser = by_name("structured").parser(prompt([]))
    deltas = read(parser, '{"do": "report_issue", "arguments": {"kind": "pothole", "urgent": false}}')
    assert calls(deltas) == [("report_issue", {"kind": "pothole", "urgent": False})]
    assert words(deltas) == ""


def test_structured_refuses_what_is_no_json() -> None:
    parser = by_name("structured").parser(prompt([]))
    with pytest.raises(EngineFailed):
        read(parser, "Sure, I will do that")


def test_structured_schema_has_only_what_is_open() -> None:
    asked = by_name("structured").request(prompt([], is_speech_only=True))
    assert "report_issue" not in json.dumps(asked["response_format"])


# native


def test_native_call_is_put_together_from_its_pieces() -> None:
    parser = by_name("native").parser(prompt([]))
    parser.feed_call(0, "c9", "report_issue", "")
    parser.feed_call(0, "", "", '{"kind": "pot')
    parser.feed_call(0, "", "", 'hole", "urgent": true}')
    parser.feed_call(1, "c10", "schedule_pickup", "")
    assert calls(parser.flush()) == [("report_issue", {"kind": "pothole", "urgent": True}), ("schedule_pickup", {})]


@pytest.mark.parametrize(
    "text", ['{"name": "schedule_pickup", "arguments": {}}', '```json\n{"name": "schedule_pickup"}\n```']
)
def test_native_call_written_as_text_is_run_and_never_spoken(text: str) -> None:
    deltas = read(by_name("native").parser(prompt([])), text)
    assert words(deltas) == ""
    assert calls(deltas) == [("schedule_pickup", {})]


def test_native_code_that_is_no_call_is_refused() -> None:
    with pytest.raises(EngineFailed, match="code"):
        read(by_name("native").parser(prompt([])), "```python\nprint(1)\n```")
