"""A real llama.cpp server with a tiny random model: `llama_server.py MODEL [KEY]`.

It runs in an environment of its own (xllamacpp, gguf), prints its URL, and ends with
its standard input.
"""

import sys
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

EMBEDDING, LAYERS, HEADS, FEED_FORWARD = 64, 2, 4, 128
CONTEXT, SLOTS = 4096, 4
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def write_model(path):
    """Write a Llama of 0.1 million random weights, with a token for each byte."""
    special = ["<unk>", "<s>", "</s>"]
    in_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = [*(f"\u2581{letter}" for letter in LETTERS), *LETTERS]
    tokens = special + in_bytes + pieces
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(place) for place in range(len(tokens))])
    kinds = gguf.TokenType
    writer.add_token_types(
        [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
        + [kinds.BYTE] * len(in_bytes)
        + [kinds.NORMAL] * len(pieces)
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    add_weights(writer, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_weights(writer, vocabulary):
    generator = np.random.default_rng(0)
    square = (EMBEDDING, EMBEDDING)
    shapes = {
        "token_embd": (vocabulary, EMBEDDING),
        "output": (vocabulary, EMBEDDING),
        "output_norm": (EMBEDDING,),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm": (EMBEDDING,),
            f"blk.{layer}.ffn_norm": (EMBEDDING,),
            f"blk.{layer}.attn_q": square,
            f"blk.{layer}.attn_k": square,
            f"blk.{layer}.attn_v": square,
            f"blk.{layer}.attn_output": square,
            f"blk.{layer}.ffn_gate": (FEED_FORWARD, EMBEDDING),
            f"blk.{layer}.ffn_up": (FEED_FORWARD, EMBEDDING),
            f"blk.{layer}.ffn_down": (EMBEDDING, FEED_FORWARD),
        }
    for name, shape in shapes.items():
        weights = (
            np.ones(shape)
            if name.endswith("norm")
            else generator.standard_normal(shape) * 0.1
        )
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))


def main():
    model, *keys = sys.argv[1:]
    if not Path(model).exists():
        write_model(model)
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"tiny"}
    params.n_ctx, params.n_parallel = CONTEXT * SLOTS, SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = keys
    params.warmup = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
