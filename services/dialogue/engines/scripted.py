"""A model with exact timing: says what its script says. For tests and load, never for users."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable

from halfbeat.errors import HalfbeatError
from services.dialogue.engine import CallDelta, CallerSaid, Delta, Finished, Prompt, Sampling, TextDelta, Usage

#: An answer of the script: words, a tool call, a failure, or several of these in a row.
Line = str | CallDelta | HalfbeatError

_ECHO = "Okay, I have understood that. What else can I do for you today?"


def echo(prompt: Prompt) -> list[Line]:
    """An answer of fixed length, whatever was said."""
    return [_ECHO]


class Scripted:
    """Answers by a function of the prompt.

    Args:
        script: Gives the lines of an answer; by default always the same sentence.
        first_token_s: From the prompt to the first delta, in seconds.
        token_s: From delta to delta; words are deltas.
    """

    def __init__(
        self,
        script: Callable[[Prompt], Iterable[Line]] = echo,
        *,
        first_token_s: float = 0.0,
        token_s: float = 0.0,
    ) -> None:
        self._script = script
        self._first_token_s = first_token_s
        self._token_s = token_s
        self.prompts: list[Prompt] = []
        self.prefilled: list[Prompt] = []
        self.running = 0

    async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta]:
        """See `LlmEngine`."""
        self.prompts.append(prompt)
        self.running += 1
        try:
            await asyncio.sleep(self._first_token_s)
            tokens, reason = 0, "stop"
            for line in self._script(prompt):
                if isinstance(line, HalfbeatError):
                    raise line
                if isinstance(line, CallDelta):
                    reason = "tool"
                    yield line
                    continue
                for word in re.findall(r"\S+\s*", line):
                    tokens += 1
                    yield TextDelta(word)
                    await asyncio.sleep(self._token_s)
            yield Usage(prompt_tokens=_words(prompt), completion_tokens=tokens)
            yield Finished(reason)
        finally:
            self.running -= 1

    async def prefill(self, prompt: Prompt) -> Usage:
        """See `LlmEngine`."""
        self.prefilled.append(prompt)
        return Usage(prompt_tokens=_words(prompt))

    async def check(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Nothing to close."""


def _words(prompt: Prompt) -> int:
    """Words of the caller; they count as the tokens that were read."""
    return sum(len(item.text.split()) for item in prompt.items if isinstance(item, CallerSaid))
