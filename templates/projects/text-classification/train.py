"""Train the tokenizer and the classifier; write `topics.onnx`, `tokenize/`, `data/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript tokenizers
    python train.py [--seeds 5]

The training's messages are made from the phrases in `phrases.py`. The messages in
`data/test.txt` were written apart from those, and only score the finished network:
nothing was chosen by their score. The network of seed 0 is the one that is kept.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import onnx
import torch
from phrases import ASIDES, CLOSINGS, GREETINGS, PLACES, PRODUCTS, TOPICS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import WordPieceTrainer
from torch import nn

STEPS = 200
BATCH = 32
WIDTH, HEADS, MOST_TOKENS, VOCABULARY = 48, 4, 128, 700
HERE = Path(__file__).parent


class Topics(nn.Module):
    """One transformer layer: int64 (batch, tokens), padded with 0.

    Returns float32 probabilities (batch, topics) and embeddings (batch, 48), length 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Parameter(torch.randn(MOST_TOKENS, WIDTH) * 0.02)
        self.drop = nn.Dropout(0.2)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.attend = nn.Linear(WIDTH, 3 * WIDTH)
        self.join = nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.choose = nn.Linear(WIDTH, len(TOPICS))

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Padding has no part in the attention nor in the mean."""
        mask = (ids != 0).float()
        values = self.drop(self.words(ids)) + self.places[: ids.shape[1]]
        values = values + self.attention(self.norms[0](values), mask)
        values = values + self.think(self.norms[1](values))
        total = (values * mask.unsqueeze(2)).sum(1)
        mean = total / mask.sum(1, keepdim=True).clamp(min=1)
        embedding = mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return self.choose(embedding * 8).softmax(1), embedding

    def attention(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Let every token look at every token that is no padding."""
        batch, tokens, _ = values.shape
        parts = self.attend(values).view(batch, tokens, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) / (WIDTH // HEADS) ** 0.5
        scores = scores + (mask[:, None, None, :] - 1) * 1e4
        mixed = scores.softmax(3) @ value
        joined: torch.Tensor = self.join(mixed.transpose(1, 2).reshape(values.shape))
        return joined


def messages(generator: random.Random, count: int) -> list[tuple[str, int]]:
    """Make messages with their topics, from the phrases."""
    made = []
    for number in range(count):
        topic = number % len(TOPICS)
        phrases = list(TOPICS.values())[topic]
        chosen = generator.sample(phrases, generator.choice((1, 1, 2)))
        parts = [generator.choice(GREETINGS), *chosen]
        if generator.random() < 0.5:
            parts.insert(generator.randint(1, len(parts)), generator.choice(ASIDES))
        parts.append(generator.choice(CLOSINGS))
        text = " ".join(part for part in parts if part)
        product, place = generator.choice(PRODUCTS), generator.choice(PLACES)
        made.append((text.format(product=product, place=place), topic))
    return made


def fit_tokenizer(texts: list[str]) -> Tokenizer:
    """Train WordPiece: pieces of words, lower case, without accents."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.enable_truncation(MOST_TOKENS)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """Return ids, padded to the longest text with 0."""
    tokenizer.enable_padding(pad_to_multiple_of=16)
    return torch.tensor([e.ids for e in tokenizer.encode_batch(texts)])


def train(tokenizer: Tokenizer, generator: random.Random) -> Topics:
    """Fit the network to new messages in each step, with a few words left out."""
    model = Topics()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=5e-2)
    for _ in range(STEPS):
        made = messages(generator, BATCH)
        ids = encode(tokenizer, [text for text, _ in made])
        ids = torch.where(torch.rand(ids.shape) < 0.15, torch.clamp(ids, max=1), ids)
        labels = torch.tensor([topic for _, topic in made])
        loss = nn.functional.nll_loss((model(ids)[0] + 1e-7).log(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def export(model: Topics, path: Path) -> None:
    """Write ONNX with free batch and token axes, without this machine's paths in it."""
    program = torch.onnx.export(
        model,
        (torch.ones(2, 16, dtype=torch.int64),),
        input_names=["ids"],
        output_names=["topic", "sentence_embedding"],
        dynamic_shapes=(
            {
                0: torch.export.Dim("batch"),
                1: torch.export.Dim("tokens", max=MOST_TOKENS),
            },
        ),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    exported = program.model_proto
    for item in (*exported.graph.node, *exported.graph.input, *exported.graph.output):
        del item.metadata_props[:]
    del exported.graph.metadata_props[:], exported.metadata_props[:]
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def held_back() -> tuple[list[str], torch.Tensor]:
    """Return the texts that score the network, and their topics."""
    lines = (HERE / "data" / "test.txt").read_text().splitlines()
    topics, texts = zip(*(line.split("\t") for line in lines), strict=True)
    return list(texts), torch.tensor([list(TOPICS).index(name) for name in topics])


def fit(seed: int) -> tuple[Tokenizer, Topics, float]:
    """Train with one seed; return the share of right topics of held-back messages."""
    torch.manual_seed(seed)
    generator = random.Random(seed)
    sample = [text for text, _ in messages(generator, 2000)]
    tokenizer = fit_tokenizer(sample)
    model = train(tokenizer, generator)
    texts, topics = held_back()
    with torch.no_grad():
        found = model(encode(tokenizer, texts))[0].argmax(1)
    return tokenizer, model, (found == topics).float().mean().item()


def main() -> None:
    """Train, score, and write what the first seed gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="number of trainings")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for seed in range(parser.parse_args().seeds):
        tokenizer, model, right = fit(seed)
        sys.stdout.write(f"seed {seed}: {right:.2f} of the held-back messages right\n")
        if seed == 0:
            export(model, HERE / "topics.onnx")
            tokenizer.no_padding()
            tokenizer.save(str(HERE / "tokenize" / "tokenizer.json"), pretty=False)
            (HERE / "labels.txt").write_text("\n".join(TOPICS) + "\n")


if __name__ == "__main__":
    main()
