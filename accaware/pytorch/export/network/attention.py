"""Attention as ONNX's exporter knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch.export.network.stand_in import with_forward
from accaware.pytorch.model.function_mode import FunctionMode


def attending_in_four_dimensions(model: nn.Module) -> nn.Module:
    """The model, whose attention is (batch, heads, tokens, width) whatever it is written as.

    Torch's takes any number of dimensions before the tokens; its exporter to ONNX takes two.
    """

    def forward(*args: Any, **kwargs: Any) -> Any:
        with _InFourDimensions():
            return model(*args, **kwargs)

    return with_forward(model, forward)


class _InFourDimensions(FunctionMode):
    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if func is functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    leading = query.shape[:-2]
    if len(leading) != 2:
        query, key, value = map(_of_four, (query, key, value))
        if attn_mask is not None and attn_mask.dim() > 2:
            attn_mask = _of_four(attn_mask.expand(*leading, *attn_mask.shape[-2:]))
    found = functional.scaled_dot_product_attention(query, key, value, attn_mask, *args, **kwargs)
    return found if len(leading) == 2 else found.reshape(*leading, *found.shape[-2:])


def _of_four(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, *tensor.shape[-3:]) if tensor.dim() > 2 else tensor[None, None]
