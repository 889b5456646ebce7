"""`scripts/bench convert`: a ResNet-50-shaped network, before and after conversion.

torch eager, its ONNX export, and what the kit makes of that in fp32 and int8, run on
this CPU in turns; what the conversions cost, beside the bare calls of the libraries.
Brings torch along if there is none. Wants nothing else to run; what others used is
shown beside every figure.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import report
from tools import CACHE, provide_torch
from watch import run

HERE = Path(__file__).parent
BATCHES = (1, 16)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench convert", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="at least 5")
    parser.add_argument("--conversions", type=int, default=3, help="rounds of those")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--quick", action="store_true", help="2 rounds, 1 conversion, small batches"
    )
    parser.add_argument(
        "--faults",
        nargs="*",
        metavar="NAME",
        help="the gate against planted faults instead, on five networks or these",
    )
    parser.add_argument(
        "--networks",
        nargs="*",
        metavar="NAME",
        help="networks that packages ship in every precision instead; all or these",
    )
    parser.add_argument(
        "--only-time",
        action="store_true",
        help="with --networks: time the artifacts of an earlier run again",
    )
    parser.add_argument("--out", type=Path, default=CACHE / "results")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.conversions = 2, 1
    elif options.rounds < 5:
        parser.error("--rounds: at least 5, or --quick")
    return options


def environment(options):
    import onnxruntime
    import torch

    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "cpus": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "has_vnni": bool({"avx512_vnni", "avx_vnni", "amx_int8"} & set(flags)),
        "load_average": os.getloadavg(),
    }


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.faults is not None or options.networks is not None:
        shipped_networks(options)
        return
    started_s = time.monotonic()
    os.environ.update(provide_torch(say))
    with tempfile.TemporaryDirectory(prefix="triton-kit-bench-") as scratch:
        results = bench(Path(scratch), options)
    results["minutes"] = (time.monotonic() - started_s) / 60
    text = json.dumps(results, indent=1)
    (options.out / "convert.json").write_text(text + "\n")
    (options.out / "convert.md").write_text(report.markdown(results))
    say((options.out / "convert.md").read_text())
    say(f"written to {options.out}")


def shipped_networks(options):
    """Run what needs networks from packages, and no torch."""
    if options.faults is not None:
        import faults

        text = faults.markdown(faults.main(say, options.faults))
        (options.out / "faults.md").write_text(text + "\n")
        say(text)
    if options.networks is not None:
        import network_table

        rows = network_table.main(
            say, options.out, options.networks, only_time=options.only_time
        )
        say(network_table.markdown(rows))


def bench(folder, options):
    import resnet
    import speed
    import torch

    from triton_kit.conversion.sources.torch import onnx_from_torch
    from triton_kit.conversion.spec import ConvertSpec

    torch.set_num_threads(options.threads)
    say("training the network, unless it is in the cache ...")
    module = resnet.resnet50()
    most = 4 if options.quick else max(BATCHES)
    shapes = [f"{count}x3x{resnet.SIZE}x{resnet.SIZE}" for count in (1, 4, most)]
    results = {"environment": environment(options)}
    original = folder / "original.onnx"
    shape = {"input": shape_range(resnet.SIZE, most)}
    spec = ConvertSpec(
        source="resnet:make", output=folder / "none", profiles=(shape,), root=HERE
    )
    exported = onnx_from_torch(spec, folder)
    original = exported.rename(folder / "original.onnx")
    samples = write_samples(folder, most)
    results["conversions"] = list(conversions(folder, options, shapes, samples))
    paths = {
        "original ONNX": original,
        "converted fp32": folder / "fp32" / "model.onnx",
        "converted int8": folder / "int8" / "model.onnx",
    }
    results["bytes"] = {name: path.stat().st_size for name, path in paths.items()}
    results["served"] = {
        name: speed.operators_served(path, folder) for name, path in paths.items()
    }
    results["accuracy"] = {
        p: json.loads((folder / p / "manifest.json").read_text())["accuracy"]
        for p in ("fp32", "int8")
    }
    functions = speed.variants(module, paths, options.threads)
    images = resnet.images(most, resnet.SIZE, seed=20_000)[0]
    results["speed"] = {}
    for batch in (1, most):
        say(f"batch {batch}: {options.rounds} rounds of {len(functions)} variants ...")
        spent = speed.measured(functions, images[:batch], options.rounds)
        results["speed"][batch] = {
            name: [asdict(one) for one in found] for name, found in spent.items()
        }
    return results


def shape_range(size, most):
    """Return the shapes of the network's input: one image, four, and `most`."""
    from triton_kit.options.shapes import ShapeRange

    least, best, largest = ((count, 3, size, size) for count in (1, 4, most))
    return ShapeRange(min=least, opt=best, max=largest)


def write_samples(folder, count):
    """Write what int8 is calibrated and judged on: different images."""
    import numpy as np
    import resnet

    paths = []
    for name, seed in (("calibration", 30_000), ("verify", 20_000)):
        paths.append(folder / f"{name}.npz")
        np.savez(paths[-1], input=resnet.images(count, resnet.SIZE, seed=seed)[0])
    return paths


def conversions(folder, options, shapes, samples):
    """Yield what each conversion took, interleaved with the bare calls.

    Both are programs of their own, so that start and imports count on either side.
    """
    calibration, verify = samples
    source = str(folder / "original.onnx")
    # The gate adds a feed of equal rows, of the largest shape.
    bare = [sys.executable, str(HERE / "bare.py"), source, str(folder), *shapes]
    ours = [sys.executable, "-m", "triton_kit", "convert", source]
    ours += ["--shape", f"input:{','.join(shapes)}"]
    int8 = ["--calibration", str(calibration), "--verify-data", str(verify)]
    programs = {
        "bare libraries": [*bare, shapes[-1]],
        "fp32": [*ours, "-o", str(folder / "fp32"), "--precision", "fp32"],
        "int8": [*ours, "-o", str(folder / "int8"), "--precision", "int8", *int8],
    }
    for number in range(options.conversions):
        for name, argv in programs.items():
            if name == "int8" and number:
                continue  # it has nothing to be compared with
            say(f"conversion {number + 1}: {name} ...")
            yield {"name": name} | asdict(run(argv))


if __name__ == "__main__":
    main()
