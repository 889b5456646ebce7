"""Made recordings of a motor: vibration, current and temperature, 100 times a second.

A recording is float32, shape (length, 3). An anomaly changes 150 samples of it.
"""

import numpy as np

RATE = 100
ANOMALY = 150  # samples
KINDS = ("bearing", "stuck", "overload", "heat")


def motor(generator: np.random.Generator, length: int) -> np.ndarray:
    """Make a recording of a motor that is well: its speed and load vary."""
    time = np.arange(length)
    turn, wave, slow = generator.uniform(0, 2 * np.pi, 3)
    speed = 5 + 0.5 * np.sin(2 * np.pi * time / 2000 + slow)
    phase = turn + np.cumsum(2 * np.pi * speed / RATE)
    load = drift(generator, length, keep=0.99)
    vibration = np.sin(phase) + 0.4 * np.sin(3 * phase + wave)
    current = 0.6 * load + 0.3 * np.sin(phase)
    temperature = drift(generator, length, keep=0.999)
    noise = generator.normal(0, 0.08, (length, 3))
    return np.float32(np.stack([vibration, current, temperature], 1) + noise)


def drift(generator: np.random.Generator, length: int, *, keep: float) -> np.ndarray:
    """Return a random walk of variance 1 that returns to 0."""
    steps = generator.normal(0, np.sqrt(1 - keep**2), length)
    value, values = generator.normal(), np.empty(length)
    for at, step in enumerate(steps):
        value = keep * value + step
        values[at] = value
    return values


def break_motor(
    generator: np.random.Generator, recording: np.ndarray, kind: str
) -> tuple[np.ndarray, int]:
    """Put one anomaly into a copy of a recording; return it, and where it starts."""
    broken = recording.copy()
    start = int(generator.integers(len(broken) // 3, len(broken) - ANOMALY))
    part = broken[start : start + ANOMALY]
    time = np.arange(ANOMALY)
    if kind == "bearing":  # an overtone that a motor does not have
        part[:, 0] += 0.7 * np.sin(2 * np.pi * 0.23 * time)
    elif kind == "stuck":  # the sensor of the vibration repeats its last value
        part[:, 0] = part[0, 0]
    elif kind == "overload":  # the current jumps
        part[:, 1] += 1.5
    else:  # the temperature jumps
        part[:, 2] += 1.0
    return broken, start
