"""Which files a preset chooses, of listings as repositories really have them."""

from __future__ import annotations

import pytest

from downloader.filters import FileFilter
from downloader.presets import Preset, available, quantisation_of

LLAMA = {
    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", "README.md",
    "original/consolidated.00.pth", "original/params.json", "original/tokenizer.model",
    "pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack",
    "onnx/model.onnx", "onnx/model.onnx_data", "training_args.bin", "optimizer.pt",
}  # fmt: skip
NEEDED = {
    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", "README.md",
}  # fmt: skip
QUANTISED = {
    "m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "m-UD-Q4_K_XL.gguf",
    "BF16/m-BF16.gguf", "m.IQ2_XXS.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf", "mmproj-F32.gguf",
    "config.json", "README.md",
}  # fmt: skip


def chosen(only: str, paths: set[str]) -> set[str]:
    return Preset.parse(only).choose(paths)


def test_safetensors_keeps_one_format_and_all_that_holds_no_weights() -> None:
    assert chosen("safetensors", LLAMA) == NEEDED


def test_the_weights_of_mistrals_own_loader_are_left_out_only_beside_others() -> None:
    both = {"consolidated.safetensors", "model-00001-of-00001.safetensors", "params.json"}

    assert chosen("safetensors", both) == {"model-00001-of-00001.safetensors", "params.json"}
    assert chosen("safetensors", {"consolidated.safetensors"}) == {"consolidated.safetensors"}


def test_lower_precisions_are_left_out_only_beside_the_full_one() -> None:
    diffusers = {
        "unet/model.safetensors",
        "unet/model.fp16.safetensors",
        "vae/model.fp16.safetensors",
        "model_index.json",
    }

    assert chosen("safetensors", diffusers) == diffusers - {"unet/model.fp16.safetensors"}


@pytest.mark.parametrize(
    ("only", "weights"),
    [
        ("gguf:Q4_K_M", {"m-Q4_K_M.gguf"}),
        ("gguf:q8_0", {"m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"}),
        ("GGUF:UD-Q4_K_XL", {"m-UD-Q4_K_XL.gguf"}),
        ("gguf:Q4_K_XL", {"m-UD-Q4_K_XL.gguf"}),
        ("gguf:BF16", {"BF16/m-BF16.gguf"}),
        ("gguf:IQ2_XXS", {"m.IQ2_XXS.gguf"}),
    ],
)
def test_a_quantisation_has_all_its_shards_and_one_projector(only: str, weights: set[str]) -> None:
    assert chosen(only, QUANTISED) == {*weights, "mmproj-F16.gguf", "config.json", "README.md"}


def test_a_preset_without_weights_of_its_format_chooses_nothing() -> None:
    assert chosen("gguf:Q2_K", QUANTISED) == set()
    assert chosen("safetensors", QUANTISED) == set()
    assert chosen("gguf", LLAMA) == set()


def test_what_fits_is_named() -> None:
    assert [str(preset) for preset in available(LLAMA)] == ["safetensors"]
    assert [str(preset) for preset in available(QUANTISED)] == [
        "gguf:BF16", "gguf:IQ2_XXS", "gguf:Q4_K_M", "gguf:Q8_0", "gguf:UD-Q4_K_XL"
    ]  # fmt: skip
    assert list(available({"model.bin"})) == []


@pytest.mark.parametrize("text", ["", "bin", "gguf:", "gguf:x", "safetensors:Q4_K_M", "gguf:Q4_K_M,Q8_0"])
def test_another_text_is_no_preset(text: str) -> None:
    with pytest.raises(ValueError, match="is not a preset"):
        Preset.parse(text)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Q6_K/m-Q6_K-00001-of-00003.gguf", "Q6_K"),
        ("llama-3.1-8b.gguf", ""),
        ("m-mxfp4.gguf", "MXFP4"),
        ("f16.gguf", "F16"),
    ],
)
def test_the_quantisation_is_in_the_name(path: str, name: str) -> None:
    assert quantisation_of(path) == name


def test_globs_come_before_the_preset() -> None:
    file_filter = FileFilter((), ("*.md",), Preset.parse("safetensors"))

    assert file_filter.choose(LLAMA) == NEEDED - {"README.md"}


def test_a_version_depends_on_the_preset() -> None:
    plain, chosen = FileFilter(), FileFilter(preset=Preset.parse("safetensors"))

    assert plain.version_of("v") == "v"
    assert chosen.version_of("v") not in ("v", FileFilter(preset=Preset.parse("gguf:Q8_0")).version_of("v"))
