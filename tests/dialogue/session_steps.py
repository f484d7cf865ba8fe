"""What tests of the session say often."""

from typing import TypeVar

from services.dialogue.engine import CallDelta, Finished, TextDelta
from services.dialogue.outputs import AnswerKey, Output, Say
from services.dialogue.session import DialogueSession

T = TypeVar("T", bound=Output)


def only(kind: type[T], outputs: list[Output]) -> T:
    found = [output for output in outputs if isinstance(output, kind)]
    assert len(found) == 1, outputs
    return found[0]


def none_of(kind: type[Output], outputs: list[Output]) -> bool:
    return not any(isinstance(output, kind) for output in outputs)


def said(outputs: list[Output]) -> list[str]:
    return [output.text for output in outputs if isinstance(output, Say)]


def answer(session: DialogueSession, key: AnswerKey, text: str) -> list[Output]:
    outputs = session.on_delta(key, TextDelta(text))
    return outputs + session.on_delta(key, Finished("stop"))


def call(session: DialogueSession, key: AnswerKey, tool: str) -> list[Output]:
    return session.on_delta(key, CallDelta("", tool, "{}")) + session.on_delta(key, Finished("tool"))


def hear_all(session: DialogueSession, turn: int, revision: int = 0) -> None:
    session.on_heard(turn, revision, 99, 0, is_complete=True)
