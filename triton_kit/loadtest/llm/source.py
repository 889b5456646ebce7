"""The requests of a load on a language model, and how to read its responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triton_kit.errors import SpecError
from triton_kit.loadtest.http.openai_events import text_in, usage_in
from triton_kit.loadtest.llm.prompts import Conversation, Message, conversations
from triton_kit.loadtest.llm.sessions import AskNext, Sessions
from triton_kit.loadtest.llm.tokens import Tokenizer
from triton_kit.loadtest.llm.triton_model import prompt_inputs
from triton_kit.loadtest.loops.generations import ReadUsage
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.transport_spec import OPENAI_ENDPOINTS
from triton_kit.triton.model import ModelInfo

if TYPE_CHECKING:
    from triton_kit.loadtest.client.protocol import Protocol
    from triton_kit.loadtest.generation_spec import GenerationSpec
    from triton_kit.loadtest.spec import PerfSpec

_OUTPUT = "text_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSource:
    """What a load on a language model sends.

    Attributes:
        requests: taken in turn, where every conversation has one turn.
        sessions: the turns of each slot, where some have more.
    """

    requests: Sequence[Request] = ()
    sessions: Sessions | None = None


def encode_generations(
    spec: PerfSpec, model: ModelInfo, protocol: Protocol
) -> GenerationSource:
    """Encode the prompts that `spec` asks for.

    Raises:
        SpecError: prompts cannot be read, or the model takes none.
    """
    generation = _checked(spec, model, protocol)
    tokenizer = Tokenizer(generation.tokenizer) if generation.tokenizer else None
    words = (spec.input_data,) if isinstance(spec.input_data, str) else spec.input_data
    found = conversations(words, generation, seed=spec.seed, tokenizer=tokenizer)
    ask = _encoder(spec, model, protocol)
    if any(len(turns) > 1 for turns in found):
        if protocol.ask is None:
            raise SpecError(
                "sessions of several turns need an endpoint with a history",
                hint="--endpoint chat, or prompts of one turn",
            )
        return GenerationSource(sessions=Sessions(found, [ask], text_in))
    return GenerationSource(requests=[_only(ask, turns) for turns in found])


def _checked(spec: PerfSpec, model: ModelInfo, protocol: Protocol) -> GenerationSpec:
    assert spec.generation is not None
    if not protocol.is_stream:
        raise SpecError(
            f"prompts for {model.name!r} need a response token by token",
            hint="--endpoint chat, completions or generate_stream, or -i grpc "
            "--streaming",
        )
    return spec.generation


def _only(ask: AskNext, turns: Conversation) -> Request:
    return ask(turns[0].messages, turns[0].max_tokens)


def _encoder(spec: PerfSpec, model: ModelInfo, protocol: Protocol) -> AskNext:
    """Return what encodes the messages of a conversation for this model."""
    assert spec.generation is not None
    ask, extra = protocol.ask, spec.generation.extra
    if ask is not None:
        return lambda messages, limit: ask(model, messages, limit, extra)

    def ask_model(messages: Sequence[Message], limit: int | None) -> Request:
        text = "\n".join(str(message.get("content", "")) for message in messages)
        return protocol.encode(model, prompt_inputs(model, text, limit, extra), {})

    return ask_model


def usage_reader(spec: PerfSpec) -> ReadUsage:
    """Return what finds the usage in a response; only the OpenAI API has it."""
    if spec.transport.endpoint in OPENAI_ENDPOINTS:
        return usage_in
    return lambda _response: None


def token_counter(spec: PerfSpec) -> Callable[[bytes], int] | None:
    """Return what counts the tokens of a response, if there is a tokenizer."""
    generation = spec.generation
    if generation is None or generation.tokenizer is None:
        return None
    tokenizer = Tokenizer(generation.tokenizer)
    read = _text_reader(spec)
    return lambda response: tokenizer.count(read(response))


def _text_reader(spec: PerfSpec) -> Callable[[bytes], str]:
    from triton_kit.loadtest.client import decode

    if spec.transport.endpoint in OPENAI_ENDPOINTS:
        return text_in
    is_grpc = spec.protocol == "grpc"
    outputs_in = decode.decode_grpc_stream if is_grpc else decode.decode_events

    def text(response: bytes) -> str:
        outputs = outputs_in(response)
        strings = [array for array in outputs.values() if array.dtype == object]
        array = outputs.get(_OUTPUT, strings[0] if strings else None)
        if array is None:
            return ""
        return b"".join(array.ravel().tolist()).decode(errors="replace")

    return text
