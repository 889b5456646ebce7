"""Made interactions: which items users took, one after the other.

A user likes three of 250 topics, most often of one theme; a topic has 100 items of
different popularity. Item numbers say nothing of this. The same number gives the same
user: the training draws users 0 to 39,999, the scoring users from 1,000,000 on.
"""

from __future__ import annotations

import numpy as np

TOPICS, PER_TOPIC, PER_THEME = 250, 100, 10
ITEMS = TOPICS * PER_TOPIC
HISTORY = 20
HELD_BACK = 1_000_000
_NUMBERS = np.random.default_rng(0).permutation(ITEMS).reshape(TOPICS, PER_TOPIC)
_RANKS = (1 / (np.arange(PER_TOPIC) + 4)).cumsum() / (
    1 / (np.arange(PER_TOPIC) + 4)
).sum()
_FAME = np.random.default_rng(1).dirichlet(np.full(TOPICS, 2.0))


def user(number: int) -> np.ndarray:
    """Return 21 different items in the order in which a user took them, int64."""
    draw = np.random.default_rng(number)
    topics = draw.choice(TOPICS, 3, p=_FAME)
    theme = topics[0] // PER_THEME * PER_THEME
    for at in (1, 2):
        if draw.random() < 0.7:
            topics[at] = theme + draw.integers(PER_THEME)
    shares = draw.dirichlet(np.ones(3))
    drawn = 4 * HISTORY
    liked = topics[draw.choice(3, drawn, p=shares)]
    other = draw.choice(TOPICS, drawn, p=_FAME)
    topic = np.where(draw.random(drawn) < 0.85, liked, other)
    items = _NUMBERS[topic, np.searchsorted(_RANKS, draw.random(drawn))]
    _, first = np.unique(items, return_index=True)
    return items[np.sort(first)][: HISTORY + 1]
