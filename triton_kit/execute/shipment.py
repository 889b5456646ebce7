"""What a spec reads from files, sent along: its paths become those of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from triton_kit.execute.parcel import Parcel, digest_of_file, files_below
from triton_kit.loadtest.spec import PerfSpec


@dataclass(frozen=True, slots=True)
class Shipment:
    """Files and folders of this machine, each as a parcel with a name of its own.

    Attributes:
        parcels: by name.
        names: of the parcel, and the file in it that a path means ("" for a folder).
        contents: the path of each content, by its digest.
    """

    parcels: Mapping[str, Parcel]
    names: Mapping[str, tuple[str, str]]
    contents: Mapping[str, Path]

    def path_on(self, folder: str, path: str) -> str:
        """Return what a path of this machine is on a node; others stay as they are."""
        if path not in self.names:
            return path
        parcel, file = self.names[path]
        return str(Path(folder, parcel, file))


def pack(
    paths: Sequence[str], chosen: Mapping[str, Mapping[str, Path]] | None = None
) -> Shipment:
    """Read the digests of files and folders.

    Args:
        paths: of files, and of folders with all that is in them.
        chosen: further folders, with those of their files that are sent, by their
            names below the folder.
    """
    parcels: dict[str, Parcel] = {}
    names: dict[str, tuple[str, str]] = {}
    contents: dict[str, Path] = {}
    chosen = chosen or {}
    for number, text in enumerate(dict.fromkeys((*paths, *chosen))):
        path = Path(text)
        files = chosen.get(text)
        if files is None:
            files = files_below(path, skip=lambda _: False)
        digests = {name: digest_of_file(file) for name, file in files.items()}
        contents |= {digests[name]: file for name, file in files.items()}
        parcels[str(number)] = Parcel(digests)
        names[text] = (str(number), path.name if path.is_file() else "")
    return Shipment(parcels, names, contents)


def files_of(spec: PerfSpec) -> list[str]:
    """Return the files and folders that a load process reads."""
    words = [spec.input_data] if isinstance(spec.input_data, str) else spec.input_data
    found = [path for word in words for path in (word, word.partition(":")[2])]
    if spec.generation and spec.generation.tokenizer:
        found.append(str(spec.generation.tokenizer))
    if tls := spec.transport.tls:
        found += [tls.authorities, tls.certificate, tls.key]
    return [path for path in found if path and Path(path).exists()]


def spec_on(spec: PerfSpec, shipment: Shipment, folder: str) -> PerfSpec:
    """Return the spec with the paths that its files have on a node."""

    def moved(path: str) -> str:
        return shipment.path_on(folder, path)

    def moved_word(word: str) -> str:
        name, colon, path = word.partition(":")
        return moved(word) if word in shipment.names else f"{name}{colon}{moved(path)}"

    data = spec.input_data
    generation, transport = spec.generation, spec.transport
    if generation and generation.tokenizer:
        tokenizer = Path(moved(str(generation.tokenizer)))
        generation = replace(generation, tokenizer=tokenizer)
    if tls := transport.tls:
        tls = replace(
            tls,
            authorities=moved(tls.authorities),
            certificate=moved(tls.certificate),
            key=moved(tls.key),
        )
        transport = replace(transport, tls=tls)
    return replace(
        spec,
        input_data=moved_word(data)
        if isinstance(data, str)
        else tuple(map(moved_word, data)),
        generation=generation,
        transport=transport,
    )
