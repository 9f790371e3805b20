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
    r"(?:^|[-._/])(?P<name>(?:UD-)?(?:I?Q[1-8](?:_[A-Z0-9]+)*|TQ[12]_[A-Z0-9]+|I2_S|BF16|FP?16|FP?32|(?:MX|NV)FP4(?:_[A-Z]+)*))"
    r"(?=[-./]|$)",
    re.IGNORECASE,
)
"""How llama.cpp names a quantisation in the name of a file or folder: `Q4_K_M`, `IQ2_XXS`, `UD-Q4_K_XL`, `BF16`."""
UNSLOTH = "UD-"
"""Stands before a quantisation that differs from layer to layer."""
GGUF_FILE = re.compile(r"\.gguf(?:[.-](?:part|split)[^/]*)?$", re.IGNORECASE)
"""Also the parts of a file that was too large for the Hub once: `m.Q8_0.gguf.part1of2`, `m.Q8_0.gguf-split-a`."""
IMPORTANCE = re.compile(r"imatrix[^/]*\.(?:gguf(?:_file)?|dat)$|\.imatrix$", re.IGNORECASE)
"""The importance matrix that a quantisation was made with. No engine reads it."""
PROJECTOR = re.compile(r"(?:^|[-._/])mmproj[^/]*\.gguf$", re.IGNORECASE)
PROJECTOR_ORDER = ("F16", "BF16", "F32")
"""Of several projectors only the first of these is needed."""
SAFETENSORS_FILE = re.compile(r"\.safetensors(?:\.index(?:\.\w+)?\.json)?$", re.IGNORECASE)
"""Weights, and the index of their shards."""
WEIGHTS = (
    *(".bin", ".ckpt", ".distcp", ".engine", ".ggml", ".h5", ".keras", ".litertlm", ".llamafile", ".mlmodel"),
    *(".msgpack", ".nemo", ".npz", ".onnx", ".onnx.data", ".onnx_data", ".ot", ".pb", ".pdparams", ".pkl", ".pt"),
    *(".pth", ".task", ".tflite"),
)
"""Endings of files that hold weights, or the state of a training, in a format that no preset chooses."""
MORE_WEIGHTS = re.compile(
    r"\.(?:bin|msgpack|h5)\.index(?:\.\w+)?\.json$|\.onnx_data_\d+$|\.ckpt\.(?:data-[0-9-]+of-\d+|index|meta)$"
    r"|(?:^|/)openvino[^/]*\.xml$|\.ml(?:package|modelc)/"
)
NO_WEIGHTS = re.compile(
    r"(?:^|[-._/])(?:vocab|tokenizer|merges|spm)[^/]*\.(?:bin|pkl)$|(?:^|/)language_model/[^/]*\.bin$"
)
"""Tokenizers, and the n-grams of a speech model, with the ending of weights."""
FOLDERS = frozenset({"coreml", "flax", "metal", "onnx", "openvino", "original", "tensorrt", "tf"})
"""Folders of a repository with exports to other formats, and with the weights as they were published first."""
SINGLE_FILE = re.compile(r"(?:^|/)consolidated[^/]*\.safetensors(?:\.index\.json)?$")
"""The weights once more, as Mistral's own loader wants them."""
VARIANT = re.compile(r"\.(?:fp16|bf16|fp32|fp8|non_ema)(?=[.-])")
"""The weights once more in another precision, beside files of the same name without this part."""
SHARD = re.compile(r"-\d+-of-\d+|\.index|\.json$")
CHECKPOINT = re.compile(r"(?:^|/)checkpoint-\d+/")
"""What a trainer saves on its way, beside the result."""
COMPONENTS = ("model_index.json", "modules.json")
"""Diffusers and sentence-transformers: the folder holds components, each in a folder with a `config.json`."""
COMPONENT_FILE = re.compile(r".*/(?:diffusion_)?pytorch_model[^/]*\.bin$")


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
        if name.lower() == GGUF and (not separator or QUANTISATION.fullmatch(f"-{quantisation}")):
            return cls(GGUF, _standard(quantisation))
        raise ValueError(f"{text!r} is not a preset")

    def __str__(self) -> str:
        return f"{self.format}:{self.quantisation}" if self.quantisation else self.format

    def may_want(self, path: str) -> bool:
        """Tell whether the preset may keep a file, whatever other files there are."""
        lower = path.lower()
        if IMPORTANCE.search(lower):
            return False
        if GGUF_FILE.search(lower):
            return self.format == GGUF and (self._is_quantised(path) or _is_projector(path))
        if _is_exported(lower):
            return False
        if SAFETENSORS_FILE.search(lower):
            return self.format == SAFETENSORS
        if self.format == SAFETENSORS and COMPONENT_FILE.fullmatch(lower):
            return True
        return NO_WEIGHTS.search(lower) is not None or not _holds_weights(lower)

    def choose(self, paths: Collection[str]) -> set[str]:
        """Return the paths that the preset keeps; an empty set if none of them holds weights in its format."""
        kept = {path for path in paths if self.may_want(path)}
        if self.format == GGUF:
            weights = set(_gguf(kept))
            exact = {path for path in weights if quantisation_of(path) == self.quantisation}
            kept -= weights - exact if exact else set()
            return kept - _other_projectors(kept) if weights else set()
        weights = {path for path in kept if path.lower().endswith(".safetensors")}
        kept -= _pickles(kept, weights) | _copies(kept, weights)
        return kept if weights else set()

    def _is_quantised(self, path: str) -> bool:
        return self.quantisation in ("", quantisation_of(path), quantisation_of(path).removeprefix(UNSLOTH))


def quantisation_of(path: str) -> str:
    """Return the quantisation of a GGUF file in upper case, by its name or its folder's; empty if none is named."""
    found = [_standard(match["name"]) for match in QUANTISATION.finditer(GGUF_FILE.sub("", path))]
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


def _standard(quantisation: str) -> str:
    return re.sub(r"^FP(?=16|32)", "F", quantisation.upper())


def _gguf(paths: Iterable[str]) -> Iterator[str]:
    """Yield the GGUF files that hold the weights of a model."""
    return (
        path for path in paths if GGUF_FILE.search(path) and not _is_projector(path) and not IMPORTANCE.search(path)
    )


def _is_projector(path: str) -> bool:
    return PROJECTOR.search(path) is not None


def _is_exported(path: str) -> bool:
    return not FOLDERS.isdisjoint(path.split("/")[:-1])


def _holds_weights(path: str) -> bool:
    return path.endswith(WEIGHTS) or MORE_WEIGHTS.search(path) is not None


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _other_projectors(paths: Iterable[str]) -> set[str]:
    projectors = sorted(filter(_is_projector, paths))
    for wanted in PROJECTOR_ORDER:
        chosen = [path for path in projectors if quantisation_of(path) == wanted]
        if chosen:
            return set(projectors) - {chosen[0]}
    return set(projectors[1:])


def _copies(paths: set[str], weights: set[str]) -> set[str]:
    """Return the files whose weights are in other safetensors files, too."""
    listed = {path for path in paths if SAFETENSORS_FILE.search(path)}
    folders = {_folder(path) for path in weights if not SINGLE_FILE.search(path)}
    single = {path for path in listed if SINGLE_FILE.search(path) and _folder(path) in folders}
    plain = {_role(path) for path in weights if not VARIANT.search(path)}
    variants = {path for path in listed if VARIANT.search(path) and _role(path) in plain}
    unfinished = {path for path in paths if CHECKPOINT.search(path)}
    return single | variants | _beside_components(paths, weights) | (unfinished if weights - unfinished else set())


def _role(path: str) -> str:
    """Return what the shards of the same weights have in common, in each precision."""
    return SHARD.sub("", VARIANT.sub("", path))


def _beside_components(paths: set[str], weights: set[str]) -> set[str]:
    """Return the weights of a pipeline in one file, or in another program's folders: no component is without config."""
    pipelines = {_folder(path) for path in paths if path.rpartition("/")[2] == COMPONENTS[0]}
    for pipeline in pipelines:
        below = {path for path in weights if not pipeline or path.startswith(f"{pipeline}/")}
        described = {path for path in below if _folder(path) != pipeline and f"{_folder(path)}/config.json" in paths}
        if described:
            return below - described
    return set()


def _pickles(paths: set[str], weights: set[str]) -> set[str]:
    """Return the pickles that are not the only weights of a component."""
    whole = {_folder(path) for path in paths if path.rpartition("/")[2] in COMPONENTS}
    has_weights = {_folder(path) for path in weights}
    return {
        path
        for path in paths
        if COMPONENT_FILE.fullmatch(path.lower())
        and (
            _folder(path) in has_weights
            or _folder(_folder(path)) not in whole
            or f"{_folder(path)}/config.json" not in paths
        )
    }
