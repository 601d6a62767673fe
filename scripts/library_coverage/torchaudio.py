"""Networks of torchaudio, made small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torchaudio import models

from accaware.pytorch.model.inputs import ExampleInputs
from library_coverage.candidate import Candidate, noise

_TRANSFORMER = {
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(32, 10, 5), (32, 4, 4), (32, 4, 4)],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 64,
    "encoder_projection_dropout": 0.0,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 2,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_features": 128,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.0,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.0,
    "aux_num_out": 10,
}


def _lengths(frames: int) -> torch.Tensor:
    return torch.tensor([frames, frames])


_NETWORKS: dict[str, tuple[Callable[[], Any], Callable[[int], tuple[Any, ...]]]] = {
    # Its maker, and inputs of about so many frames.
    "wav2letter": (lambda: models.Wav2Letter(num_features=40, input_type="mfcc"),
                   lambda n: (noise(2, 40, 2 * n),)),
    "convtasnet": (
        lambda: models.ConvTasNet(
            enc_num_feats=64, msk_num_feats=32, msk_num_hidden_feats=64, msk_num_layers=3,
            msk_num_stacks=2,
        ),
        lambda n: (noise(2, 1, 32 * n),),
    ),
    "deepspeech": (lambda: models.DeepSpeech(40, n_hidden=64), lambda n: (noise(2, 1, n, 40),)),
    "conformer": (
        lambda: models.Conformer(64, 4, 128, 2, 15),
        lambda n: (noise(2, n, 64), _lengths(n)),
    ),
    "emformer": (
        lambda: models.Emformer(64, 4, 128, 2, 4, right_context_length=1),
        lambda n: (noise(2, n + 1, 64), _lengths(n)),
    ),
    "wav2vec2": (lambda: models.wav2vec2_model(**_TRANSFORMER), lambda n: (noise(2, 100 * n),)),
    "wavernn": (
        lambda: models.WaveRNN(
            [2, 2, 2], 16, 8, n_res_block=2, n_rnn=32, n_fc=32, n_freq=20, n_hidden=16, n_output=16
        ),
        lambda n: (noise(2, 1, 8 * (n - 4)), noise(2, 1, 20, n)),
    ),
    "squim_objective": (lambda: models.squim_objective_model(
        feat_dim=32, win_len=64, d_model=32, nhead=4, hidden_dim=32, num_blocks=1,
        rnn_type="LSTM", chunk_size=20), lambda n: (noise(2, 100 * n),)),
}  # fmt: skip


class Torchaudio:
    """The networks above."""

    def names(self) -> Sequence[str]:
        return list(_NETWORKS)

    def candidate(self, name: str) -> Candidate:
        make, inputs = _NETWORKS[name]
        return Candidate(make, ExampleInputs.of(inputs(32)), ExampleInputs.of(inputs(48)))
