"""Train both stages, write `retrieve.onnx`, `rank.onnx`, `data/` and `samples/`.

The kit ships the results; this script is how to get them again:

    pip install torch==2.13.0 onnx==1.23.2 onnxscript
    python train.py

The first stage learns an embedding of every item: the mean of what a user took points
to what the user takes next. The second scores the 200 best of 25,000 items by their
likeness to each item of the history. 2,000 other users score both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from interactions import HELD_BACK, HISTORY, ITEMS, user
from torch import nn

SEED = 0
USERS, RANK_USERS = 30_000, 10_000
WIDTH = 32
CANDIDATES = 200
BEST = 10
STEPS, RANK_STEPS = 3000, 1000
BATCH, RANK_BATCH = 1024, 64
HERE = Path(__file__).parent


class Retrieve(nn.Module):
    """History int64 (batch, 20) -> the 200 best items and their embeddings.

    A row of an embedding is its 32 values and a bias, the popularity. Numbers that are
    no item, such as the padding -1, count as nothing; without any item, the most
    popular ones are the best.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(ITEMS + 1, WIDTH) * 0.1)
        self.bias = nn.Parameter(torch.zeros(ITEMS + 1))
        self.register_buffer("whole", torch.zeros(ITEMS + 1, WIDTH, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(ITEMS + 1, 1, dtype=torch.half))
        self.register_buffer("fame", torch.zeros(ITEMS + 1, dtype=torch.half))

    def quantize(self) -> None:
        """Round each row to 8 bits with a scale: a table of a fourth of the size."""
        with torch.no_grad():
            self.scale = (self.table.abs().amax(1, keepdim=True) / 127).half()
            self.whole = (self.table / self.scale).round().clamp(-127, 127).char()
            self.fame = self.bias.half()

    def embedded(self, items: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of items, (..., 32)."""
        return self.whole[items].float() * self.scale[items].float()

    def rows(self, history: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the row of each item of the history, and 1 where it is one, else 0."""
        is_item = (history >= 0) & (history < ITEMS)
        return torch.where(is_item, history, ITEMS), is_item.float()[..., None]

    def forward(
        self, history: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return candidates, their embeddings (200, 33), the history's (20, 33)."""
        at, known = self.rows(history)
        table = self.whole.float() * self.scale.float()
        past = self.embedded(at)
        mean = (past * known).sum(1) / known.sum(1).clamp(1)
        scores = (mean @ table.T + self.fame.float()).scatter(1, at, -1e9)
        _, candidates = scores[:, :ITEMS].topk(CANDIDATES)
        fame = self.fame[candidates].float()[..., None]
        found = torch.cat([self.embedded(candidates), fame], -1)
        return candidates, found, torch.cat([past, known], -1)


class Rank(nn.Module):
    """Candidates and embeddings of `Retrieve` -> the ten best items, with scores."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))

    def scores(self, found: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        """Return the score of each candidate, (batch, 200)."""
        known = past[..., WIDTH:].transpose(1, 2)
        likeness = found[..., :WIDTH] @ past[..., :WIDTH].transpose(1, 2) * known
        count = known.sum(-1).clamp(1)
        best, _ = likeness.topk(6, -1)
        mean, fame = likeness.sum(-1) / count, found[..., WIDTH]
        features = torch.stack(
            [mean, best[..., 0], best[..., 2], best.mean(-1), fame], -1
        )
        scores: torch.Tensor = mean + fame + self.layers(features / 4)[..., 0]
        return scores

    def forward(
        self, candidates: torch.Tensor, found: torch.Tensor, past: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ten best candidates, and their probabilities among all of them."""
        scores, at = self.scores(found, past).softmax(1).topk(BEST)
        return candidates.gather(1, at), scores


def train_retrieve(users: torch.Tensor, draw: np.random.Generator) -> Retrieve:
    """Let the mean of a user's items choose the next one among those of others."""
    model = Retrieve()
    counts = torch.bincount(users.flatten(), minlength=ITEMS + 1).float()
    chance = ((counts + 1) / (counts + 1).sum()).log()
    with torch.no_grad():
        model.bias.copy_(chance - chance.mean())
    optimizer = torch.optim.Adam([model.table, model.bias], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        some = users[torch.from_numpy(draw.integers(0, len(users), BATCH))]
        length = int(draw.integers(1, HISTORY + 1))
        begin = int(draw.integers(0, HISTORY + 1 - length))
        next_items = some[:, begin + length]
        mean = model.table[some[:, begin : begin + length]].mean(1)
        scores = mean @ model.table[next_items].T + model.bias[next_items]
        scores = scores - chance[next_items]  # famous items are drawn more often
        same = (next_items[:, None] == next_items) & ~torch.eye(BATCH, dtype=torch.bool)
        loss = nn.functional.cross_entropy(
            scores.masked_fill(same, -1e9), torch.arange(BATCH)
        )
        loss = loss + 1e-4 * mean.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        tell(step, STEPS, loss)
    model.quantize()
    return model.eval()


def train_rank(
    retrieve: Retrieve, users: torch.Tensor, draw: np.random.Generator
) -> Rank:
    """Let the second stage choose the next item among the candidates of the first."""
    torch.manual_seed(SEED)
    model = Rank()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, RANK_STEPS)
    for step in range(RANK_STEPS):
        some = users[torch.from_numpy(draw.integers(0, len(users), RANK_BATCH))]
        with torch.no_grad():
            candidates, found, past = retrieve(some[:, :HISTORY])
        is_next = candidates == some[:, HISTORY:]
        has_next = is_next.any(1)
        scores = model.scores(found[has_next], past[has_next])
        loss = nn.functional.cross_entropy(scores, is_next[has_next].int().argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        tell(step, RANK_STEPS, loss)
    return model.eval()


def tell(step: int, steps: int, loss: torch.Tensor) -> None:
    """Print the loss now and then."""
    if step % 200 == 0:
        sys.stdout.write(f"step {step} of {steps}: loss {loss:.3f}\n")
        sys.stdout.flush()


def export(
    model: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], path: Path
) -> None:
    """Write ONNX with a free batch axis, without this machine's paths in it."""
    program = torch.onnx.export(
        model,
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in inputs),
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


def main() -> None:
    """Train, export, score the held-back users."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    users = torch.from_numpy(np.stack([user(number) for number in range(USERS)]))
    retrieve = train_retrieve(users, np.random.default_rng(SEED))
    # The first stage knows what its own users took next: the second needs others.
    others = np.stack([user(USERS + number) for number in range(RANK_USERS)])
    rank = train_rank(retrieve, torch.from_numpy(others), np.random.default_rng(SEED))
    some = users[:2, :HISTORY]
    with torch.no_grad():
        between = retrieve(some)
    names = ["candidates", "embeddings", "profile"]
    export(retrieve, {"history": some}, names, HERE / "retrieve.onnx")
    given = dict(zip(names, between, strict=True))
    export(rank, given, ["items", "scores"], HERE / "rank.onnx")
    counts = np.bincount(users.flatten(), minlength=ITEMS)
    popular = np.argsort(-counts, kind="stable")[: HISTORY + BEST]
    np.savez_compressed(HERE / "data" / "popular.npz", items=popular)
    held_back = np.stack([user(HELD_BACK + number) for number in range(2000)])
    np.savez_compressed(
        HERE / "samples" / "users.npz", history=held_back[:256, :HISTORY]
    )
    found = {"history": held_back[:, :HISTORY]}
    for name in ("retrieve", "rank"):  # as they are served
        session = onnxruntime.InferenceSession(str(HERE / f"{name}.onnx"))
        outputs = [output.name for output in session.get_outputs()]
        found = dict(zip(outputs, session.run(None, found), strict=True))
    hits = (found["items"] == held_back[:, HISTORY:]).any(1).mean()
    sys.stdout.write(f"hit rate at 10 of 2,000 held-back users: {hits:.3f}\n")


if __name__ == "__main__":
    main()
