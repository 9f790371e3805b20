"""Presets choose the files that an engine needs, of repositories that hold the same weights several times.

A repository often has weights as safetensors and as PyTorch pickles, beside exports to other formats, or in twenty
quantisations. A preset keeps one of these, and all files that hold no weights: configuration, tokenizer, templates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

SAFETENSORS, GGUF = "safetensors", "gguf"
FORM = "safetensors, gguf or gguf:QUANTISATION"
QUANTISATION = re.compile(
    r"(?:^|[-._/])(?P<name>(?:UD-)?(?:(?:I?Q[1-8]|TQ[12])_[A-Z0-9]+(?:_[A-Z0-9]+)*|BF16|F16|F32|FP16|MXFP4(?:_[A-Z]+)*))"
    r"(?=[-./]|$)",
    re.IGNORECASE,
)
"""How llama.cpp names a quantisation in the name of a file or folder: `Q4_K_M`, `IQ2_XXS`, `UD-Q4_K_XL`, `BF16`."""
WEIGHTS = (
    *(".bin", ".ckpt", ".ggml", ".h5", ".keras", ".mlmodel", ".msgpack", ".npz", ".onnx", ".onnx_data", ".ot", ".pb"),
    *(".pdparams", ".pkl", ".pt", ".pth", ".tflite"),
)
"""Endings of files that hold weights, or the state of a training, in a format that no preset chooses."""
FOLDERS = frozenset({"coreml", "flax", "metal", "onnx", "openvino", "original", "tensorrt", "tf"})
"""Folders of a repository with exports to other formats, and with the weights as they were published first."""
INDEX = re.compile(r"\.(bin|msgpack|h5)\.index\.json$")
SINGLE_FILE = re.compile(r"(?:^|/)consolidated[^/]*\.safetensors(?:\.index\.json)?$")
"""The weights once more, as Mistral's own loader wants them."""
VARIANT = re.compile(r"\.(?:fp16|bf16|fp8|non_ema)(?=[.-][^/]*safetensors)")
"""The weights once more in a lower precision, beside a file of the same name without this part."""
PROJECTOR = re.compile(r"(?:^|/)mmproj[^/]*\.gguf$", re.IGNORECASE)
PROJECTOR_ORDER = ("F16", "FP16", "BF16", "F32")
"""Of several projectors only the first of these is needed."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One of the presets. Its text is what `parse` reads."""

    format: str
    quantisation: str = ""
    """Of GGUF files, in upper case; empty for the only one that there is."""

    @classmethod
    def parse(cls, text: str) -> Preset:
        """Raise ValueError for a text that names no preset."""
        name, separator, quantisation = text.strip().partition(":")
        if name.lower() == SAFETENSORS and not separator:
            return cls(SAFETENSORS)
        if name.lower() == GGUF and (not separator or QUANTISATION.fullmatch(quantisation)):
            return cls(GGUF, quantisation.upper())
        raise ValueError(f"{text!r} is no preset")

    def __str__(self) -> str:
        return f"{self.format}:{self.quantisation}" if self.quantisation else self.format

    def may_want(self, path: str) -> bool:
        """Tell whether the preset may keep a file, whatever other files there are."""
        lower = path.lower()
        if lower.endswith(".gguf"):
            return self.format == GGUF and (self._is_quantised(path) or _is_projector(path))
        if lower.endswith((".safetensors", ".safetensors.index.json")):
            return self.format == SAFETENSORS and not _is_exported(path)
        return not lower.endswith(WEIGHTS) and not INDEX.search(lower) and not _is_exported(path)

    def choose(self, paths: Collection[str]) -> set[str]:
        """Return the paths that the preset keeps; an empty set if none of them holds weights in its format."""
        kept = {path for path in paths if self.may_want(path)}
        if self.format == GGUF:
            weights = {path for path in kept if path.lower().endswith(".gguf") and not _is_projector(path)}
            return kept - _other_projectors(kept) if weights else set()
        kept -= _copies(kept)
        return kept if any(path.lower().endswith(".safetensors") for path in kept) else set()

    def _is_quantised(self, path: str) -> bool:
        return self.quantisation in ("", quantisation_of(path), quantisation_of(path).removeprefix("UD-"))


def quantisation_of(path: str) -> str:
    """Return the quantisation of a GGUF file in upper case, by its name or its folder's; empty if none is named."""
    found = [match["name"].upper() for match in QUANTISATION.finditer(path.rpartition(".")[0])]
    return found[-1] if found else ""


def available(paths: Collection[str]) -> Iterator[Preset]:
    """Yield the presets that keep weights among these paths."""
    quantisations = {quantisation_of(path) for path in _gguf(paths)}
    presets = [Preset(SAFETENSORS), *(Preset(GGUF, name) for name in sorted(quantisations))]
    return (preset for preset in presets if preset.choose(paths))


def ambiguous(preset: Preset, paths: Collection[str]) -> list[str]:
    """Return the quantisations to choose from, where the preset names none and there are several."""
    if preset != Preset(GGUF):
        return []
    quantisations = sorted({quantisation_of(path) for path in _gguf(paths)})
    return quantisations if len(quantisations) > 1 else []


def _gguf(paths: Iterable[str]) -> Iterator[str]:
    return (path for path in paths if path.lower().endswith(".gguf") and not _is_projector(path))


def _is_projector(path: str) -> bool:
    return PROJECTOR.search(path) is not None


def _is_exported(path: str) -> bool:
    return not FOLDERS.isdisjoint(path.lower().split("/")[:-1])


def _other_projectors(paths: Iterable[str]) -> set[str]:
    projectors = sorted(filter(_is_projector, paths))
    for wanted in PROJECTOR_ORDER:
        chosen = [path for path in projectors if quantisation_of(path) == wanted]
        if chosen:
            return set(projectors) - {chosen[0]}
    return set(projectors[1:])


def _copies(paths: set[str]) -> set[str]:
    """Return the safetensors files whose weights are in other ones, too."""
    weights = {path for path in paths if path.endswith(".safetensors")}
    folders = {path.rpartition("/")[0] for path in weights if not SINGLE_FILE.search(path)}
    single = {path for path in paths if SINGLE_FILE.search(path) and path.rpartition("/")[0] in folders}
    variants = {path for path in paths if VARIANT.search(path) and VARIANT.sub("", path, count=1) in paths}
    return single | variants
