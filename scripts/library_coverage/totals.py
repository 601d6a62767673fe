"""What a table of many models comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from library_coverage.row import ENOUGH, RIGHT, STAGES, Row

_REASONS = 25


def totals(table: Sequence[Row], seconds: float) -> str:
    """Counts, the share of FLOPs left alone, why, and every fault."""
    verdicts = Counter(row.verdict for row in table)
    looked_at = [row for row in table if row.flops[0]]
    alone = sum(row.left_alone for row in looked_at) / max(len(looked_at), 1)
    finding, creating, memory = (
        max((getattr(row, key) for row in table), default=0.0)
        for key in ("finding", "creating", "gigabytes")
    )
    others = (
        (verdicts["little"], "by less"),
        (verdicts["refused"], "refused"),
        (verdicts["WRONG"], "wrong"),
        (verdicts["TRACEBACK"], "with a traceback"),
        (verdicts["ended"], "ended by a limit"),
    )
    lines = [
        f"{len(table)} models: {verdicts['pruned']} pruned by at least {ENOUGH:.0%} of their FLOPs"
        + "".join(f", {count} {word}" for count, word in others)
    ]
    lines.append(
        f"of the FLOPs of convolutions and linear layers {alone:.1%} can't be pruned, the mean "
        f"of {len(looked_at)} models"
    )
    lines.append(
        f"groups found in at most {finding:.1f} s and tried in {creating:.1f} s; {seconds:.0f} s "
        f"in all, {memory:.1f} GiB"
    )
    for stage in STAGES:
        kinds = Counter(row.stages[stage].split(":")[0] for row in table if stage in row.stages)
        if kinds:
            right = kinds.pop(RIGHT, 0)
            others = "".join(f", {count} {kind}" for kind, count in kinds.most_common())
            lines.append(f"{stage}: {right} right{others}")
    lines += _reasons(looked_at)
    for row in table:
        lines += [f"FAULT {row.name}: {stage}: {told}" for stage, told in row.faults.items()]
    return "\n".join(lines)


def _reasons(table: Sequence[Row]) -> list[str]:
    """By their weight: the share of FLOPs, the mean over models; and in how many layers."""
    weight: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    models: Counter[str] = Counter()
    for row in table:
        for reason, (count, share) in row.reasons.items():
            weight[reason] += share / len(table)
            layers[reason] += count
            models[reason] += 1
    return [
        f"{share:6.2%} {layers[reason]:5} layers of {models[reason]:3} models: {reason}"
        for reason, share in weight.most_common(_REASONS)
    ]
