"""What a preset keeps of repositories as they really are, by what vLLM, TGI, llama.cpp and diffusers read of them.

Each listing is that of a repository on the Hub, shortened where files differ in a number only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from downloader.presets import Preset, ambiguous, available

TEXT = {"README.md", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}


@dataclass(frozen=True)
class Listing:
    """A repository: what a preset keeps of it, and what it leaves out."""

    name: str
    only: str
    needed: set[str]
    left_out: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.name}: {self.only}"


def shards(stem: str, count: int = 2, ending: str = "safetensors") -> set[str]:
    return {f"{stem}-{number:05}-of-{count:05}.{ending}" for number in range(1, count + 1)}


LISTINGS = [
    Listing(
        "meta-llama/Llama-2-7b-chat-hf",
        "safetensors",
        {*TEXT, *shards("model"), "model.safetensors.index.json", "tokenizer.model", "special_tokens_map.json"},
        {*shards("pytorch_model", 2, "bin"), "pytorch_model.bin.index.json"},
    ),
    Listing(
        "meta-llama/Llama-3.1-8B-Instruct",
        "safetensors",
        {*TEXT, *shards("model", 4), "model.safetensors.index.json", "LICENSE", "USE_POLICY.md"},
        {"original/consolidated.00.pth", "original/params.json", "original/tokenizer.model"},
    ),
    Listing(
        "mistralai/Mistral-Large-Instruct-2411",
        "safetensors",
        {
            *TEXT,
            *shards("model", 3),
            "model.safetensors.index.json",
            "params.json",
            "tokenizer.model.v7",
            "tekken.json",
        },
        {*shards("consolidated"), "consolidated.safetensors.index.json"},
    ),
    Listing("mistralai/Pixtral-12B-2409", "safetensors", {"consolidated.safetensors", "params.json", "tekken.json"}),
    Listing(
        "Qwen/Qwen-7B-Chat",
        "safetensors",
        {
            *TEXT,
            *shards("model"),
            "model.safetensors.index.json",
            "qwen.tiktoken",
            "modeling_qwen.py",
            "cache_kernel.cu",
        },
    ),
    Listing(
        "google/gemma-7b",
        "safetensors",
        {*TEXT, *shards("model"), "model.safetensors.index.json", "tokenizer.model"},
        {"gemma-7b.gguf"},
    ),
    Listing(
        "openai/gpt-oss-20b",
        "safetensors",
        {*TEXT, *shards("model"), "model.safetensors.index.json", "chat_template.jinja"},
        {"original/model.safetensors", "original/config.json", "original/dtypes.json", "metal/model.bin"},
    ),
    Listing(
        "openai/whisper-large-v3",
        "safetensors",
        {*TEXT, "model.safetensors", "vocab.json", "merges.txt", "normalizer.json", "preprocessor_config.json"},
        {
            *shards("model.fp32"),
            "model.safetensors.index.fp32.json",
            "flax_model.msgpack",
            "pytorch_model.bin",
            *shards("pytorch_model.fp32", 2, "bin"),
            "pytorch_model.bin.index.fp32.json",
            "tf_model.h5",
        },
    ),
    Listing(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "safetensors",
        {
            "README.md",
            "model_index.json",
            "scheduler/scheduler_config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
            "vae_decoder/config.json",
        },
        {
            "sd_xl_base_1.0.safetensors",
            "sd_xl_base_1.0_0.9vae.safetensors",
            "sd_xl_offset_example-lora_1.0.safetensors",
            "text_encoder/model.fp16.safetensors",
            "text_encoder/model.onnx",
            "text_encoder/openvino_model.xml",
            "text_encoder/openvino_model.bin",
            "text_encoder/flax_model.msgpack",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/model.onnx",
            "unet/model.onnx_data",
            "unet/openvino_model.xml",
            "vae_decoder/model.onnx",
        },
    ),
    Listing(
        "stabilityai/stable-diffusion-3.5-large",
        "safetensors",
        {
            "model_index.json",
            "text_encoder_3/config.json",
            *shards("text_encoder_3/model"),
            "text_encoder_3/model.safetensors.index.json",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.safetensors",
        },
        {
            "sd3.5_large.safetensors",
            "text_encoders/clip_g.safetensors",
            "text_encoders/t5xxl_fp16.safetensors",
            *shards("text_encoder_3/model.fp16", 3),
            "text_encoder_3/model.safetensors.index.fp16.json",
        },
    ),
    Listing(
        "a pipeline whose safety checker was never converted",
        "safetensors",
        {
            "model_index.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "safety_checker/config.json",
            "safety_checker/pytorch_model.bin",
        },
        {"unet/diffusion_pytorch_model.bin", "v1-5-pruned.ckpt", "v1-5-pruned.safetensors"},
    ),
    Listing(
        "sentence-transformers/all-MiniLM-L6-v2",
        "safetensors",
        {*TEXT, "modules.json", "1_Pooling/config.json", "model.safetensors", "vocab.txt", "sentence_bert_config.json"},
        {
            "pytorch_model.bin",
            "rust_model.ot",
            "tf_model.h5",
            "onnx/model.onnx",
            "onnx/model_qint8_avx512.onnx",
            "openvino/openvino_model.bin",
            "openvino/openvino_model.xml",
        },
    ),
    Listing(
        "a sentence transformer with a dense layer",
        "safetensors",
        {*TEXT, "modules.json", "model.safetensors", "2_Dense/config.json", "2_Dense/pytorch_model.bin"},
        {"pytorch_model.bin"},
    ),
    Listing(
        "sentence-transformers/LaBSE",
        "safetensors",
        {*TEXT, "modules.json", "model.safetensors", "2_Dense/config.json", "2_Dense/model.safetensors"},
        {"pytorch_model.bin", "2_Dense/pytorch_model.bin"},
    ),
    Listing(
        "TheBloke/Llama-2-7B-GPTQ",
        "safetensors",
        {*TEXT, "model.safetensors", "quantize_config.json", "tokenizer.model"},
    ),
    Listing("nvidia/Llama-3.3-70B-Instruct-NVFP4", "safetensors", {*TEXT, *shards("model"), "hf_quant_config.json"}),
    Listing("mlx-community/Qwen3-8B-4bit", "safetensors", {*TEXT, "model.safetensors", "model.safetensors.index.json"}),
    Listing(
        "a LoRA adapter with what its trainer saved",
        "safetensors",
        {"README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"},
        {
            "adapter_model.bin",
            "training_args.bin",
            "checkpoint-500/adapter_model.safetensors",
            "checkpoint-500/adapter_config.json",
            "checkpoint-500/optimizer.pt",
            "checkpoint-500/rng_state.pth",
        },
    ),
    Listing(
        "facebook/mms-1b-all",
        "safetensors",
        {"config.json", "model.safetensors", "adapter.eng.safetensors", "adapter.deu.safetensors", "vocab.json"},
        {"adapter.eng.bin", "adapter.deu.bin", "pytorch_model.bin"},
    ),
    Listing(
        "a speech model with n-grams, and a tokenizer of bytes",
        "safetensors",
        {"config.json", "model.safetensors", "language_model/5gram.bin", "language_model/unigrams.txt", "vocab.bin"},
        {"pytorch_model.bin", "parakeet.nemo"},
    ),
    Listing(
        "google-bert/bert-base-uncased",
        "safetensors",
        {*TEXT, "model.safetensors", "vocab.txt"},
        {
            "coreml/fill-mask/float32_model.mlpackage/Data/com.apple.CoreML/model.mlmodel",
            "rust_model.ot",
            "coreml/fill-mask/float32_model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
            "model.onnx",
            "bert_model.ckpt.data-00000-of-00001",
            "bert_model.ckpt.index",
            "flax_model.msgpack",
        },
    ),
    Listing(
        "unsloth/Qwen3-235B-A22B-GGUF",
        "gguf:Q4_K_M",
        {*shards("Q4_K_M/Qwen3-235B-A22B-Q4_K_M", 3, "gguf"), "config.json", "README.md"},
        {
            *shards("UD-Q4_K_XL/Qwen3-235B-A22B-UD-Q4_K_XL", 3, "gguf"),
            "imatrix_unsloth.dat",
            *shards("BF16/Qwen3-235B-A22B-BF16", 10, "gguf"),
            "Qwen3-235B-A22B-UD-IQ1_S.gguf",
            "imatrix_unsloth.gguf_file",
        },
    ),
    Listing(
        "unsloth/gemma-3-27b-it-GGUF",
        "gguf:UD-Q4_K_XL",
        {"gemma-3-27b-it-UD-Q4_K_XL.gguf", "mmproj-F16.gguf", "config.json"},
        {"mmproj-BF16.gguf", "mmproj-F32.gguf", "gemma-3-27b-it-Q4_K_M.gguf", "BF16/gemma-3-27b-it-BF16.gguf"},
    ),
    Listing(
        "a repository with a quantisation in both ways",
        "gguf:IQ2_XXS",
        {"m-IQ2_XXS.gguf"},
        {"m-UD-IQ2_XXS.gguf"},
    ),
    Listing(
        "bartowski/Qwen_Qwen3-32B-GGUF",
        "gguf:Q8_0",
        {*shards("Qwen_Qwen3-32B-Q8_0/Qwen_Qwen3-32B-Q8_0", 2, "gguf"), "README.md"},
        {"Qwen_Qwen3-32B-Q4_K_L.gguf", "Qwen_Qwen3-32B.imatrix", "Qwen_Qwen3-32B-imatrix.gguf"},
    ),
    Listing(
        "mradermacher/goliath-120b-i1-GGUF",
        "gguf:Q4_K_M",
        {"goliath-120b.i1-Q4_K_M.gguf.part1of2", "goliath-120b.i1-Q4_K_M.gguf.part2of2", "README.md"},
        {"goliath-120b.i1-Q6_K.gguf.part1of2", "goliath-120b.i1-Q6_K.gguf.part2of2", "imatrix.dat"},
    ),
    Listing(
        "mradermacher/Qwen2.5-VL-7B-Instruct-GGUF",
        "gguf:Q4_K_S",
        {"Qwen2.5-VL-7B-Instruct.Q4_K_S.gguf", "Qwen2.5-VL-7B-Instruct.mmproj-f16.gguf"},
        {"Qwen2.5-VL-7B-Instruct.mmproj-Q8_0.gguf", "Qwen2.5-VL-7B-Instruct.Q8_0.gguf"},
    ),
    Listing(
        "Qwen/Qwen2.5-7B-Instruct-GGUF",
        "gguf:F16",
        {*shards("qwen2.5-7b-instruct-fp16", 4, "gguf"), "LICENSE"},
        {*shards("qwen2.5-7b-instruct-q4_k_m", 2, "gguf"), "qwen2.5-7b-instruct-q2_k.gguf"},
    ),
    Listing(
        "microsoft/Phi-3-mini-4k-instruct-gguf",
        "gguf:Q4",
        {"Phi-3-mini-4k-instruct-q4.gguf", "Modelfile_q4"},
        {"Phi-3-mini-4k-instruct-fp16.gguf"},
    ),
    Listing("microsoft/bitnet-b1.58-2B-4T-gguf", "gguf:i2_s", {"ggml-model-i2_s.gguf", "README.md"}),
    Listing("ggml-org/gpt-oss-20b-GGUF", "gguf", {"gpt-oss-20b-mxfp4.gguf", "README.md"}),
    Listing("one quantisation and its importance matrix", "gguf", {"m-Q4_K_M.gguf"}, {"m-imatrix.gguf"}),
]


@pytest.mark.parametrize("listing", LISTINGS, ids=str)
def test_a_preset_keeps_what_engines_need_and_no_copy_of_it(listing: Listing) -> None:
    preset, paths = Preset.parse(listing.only), listing.needed | listing.left_out

    assert preset.choose(paths) == listing.needed
    assert str(preset) in map(str, available(paths)) or not preset.quantisation
    assert ambiguous(preset, paths) == []


@pytest.mark.parametrize("listing", LISTINGS, ids=str)
def test_what_a_preset_keeps_it_keeps_of_the_rest_as_well(listing: Listing) -> None:
    """A second run and `verify` see only what the first has brought."""
    preset = Preset.parse(listing.only)

    assert preset.choose(listing.needed) == listing.needed
    assert all(map(preset.may_want, listing.needed))


def test_without_the_plain_files_the_other_precision_is_chosen() -> None:
    plain = {"unet/diffusion_pytorch_model.safetensors"}
    rest = {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"}
    preset = Preset.parse("safetensors")

    assert preset.choose(rest) == rest
    assert preset.choose(rest | plain) == {"model_index.json", "unet/config.json", *plain}
