"""Families of transformers, from configs made tiny: the architecture counts, not its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers
import transformers.modeling_utils  # not when it is first asked for, in the process of each model
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto

from accaware.pytorch.model.inputs import ExampleInputs
from library_coverage.candidate import Candidate, noise

_TINY = {
    "hidden_size": 64, "d_model": 64, "n_embd": 64, "dim": 64, "embedding_size": 64,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 2,
    "decoder_layers": 2, "num_decoder_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "d_kv": 16, "d_head": 16, "kv_channels": 16,
    "intermediate_size": 128, "n_inner": 128, "d_ff": 128, "ffn_dim": 128, "hidden_dim": 128,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "d_inner": 128, "ffn_hidden_size": 128,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64, "num_experts": 4,
    "num_local_experts": 4, "n_routed_experts": 4,
    "vocab_size": 99, "max_position_embeddings": 128, "n_positions": 128, "n_ctx": 128,
    "image_size": 64, "max_seq_len": 128, "num_labels": 10,
}  # fmt: skip
_TEXT = {
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2
}  # fmt: skip
_DERIVED = ("hidden_size", "hidden_dim", "num_layers", "num_hidden_layers")
"""What a model in stages computes from the sizes of these."""
_SEQUENCE, _LONGER = 16, 24


@dataclass(frozen=True)
class _Family:
    """One of transformers' model types.

    Attributes:
        head: what of a model's classes is built, as transformers' tables of these are called.
        inputs: text, image, sound, spectrogram, or text for an encoder and a decoder.
        config: in place of the tiny values.
        sizes: of an image's side, or of a sequence, here and the larger one; None for the usual.
    """

    head: str
    inputs: str
    config: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[int, int] | None = None


_CLASSES, _CAUSAL, _SEQ2SEQ, _IMAGES, _SOUND = (
    "SEQUENCE_CLASSIFICATION", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_CLASSIFICATION",
    "AUDIO_CLASSIFICATION",
)  # fmt: skip
_CONV = {
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 4, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 32,
}
_FAMILIES: dict[str, _Family] = {
    **{
        name: _Family(_CLASSES, "text", own)
        for name, own in {
            "bert": {}, "roberta": {}, "albert": {}, "distilbert": {}, "electra": {},
            "deberta": {"pos_att_type": ["c2p", "p2c"], "relative_attention": True},
            "deberta-v2": {"pos_att_type": ["c2p", "p2c"], "relative_attention": True},
            "mpnet": {}, "squeezebert": {}, "convbert": {}, "nystromformer": {}, "fnet": {},
            "mobilebert": {
                "intra_bottleneck_size": 32, "true_hidden_size": 32, "embedding_size": 32
            },
            "xlnet": {}, "funnel": {"block_sizes": [1, 1]}, "modernbert": {}, "roformer": {},
            "megatron-bert": {}, "ernie": {}, "layoutlm": {}, "flaubert": {"emb_dim": 64},
        }.items()
    },
    **{
        name: _Family(_CAUSAL, "text", own)
        for name, own in {
            "gpt2": {}, "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
            "gptj": {"rotary_dim": 8}, "gpt_neox": {}, "opt": {"word_embed_proj_dim": 64},
            "bloom": {}, "llama": {}, "mistral": {}, "mixtral": {}, "qwen2": {}, "qwen2_moe": {},
            "qwen3": {}, "phi": {}, "phi3": {}, "gemma": {}, "gemma2": {}, "falcon": {},
            "mpt": {}, "stablelm": {}, "cohere": {}, "olmo": {}, "starcoder2": {}, "codegen": {
                "rotary_dim": 8
            },
            "granite": {}, "mamba": {"state_size": 8}, "biogpt": {}, "xglm": {"attention_heads": 4},
        }.items()
    },
    **{
        name: _Family(_SEQ2SEQ, "texts", own)
        for name, own in {
            "t5": {}, "bart": {}, "pegasus": {}, "marian": {"decoder_start_token_id": 1},
            "mbart": {}, "blenderbot-small": {}, "m2m_100": {}, "led": {"attention_window": 8},
        }.items()
    },
    **{
        name: _Family(_IMAGES, "image", own)
        for name, own in {
            "vit": {}, "deit": {}, "beit": {}, "dinov2": {"patch_size": 16},
            "swin": {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
            "swinv2": {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
            "convnext": {"hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1]},
            "convnextv2": {"hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1]},
            "resnet": {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 2]},
            "regnet": {
                "embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 2], "groups_width": 8
            },
            "bit": {"embedding_size": 32, "hidden_sizes": [128, 256], "depths": [1, 2]},
            "mobilenet_v1": {"depth_multiplier": 0.25}, "mobilenet_v2": {"depth_multiplier": 0.35},
            "mobilevit": {
                "hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [16, 16, 32, 32, 48, 64, 64]
            },
            "mobilevitv2": {"width_multiplier": 0.25},
            "segformer": {
                "hidden_sizes": [16, 32, 64, 128], "num_attention_heads": [1, 2, 4, 8],
                "depths": [1, 1, 1, 1],
            },
            "pvt": {
                "hidden_sizes": [16, 32, 64, 128], "num_attention_heads": [1, 2, 4, 8],
                "depths": [1, 1, 1, 1],
            },
            "poolformer": {"hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1]},
            "cvt": {
                "embed_dim": [16, 32, 64], "num_heads": [1, 2, 4], "depth": [1, 2, 3],
            },
            "levit": {"hidden_sizes": [32, 48, 64], "depths": [1, 1, 1],
                      "num_attention_heads": [2, 3, 4], "key_dim": [16, 16, 16]},
            "focalnet": {"embed_dim": 16, "depths": [1, 1], "focal_levels": [2, 2],
                         "focal_windows": [3, 3], "hidden_sizes": [16, 32]},
            "efficientnet": {
                "width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320
            },
            "vit_msn": {}, "data2vec-vision": {},
        }.items()
    },
    **{
        name: _Family(_SOUND, "sound", own)
        for name, own in {
            "wav2vec2": _CONV, "hubert": _CONV, "wavlm": _CONV, "sew": _CONV | {
                "squeeze_factor": 2
            },
            "unispeech": _CONV, "data2vec-audio": {**_CONV, "num_conv_pos_embeddings": 2},
        }.items()
    },
    "audio-spectrogram-transformer": _Family(
        _SOUND, "spectrogram", {"max_length": 64, "num_mel_bins": 32}
    ),
    "whisper": _Family(
        _SOUND, "features", {"num_mel_bins": 32, "max_source_positions": 32}
    ),
    "yolos": _Family(
        "OBJECT_DETECTION", "image", {"image_size": [64, 64], "num_detection_tokens": 10}
    ),
    "clip": _Family("ZERO_SHOT_IMAGE_CLASSIFICATION", "pair"),
    "vilt": _Family("BASE", "joint"),
}  # fmt: skip


class Transformers:
    """Of each family its usual head: classes, the next word, a translation, boxes."""

    def names(self) -> Sequence[str]:
        return list(_FAMILIES)

    def candidate(self, name: str) -> Candidate:
        family = _FAMILIES[name]
        make = partial(_make, name, family)
        small, larger = family.sizes or ((64, 96) if family.inputs == "image" else (0, 0))
        return Candidate(
            make, _inputs(family.inputs, small), _inputs(family.inputs, larger or _LONGER)
        )


def _make(name: str, family: _Family) -> Any:
    tables = vars(modeling_auto)
    key = (
        "MODEL_MAPPING_NAMES"
        if family.head == "BASE"
        else (f"MODEL_FOR_{family.head}_MAPPING_NAMES")
    )
    found = tables[key][name]
    kind = getattr(transformers, found if isinstance(found, str) else found[0])
    return kind(_config(name, family))


def _config(name: str, family: _Family) -> Any:
    kind: Any = CONFIG_MAPPING[name]
    own = kind()
    if name == "clip":
        part = {**_sized(own.text_config), **_TEXT}
        return kind(text_config=part, vision_config={**_sized(own.vision_config), "patch_size": 16})
    words = {key: value for key, value in _TEXT.items() if "text" in family.inputs}
    sizes = _sized(own)
    if name == "funnel":
        sizes.pop("num_hidden_layers", None)  # its block_sizes say
    return kind(**{**sizes, **words, **family.config})


def _sized(own: Any) -> dict[str, Any]:
    """What a config has of the tiny values, without anything that draws random numbers."""
    written = own.to_dict()
    derived = _DERIVED if "stage_names" in written or "num_block_repeats" in written else ()
    sizes: dict[str, Any] = {
        key: value
        for key, value in _TINY.items()
        if isinstance(written.get(key), int) and key not in derived
    }
    random = ("dropout", "drop_path", "layerdrop", "drop_rate", "pdrop", "drop_prob")
    chances = {
        key: 0.0
        for key, value in own.to_dict().items()
        if any(word in key for word in random) and isinstance(value, float)
    }
    masking = {key: False for key in ("apply_spec_augment",) if hasattr(own, key)}
    cache = {"use_cache": False} if hasattr(own, "use_cache") else {}
    return sizes | chances | masking | cache


def _inputs(kind: str, size: int) -> ExampleInputs:
    """Two samples; ``size`` is of a side or a sequence, 0 for the usual one."""
    length = size or _SEQUENCE
    words = torch.randint(3, 99, (2, length), generator=torch.Generator().manual_seed(1))
    match kind:
        case "text":
            return ExampleInputs.of({"input_ids": words, "attention_mask": torch.ones_like(words)})
        case "texts":
            return ExampleInputs.of(
                {"input_ids": words, "decoder_input_ids": words[:, : length // 2]}
            )
        case "image":
            return ExampleInputs.of({"pixel_values": noise(2, 3, size, size)})
        case "sound":
            return ExampleInputs.of({"input_values": noise(2, 100 * length)})
        case "spectrogram":
            return ExampleInputs.of({"input_values": noise(2, 64, 32)})
        case "features":
            return ExampleInputs.of({"input_features": noise(2, 32, 64)})
        case _:
            return ExampleInputs.of({"input_ids": words, "pixel_values": noise(2, 3, 64, 64)})
