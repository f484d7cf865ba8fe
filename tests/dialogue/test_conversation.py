"""The history is what was heard."""

from hypothesis import given
from hypothesis import strategies as st

from services.dialogue.conversation import Conversation, SpokenClause
from services.dialogue.engine import AgentSaid, CallerSaid, ToolRan


def spoken(conversation: Conversation, turn: int, said: str, *clauses: str) -> None:
    conversation.begin(turn, 0, said).parts.extend(SpokenClause(clause) for clause in clauses)


def test_words_that_were_not_heard_are_not_in_the_history() -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Hello", "Sure,", "a truck comes tomorrow.")
    assert conversation.items() == [CallerSaid("Hello")]


def test_an_answer_that_was_cut_ends_after_the_last_whole_word_heard() -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Hello", "Sure,", "a truck comes tomorrow.")
    conversation.exchanges[0].hear(1, len("a truck co"), is_cut=True)
    assert conversation.items() == [CallerSaid("Hello"), AgentSaid("Sure, a truck", is_cut=True)]


def test_marks_only_grow_when_they_arrive_out_of_order() -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Hello", "a truck comes tomorrow.")
    conversation.exchanges[0].hear(0, 13)
    conversation.exchanges[0].hear(0, 4)
    assert conversation.items()[-1] == AgentSaid("a truck comes")


def test_a_complete_answer_is_there_word_for_word() -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Hello", "Sure,", "a truck comes.")
    conversation.exchanges[0].hear(1, 0, is_complete=True)
    assert conversation.items()[-1] == AgentSaid("Sure, a truck comes.")


def test_fillers_are_no_part_of_the_history() -> None:
    conversation = Conversation()
    conversation.begin(1, 0, "Book").parts.append(SpokenClause("One moment.", is_filler=True))
    conversation.exchanges[0].hear(0, 99, is_complete=True)
    assert conversation.items() == [CallerSaid("Book")]


def test_a_new_revision_replaces_a_turn_of_which_nothing_was_heard() -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Can you send", "Sure.")
    conversation.begin(1, 1, "Can you send somebody")
    assert conversation.items() == [CallerSaid("Can you send somebody")]


def test_a_new_revision_keeps_what_a_tool_has_done() -> None:
    conversation = Conversation()
    conversation.begin(1, 0, "Book it").parts.append(ToolRan("c1", "book", "{}", '{"ref":1}'))
    conversation.begin(1, 1, "Book it please")
    assert ToolRan("c1", "book", "{}", '{"ref":1}') in conversation.items()


def test_a_conversation_survives_its_stored_form() -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Hello", "Sure, a truck comes.")
    conversation.exchanges[0].parts.append(ToolRan("c1", "book", "{}", None))
    conversation.exchanges[0].hear(0, 5, is_cut=True)
    again = Conversation.from_json(conversation.to_json())
    assert again.items() == conversation.items()
    assert again.to_json() == conversation.to_json()


def test_an_opener_before_a_tool_stands_with_the_words_after_it() -> None:
    conversation = Conversation()
    ran = ToolRan("c1", "book", "{}", "{}", is_spoken=True)
    exchange = conversation.begin(1, 0, "Book it")
    exchange.parts += [SpokenClause("Okay,", is_opener=True), ran, SpokenClause("a truck comes.")]
    exchange.hear(1, 0, is_complete=True)
    assert conversation.items() == [CallerSaid("Book it"), ran, AgentSaid("Okay, a truck comes.")]


def test_words_of_the_model_before_a_tool_stand_before_it() -> None:
    conversation = Conversation()
    exchange = conversation.begin(1, 0, "Book it")
    exchange.parts += [SpokenClause("Let me book that."), ToolRan("c1", "book", "{}", "{}"), SpokenClause("Done.")]
    exchange.hear(1, 0, is_complete=True)
    assert [type(item) for item in conversation.items()] == [CallerSaid, AgentSaid, ToolRan, AgentSaid]


def test_a_turn_that_is_only_supposed_leaves_no_trace() -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Can you send", "Sure.")
    assert conversation.supposing(1, 1, "Can you send two").items() == [CallerSaid("Can you send two")]
    assert conversation.exchanges[0].said == "Can you send"


@given(
    st.lists(st.lists(st.text("ab'", min_size=1, max_size=5), min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), max_size=6),
    st.data(),
)
def test_wherever_an_answer_is_cut_its_history_ends_at_the_last_whole_word_heard(
    clauses: list[list[str]], marks: list[tuple[int, int]], data: st.DataObject
) -> None:
    conversation = Conversation()
    spoken(conversation, 1, "Hello", *(" ".join(words) for words in clauses))
    cut = data.draw(st.tuples(st.integers(0, len(clauses) - 1), st.integers(0, 30)))
    for clause, chars in sorted([mark for mark in marks if mark <= cut]):
        conversation.exchanges[0].hear(clause, chars)
    conversation.exchanges[0].hear(*cut, is_cut=True)
    whole = [" ".join(words) for words in clauses[: cut[0]]]
    heard: list[str] = []
    for word in clauses[cut[0]]:
        if len(" ".join([*heard, word])) > cut[1]:
            break
        heard.append(word)
    expected = " ".join([*whole, *([" ".join(heard)] if heard else [])])
    items = conversation.items()
    assert items[1:] == ([AgentSaid(expected, is_cut=True)] if expected else [])
