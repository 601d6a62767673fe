"""Attentions as people write them, each reading and making tokens of the same width."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS = 20, 5


class Tokens(nn.Module):
    """Tokens that are embedded and attend to each other, beside a residual path."""

    def __init__(self, attention: nn.Module, width: int = WIDTH) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(6, width), nn.LayerNorm(width)
        self.attention = attention
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x)
        result: Tensor = self.head((y + self.attention(self.norm(y))).mean(1))
        return result


class PackedQkv(nn.Module):
    """As timm's: one layer for all three, and a number for heads and one for their width."""

    def __init__(self, *, fused: bool = True, norm: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.head_dim = HEADS, WIDTH // HEADS
        self.attn_dim = WIDTH
        self.fused = fused
        self.qkv = nn.Linear(WIDTH, 3 * self.attn_dim, bias=bias)
        self.q_norm = nn.LayerNorm(self.head_dim) if norm else nn.Identity()
        self.k_norm = nn.LayerNorm(self.head_dim) if norm else nn.Identity()
        self.proj = nn.Linear(self.attn_dim, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            y = (q * self.head_dim**-0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        result: Tensor = self.proj(y.transpose(1, 2).reshape(b, n, self.attn_dim))
        return result


class SeparateQkv(nn.Module):
    """As BERT's: three layers, and as many heads as there are."""

    def __init__(self, *, fused: bool = True) -> None:
        super().__init__()
        self.head_dim, self.all_head_size = WIDTH // HEADS, WIDTH
        self.fused = fused
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.dense = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        def heads(layer: nn.Module, tokens: Tensor) -> Tensor:
            result: Tensor = layer(tokens).view(*tokens.shape[:-1], -1, self.head_dim)
            return result.transpose(1, 2)

        context = x if context is None else context
        q, k, v = heads(self.query, x), heads(self.key, context), heads(self.value, context)
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            scores = torch.matmul(q, k.transpose(-1, -2)) / self.head_dim**0.5
            y = torch.matmul(functional.dropout(scores.softmax(-1), 0.0, self.training), v)
        y = y.transpose(1, 2).contiguous()
        result: Tensor = self.dense(y.view(*y.shape[:-2], self.all_head_size))
        return result


class ZeroBias(nn.Module):
    """As T5's: the number of heads is in the shape of a bias, and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = HEADS
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            layer(x).view(batch, length, -1, WIDTH // HEADS).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        bias = torch.zeros((1, self.heads, length, length), dtype=x.dtype, device=x.device)
        x = nn.functional.scaled_dot_product_attention(q, k, v, bias)
        result: Tensor = self.proj(x.transpose(1, 2).reshape(batch, length, -1))
        return result


class Cross(nn.Module):
    """The second half of the tokens is what the first half attends to."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = SeparateQkv()

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        result: Tensor = self.attend(x[:, :half], x[:, half:]).mean(1, keepdim=True)
        return result


class Window(nn.Module):
    """As Swin's: windows of tokens, and for each head a bias by relative position."""

    relative_position_index: Tensor

    def __init__(self, *, fused: bool = False, window: int = 3) -> None:
        super().__init__()
        self.window, self.num_heads, self.fused = window, HEADS, fused
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.relative_position_bias_table = nn.Parameter(torch.randn(2 * window - 1, HEADS))
        places = torch.arange(window)
        index = places[:, None] - places[None, :] + window - 1
        self.register_buffer("relative_position_index", index)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        y = x.view(b * n // self.window, self.window, c)
        qkv = self.qkv(y).reshape(len(y), self.window, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = self.bias().unsqueeze(0)
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            scores = q @ k.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5
            y = (scores + bias).softmax(dim=-1) @ v
        y = self.proj(y.transpose(1, 2).reshape(len(y), self.window, -1))
        return y.view(b, n, c)

    def bias(self) -> Tensor:
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        return bias.view(self.window, self.window, -1).permute(2, 0, 1).contiguous()


class BiasByPosition(nn.Module):
    """Computes a window's bias, in a method; it keeps the number of heads, and its bias's shape."""

    places: Tensor

    def __init__(self, window: int) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.bias_shape = (window, window, HEADS)
        self.mlp = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, HEADS))
        self.register_buffer("places", torch.arange(window * window).view(-1, 1) / window)

    def bias(self) -> Tensor:
        bias = self.mlp(self.places).view(-1, self.num_heads)
        return bias.view(self.bias_shape).permute(2, 0, 1).contiguous()


class WindowOfModules(Window):
    """The same with a bias that a module within it makes."""

    def __init__(self) -> None:
        super().__init__(fused=True)
        del self.relative_position_bias_table
        self.positions = BiasByPosition(self.window)

    def bias(self) -> Tensor:
        return self.positions.bias()


class Grouped(nn.Module):
    """As Llama's: several heads of queries for one of keys and values, rotated by position."""

    def __init__(self, *, kv_heads: int = 3, per_group: int = 2, how: str = "repeat") -> None:
        super().__init__()
        self.head_dim, self.how, self.groups = 4, how, per_group
        self.kv_heads = kv_heads
        heads = kv_heads * per_group
        self.q_proj = nn.Linear(WIDTH, heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(WIDTH, kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(WIDTH, kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * self.head_dim, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (
            layer(x).view(shape).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = self._rotated(q), self._rotated(k)
        if self.how == "repeat":
            k, v = (each.repeat_interleave(self.groups, 1) for each in (k, v))
        elif self.how == "expand":
            k, v = (self._expanded(each) for each in (k, v))
        gqa = self.how == "enable_gqa"
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=gqa)
        result: Tensor = self.o_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1))
        return result

    def _expanded(self, x: Tensor) -> Tensor:
        b, heads, n, width = x.shape
        wide = x[:, :, None].expand(b, heads, self.groups, n, width)
        return wide.reshape(b, heads * self.groups, n, width)

    def _rotated(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[-2], device=x.device, dtype=x.dtype)[:, None] / 3
        first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
        return x * angles.cos() + torch.cat((-second, first), -1) * angles.sin()


class Einsum(nn.Module):
    """Heads by einsum, laid out beside each other, with a scale for each."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = HEADS
        self.to_q, self.to_kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.scale = nn.Parameter(torch.rand(HEADS, 1, 1) + 0.5)
        self.to_out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        k, v = self.to_kv(x).chunk(2, dim=-1)
        q, k, v = (each.reshape(b, n, self.heads, -1) for each in (self.to_q(x), k, v))
        weights = (torch.einsum("bihd,bjhd->bhij", q, k) * self.scale.exp()).softmax(-1)
        result: Tensor = self.to_out(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2))
        return result


class Covariance(nn.Module):
    """As XCiT's: of each head the channels attend to each other, over all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.width = HEADS, WIDTH
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.temperature = nn.Parameter(torch.rand(HEADS, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 4, 1)
        q, k, v = functional.normalize(qkv[0], dim=-1), functional.normalize(qkv[1], dim=-1), qkv[2]
        weights = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(-1)
        result: Tensor = self.proj((weights @ v).permute(0, 3, 1, 2).reshape(b, n, self.width))
        return result


class TalkingHeads(nn.Module):
    """As CaiT's: a layer mixes the heads' scores, and another one what they attend to."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.dim = HEADS, WIDTH // HEADS, WIDTH
        self.qk, self.v = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.proj_l, self.proj_w = nn.Linear(HEADS, HEADS), nn.Linear(HEADS, HEADS)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k = self.qk(x).view(b, n, 2, -1, self.head_dim).permute(2, 0, 3, 1, 4)
        v = self.v(x).view(b, n, -1, self.head_dim).transpose(1, 2)
        scores = self.proj_l((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1))
        weights = self.proj_w(scores.softmax(-2)).permute(0, 3, 1, 2)
        result: Tensor = self.proj((weights @ v).transpose(1, 2).flatten(2))
        return result


class HeadsThatStay(nn.Module):
    """A layer mixes as many heads as it is written down; values may be of any width."""

    def __init__(self, values: int = 6) -> None:
        super().__init__()
        self.qk, self.v = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, HEADS * values)
        self.mix, self.proj = nn.Linear(HEADS, HEADS), nn.Linear(HEADS * values, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k = self.qk(x).view(b, n, 2, HEADS, -1).permute(2, 0, 3, 1, 4)
        v = self.v(x).view(b, n, HEADS, -1).transpose(1, 2)
        scores = self.mix((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1))
        weights = scores.softmax(-2).permute(0, 3, 1, 2)
        result: Tensor = self.proj((weights @ v).transpose(1, 2).flatten(2))
        return result


class HardCoded(nn.Module):
    """Its heads are as wide as the tokens, whatever its layers make."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        y = y.transpose(1, 2).reshape(b, n, c)
        result: Tensor = self.proj(y)
        return result


class TorchsOwn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.attend(x, x, x, need_weights=False)[0]
        return result


class ByConfiguration(nn.Module):
    """Its number of heads is in an object that all layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.config = {"heads": HEADS}
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.config["heads"], -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        result: Tensor = self.proj(y.transpose(1, 2).reshape(b, n, -1))
        return result


class Matrix(nn.Module):
    """As transformers' Conv1D: its weight is (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return y.view((*x.size()[:-1], self.outputs))


class ByMatrices(nn.Module):
    """As GPT-2's: one matrix for all three, split by a number of the module's."""

    def __init__(self) -> None:
        super().__init__()
        self.split_size, self.head_dim = WIDTH, WIDTH // HEADS
        self.c_attn, self.c_proj = Matrix(WIDTH, 3 * WIDTH), Matrix(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.c_attn(x).split(self.split_size, dim=2)
        q, k, v = (each.view(*each.shape[:-1], -1, self.head_dim).transpose(1, 2) for each in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = self.c_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1).contiguous())
        return result


@cache
def _laid_out(tokens: int, heads: int) -> tuple[int, int, int]:
    return tokens, heads, -1


class Cached(nn.Module):
    """As with einops: what it reshapes to is cached by values, for all attentions together."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.depth = HEADS, HEADS
        self.to_qkv, self.to_out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        shape = _laid_out(x.shape[1], self.heads)
        q, k, v = (
            part.reshape(len(x), *shape).transpose(1, 2) for part in self.to_qkv(x).chunk(3, -1)
        )
        y = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        result: Tensor = self.to_out(y.transpose(1, 2).flatten(2))
        return result
