"""What became of one model, as a line of a table and of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

STAGES = (
    "eval", "training", "larger", "step", "file", "onnx", "sparse", "int8",
)  # fmt: skip
"""What is tried with a model, in this order, once it is pruned."""
RIGHT = "right"
ENOUGH = 0.1
"""The share of FLOPs from which on a model counts as pruned."""

_SIGNS = {RIGHT: "ok", "refused": "no", "WRONG": "WRONG", "TRACEBACK": "TRACE", "untold": "?"}


@dataclass
class Row:
    """What became of one model.

    Attributes:
        refused: why it isn't pruned at all.
        ended: how its process ended where it didn't come to an end by itself.
        parameters, flops: dense and compressed.
        rate: of its filters, what is gone.
        left_alone: the share of the FLOPs of convolutions and linear layers that can't be pruned.
        reasons: why not: layers, and their share of these FLOPs.
        stages: of STAGES what is known: "right", or what is wrong, after the kind and a colon.
        traces: of stages that raised what is nobody's to see.
        finding: seconds for the groups of coupled channels.
        creating: seconds until the model can be pruned, the trial of every group included.
    """

    name: str
    refused: str = ""
    ended: str = ""
    parameters: tuple[int, int] = (0, 0)
    flops: tuple[int, int] = (0, 0)
    rate: float = 0.0
    left_alone: float = 0.0
    reasons: dict[str, tuple[int, float]] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)
    finding: float = 0.0
    creating: float = 0.0
    seconds: float = 0.0
    gigabytes: float = 0.0

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Row:
        """Of what ``as_dict`` gave."""
        return cls(**data)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def gone(self) -> float:
        """The share of its FLOPs."""
        return 1 - self.flops[1] / self.flops[0] if self.flops[0] else 0.0

    @property
    def faults(self) -> dict[str, str]:
        """By stage, what must not be."""
        kinds = ("WRONG", "TRACEBACK")
        return {stage: told for stage, told in self.stages.items() if told.startswith(kinds)}

    @property
    def verdict(self) -> str:
        """The worst that there is to say of it."""
        kinds = {told.split(":")[0] for told in self.faults.values()}
        for kind in ("WRONG", "TRACEBACK"):
            if kind in kinds:
                return kind
        if self.ended:
            return "ended"
        if self.refused:
            return "refused"
        return "pruned" if self.gone >= ENOUGH else "little"

    def __str__(self) -> str:
        parameters = 1 - self.parameters[1] / self.parameters[0] if self.parameters[0] else 0.0
        shares = " ".join(
            f"{share:6.1%}" for share in (self.gone, parameters, self.rate, self.left_alone)
        )
        signs = " ".join(
            f"{_SIGNS[self.stages[stage].split(':')[0]] if stage in self.stages else '-':>5}"
            for stage in STAGES
        )
        seconds = " ".join(f"{each:6.1f}" for each in (self.finding, self.creating, self.seconds))
        said = (
            self.refused
            or self.ended
            or "; ".join(f"{stage}: {told}" for stage, told in self.stages.items() if told != RIGHT)
        )
        return (
            f"{self.name:32} {self.verdict:9} {shares} {self.parameters[0] / 1e6:7.2f} M "
            f"{self.flops[0] / 1e9:7.3f} G {signs} {seconds} {self.gigabytes:4.1f}  {said[:300]}"
        ).rstrip()  # fmt: skip


HEADER = (
    f"{'':32} {'':9} {'FLOPs':>6} {'params':>6} {'rate':>6} {'alone':>6} {'dense':>9} {'FLOPs':>9} "
    f"{' '.join(f'{stage[:5]:>5}' for stage in STAGES)} {'groups':>6} {'tried':>6} {'all':>6}  GiB"
)
