"""Train the network that writes dates as ISO 8601: `encoder.onnx`, `decoder.onnx`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript
    python train.py

The dates are made here, in the forms that people write. A fifth of all days from 1950
to 2049 is held back and scores the network.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import date, timedelta
from pathlib import Path

import onnx
import torch
from generate.characters import END, MAX_CHARACTERS, OUT, encode
from torch import nn

SEED = 0
STEPS = 1200
BATCH = 128
WIDTH = 64
HELD_BACK = 200
HERE = Path(__file__).parent
FORMS = (
    "{d} {month} {y}",
    "{month} {d}, {y}",
    "{d} {mon} {y}",
    "{mon} {d} {y}",
    "{d}. {month} {y}",
    "{d}.{m}.{y}",
    "{m}/{d}/{y}",
    "{day}, {d} {month} {y}",
    "the {d} of {month} {y}",
)


class Encoder(nn.Module):
    """int64 (batch, characters) -> memory float32 (batch, characters, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(128, 32)
        self.read = nn.GRU(32, WIDTH // 2, batch_first=True, bidirectional=True)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Read the text in both directions."""
        memory: torch.Tensor = self.read(self.letters(text))[0]
        return memory


class Decoder(nn.Module):
    """One token: last (batch, 1), state (batch, 64), memory -> scores, next state."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(OUT) + 1, 32)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.step = nn.GRUCell(32 + WIDTH, WIDTH)
        self.choose = nn.Linear(2 * WIDTH, len(OUT))

    def forward(
        self, last: torch.Tensor, state: torch.Tensor, memory: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Look at the memory, move the state, score the next character."""
        weights = (self.key(memory) * state.unsqueeze(1)).sum(2).softmax(1)
        seen = (memory * weights.unsqueeze(2)).sum(1)
        moved = self.step(torch.cat([self.letters(last[:, 0]), seen], 1), state)
        return self.choose(torch.cat([moved, seen], 1)), moved


def days(*, held_back: bool) -> list[date]:
    """Return the days of one part."""
    first = date(1950, 1, 1)
    every = [first + timedelta(n) for n in range(36_500)]
    random.Random(SEED).shuffle(every)
    return every[:7300] if held_back else every[7300:]


def pairs(
    generator: random.Random, chosen: list[date], count: int
) -> list[tuple[str, str]]:
    """Return texts of one form, padded to one length, with what they mean."""
    made = []
    for day in generator.choices(chosen, k=count):
        text = generator.choice(FORMS).format(
            d=day.day,
            m=day.month,
            y=day.year,
            month=day.strftime("%B"),
            mon=day.strftime("%b"),
            day=day.strftime("%A"),
        )
        made.append((text, day.isoformat()))
    return made


def train(generator: random.Random) -> tuple[Encoder, Decoder]:
    """Fit both networks; each step knows the right characters before its own."""
    encoder, decoder = Encoder(), Decoder()
    parts = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parts, lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=STEPS)
    chosen = days(held_back=False)
    for number in range(STEPS):
        made = pairs(generator, chosen, BATCH)
        texts = torch.tensor([encode(text) for text, _ in made])
        right = torch.tensor([[OUT.index(c) for c in iso] + [END] for _, iso in made])
        memory, state = encoder(texts), torch.zeros(BATCH, WIDTH)
        last, loss = torch.full((BATCH, 1), len(OUT)), torch.zeros(())
        for at in range(right.shape[1]):
            scores, state = decoder(last, state, memory)
            loss = loss + nn.functional.cross_entropy(scores, right[:, at])
            last = right[:, at : at + 1]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts, 1.0)
        optimizer.step()
        schedule.step()
        if number % 200 == 0:
            sys.stdout.write(f"step {number}: {loss.item() / right.shape[1]:.4f}\n")
            sys.stdout.flush()
    return encoder.eval(), decoder.eval()


def write(encoder: Encoder, decoder: Decoder, texts: list[str]) -> list[str]:
    """Return the most probable characters for each text."""
    memory = encoder(torch.tensor([encode(text) for text in texts]))
    state, last = torch.zeros(len(texts), WIDTH), torch.full((len(texts), 1), len(OUT))
    found = []
    for _ in range(10):
        scores, state = decoder(last, state, memory)
        last = scores.argmax(1, keepdim=True)
        found.append(last)
    rows = torch.cat(found, 1).tolist()
    return ["".join(OUT[n] for n in row if n != END) for row in rows]


def export(model: nn.Module, name: str, given: tuple, names: tuple[list, list]) -> None:
    """Write ONNX with a free batch axis; padding fixes the number of characters."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        model,
        given,
        input_names=names[0],
        output_names=names[1],
        dynamic_shapes=(batch,) * len(given),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    exported = program.model_proto
    for item in (*exported.graph.node, *exported.graph.input, *exported.graph.output):
        del item.metadata_props[:]
    del exported.graph.metadata_props[:], exported.metadata_props[:]
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, HERE / name)


def main() -> None:
    """Train, export, score dates of days that the training did not see."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    generator = random.Random(SEED)
    encoder, decoder = train(generator)
    text = torch.zeros(2, MAX_CHARACTERS, dtype=torch.int64)
    memory = torch.zeros(2, MAX_CHARACTERS, WIDTH)
    export(encoder, "encoder.onnx", (text,), (["text"], ["memory"]))
    step = (torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, WIDTH), memory)
    names = (["last", "state", "memory"], ["scores", "next_state"])
    export(decoder, "decoder.onnx", step, names)
    made = pairs(generator, days(held_back=True), HELD_BACK)
    lines = [json.dumps({"text": text, "date": iso}) for text, iso in made]
    (HERE / "data").mkdir(exist_ok=True)
    (HERE / "data" / "test.jsonl").write_text("\n".join(lines) + "\n")
    with torch.no_grad():
        found = write(encoder, decoder, [text for text, _ in made])
    right = sum(f == iso for f, (_, iso) in zip(found, made, strict=True))
    sys.stdout.write(f"right on {HELD_BACK} held-back dates: {right / HELD_BACK:.4f}\n")


if __name__ == "__main__":
    main()
