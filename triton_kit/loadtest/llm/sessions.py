"""Conversations of several turns: each turn has the responses before it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any  # JSON values

from triton_kit.loadtest.llm.prompts import Conversation, Message
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.loops.sequences import SlotRequests
from triton_kit.loadtest.request import Failure, Request

# Encodes the messages so far and the limit of tokens as a request.
AskNext = Callable[[Sequence[Message], int | None], Request]


class Sessions:
    """Gives each slot of a loop a conversation after another; an observer of them.

    A turn is encoded once the response before it is known, which counts as the
    client's lag. A turn that fails or is cancelled ends its conversation. `asks` has
    an encoder for each server; the slots of all load processes are dealt to them.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        asks: Sequence[AskNext],
        text_of: Callable[[bytes], str],
        *,
        share: WorkerShare | None = None,
    ) -> None:
        self._conversations = conversations
        self.asks = asks
        self._text_of = text_of
        self._share = share or WorkerShare()
        self._next = itertools.cycle(conversations)
        self._responses: dict[int, str | None] = {}  # by slot; None where it failed

    def of_process(self, share: WorkerShare) -> Sessions:
        """Return the share of one of several load processes."""
        own = ([*self._conversations] * share.count)[share.index :: share.count]
        return Sessions(own, self.asks, self._text_of, share=share)

    def with_servers(self, others: Sequence[Sessions]) -> Sessions:
        """Return sessions that stay each with one of several servers."""
        asks = [ask for sessions in (self, *others) for ask in sessions.asks]
        return Sessions(self._conversations, asks, self._text_of)

    def __call__(self, slot: int) -> SlotRequests:
        """Return the requests of a slot, endlessly."""
        return SlotRequests(self._turns(slot))

    def _turns(self, slot: int) -> Iterator[Request]:
        ask = self.asks[self._share.slot(slot) % len(self.asks)]
        for conversation in self._next:
            messages: list[Mapping[str, Any]] = []
            for turn in conversation:
                messages += turn.messages
                yield ask(messages, turn.max_tokens)
                text = self._responses.pop(slot, None)
                if text is None:
                    break
                messages.append({"role": "assistant", "content": text})

    def sent(self, slot: int, _request: Request, /) -> None:
        """Forget the response of the turn before."""
        self._responses.pop(slot, None)

    def responded(self, _slot: int, _at_ns: int, /) -> None:
        """Chunks come as a whole at the end."""

    def ended(
        self,
        slot: int,
        _stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        response: bytes,
        /,
    ) -> Failure | None:
        """Keep the text of a response for the next turn."""
        self._responses[slot] = None if failure else self._text_of(response)
        return failure
