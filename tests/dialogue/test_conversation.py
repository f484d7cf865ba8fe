"""The history is what was heard."""

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
