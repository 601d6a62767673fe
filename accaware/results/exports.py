"""What was exported, and how well it agrees with the model."""

from __future__ import annotations

from dataclasses import dataclass

from accaware.results import strict_json


@dataclass(frozen=True, kw_only=True)
class ExportInfo:
    """One exported file.

    Attributes:
        format: onnx, torch-export, openvino or state-dict.
        file: its path; an OpenVINO model has its weights beside it, in a ``.bin``.
        file_size: bytes, companions included.
        opset: of ONNX; None for formats without.
        dynamic_batch: whether it takes batches of any size.
        fixed_batch: why it doesn't; None where it does.
        samples: of the validation data, which the file was run on.
        largest_difference: between an output of the file and the model's.
        largest_output: the largest magnitude of the model's outputs.
        same_top1: the share of samples for which both name the same class first; None where
            outputs aren't classes.
        metric: of the file; None where the plugin's validate uses parts of the model and never the
            whole, so that outputs alone were compared.
        model_metric: of the model in PyTorch, on the same data.
        fixed_batch: why it takes batches of one size alone; None where it takes any.
    """

    format: str
    file: str
    file_size: int
    opset: int | None
    dynamic_batch: bool
    samples: int
    largest_difference: float
    largest_output: float
    same_top1: float | None
    metric: float | None
    model_metric: float
    fixed_batch: str | None = None

    def to_json(self) -> str:
        """The fields above."""
        return strict_json.document(self)
