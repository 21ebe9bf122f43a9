"""The published networks once more, straight from their state dicts: no classes, no torch modules, one line a step.

Written from the published descriptions and independent of `styleflow/models`, so that a parameter read from the
wrong name, in the wrong order or at the wrong scale shows for any values, not only for those of the golden files.
Names are the published ones, without a wrapper's prefix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]
EPSILON = 1e-5


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    shape = (1, -1, *[1] * (x.dim() - 2))
    mean, variance = state[f"{name}.running_mean"].view(shape), state[f"{name}.running_var"].view(shape)
    standard = (x - mean) / (variance + EPSILON).sqrt()
    return standard * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)


def _layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    standard = centred / ((centred**2).mean(-1, keepdim=True) + EPSILON).sqrt()
    return standard * state[f"{name}.weight"] + state[f"{name}.bias"]


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    y = torch.einsum("...i,oi->...o", x, state[f"{name}.weight"])
    return y + state[f"{name}.bias"] if f"{name}.bias" in state else y


def style_gru(state: State, flow: Tensor, layers: int = 2) -> Tensor:
    """[B,T,D] -> [B, 2 * layers * hidden]; the batch norm's channels are the steps."""
    x = _norm(state, "bn", flow)
    ends = []
    for layer in range(layers):
        outputs = []
        for direction, suffix in ((1, f"l{layer}"), (-1, f"l{layer}_reverse")):
            h = state["hidden_state"][len(ends)].repeat(len(flow), 1)
            states: dict[int, Tensor] = {}
            for step in range(x.shape[1])[::direction]:
                i = x[:, step] @ state[f"gru.weight_ih_{suffix}"].T + state[f"gru.bias_ih_{suffix}"]
                g = h @ state[f"gru.weight_hh_{suffix}"].T + state[f"gru.bias_hh_{suffix}"]
                width = h.shape[1]
                r = torch.sigmoid(i[:, :width] + g[:, :width])
                z = torch.sigmoid(i[:, width : 2 * width] + g[:, width : 2 * width])
                n = torch.tanh(i[:, 2 * width :] + r * g[:, 2 * width :])
                h = (1 - z) * n + z * h
                states[step] = h
            ends.append(h)
            outputs.append(torch.stack([states[step] for step in range(x.shape[1])], dim=1))
        x = torch.cat(outputs, dim=2)
    return torch.cat(ends, dim=1)


def style_gru_head(state: State, embedding: Tensor) -> Tensor:
    """[B,E] -> [B,1]."""
    widened = torch.relu(_linear(state, "dense.1.fn.net.0", embedding))
    return _linear(state, "dense.3", embedding + _linear(state, "dense.1.fn.net.3", widened))


def psp(state: State, x: Tensor, depths: Sequence[int], styles_per_level: Sequence[int]) -> Tensor:
    """[N,3,R,R] -> [N,styles,width]; names begin with `encoder.`."""
    e = {name.removeprefix("encoder."): value for name, value in state.items()}
    x = functional.conv2d(x, e["input_layer.0.weight"], padding=1)
    x = _prelu(e, "input_layer.2", _norm(e, "input_layer.1", x))
    taps, number = [], 0
    for depth in depths:
        for index in range(depth):
            x = _irse(e, f"body.{number}", x, stride=2 if index == 0 else 1)
            number += 1
        taps.append(x)
    _, quarter, eighth, coarse = taps
    middle = _twice(coarse) + _pointwise(e, "latlayer1", eighth)
    fine = _twice(middle) + _pointwise(e, "latlayer2", quarter)
    maps = [level for level, count in zip((coarse, middle, fine), styles_per_level, strict=True) for _ in range(count)]
    return torch.stack([_style(e, f"styles.{index}", level) for index, level in enumerate(maps)], dim=1)


def _irse(e: State, unit: str, x: Tensor, stride: int) -> Tensor:
    shortcut = x[:, :, ::stride, ::stride]
    if f"{unit}.shortcut_layer.0.weight" in e:
        projected = functional.conv2d(x, e[f"{unit}.shortcut_layer.0.weight"], stride=stride)
        shortcut = _norm(e, f"{unit}.shortcut_layer.1", projected)
    y = functional.conv2d(_norm(e, f"{unit}.res_layer.0", x), e[f"{unit}.res_layer.1.weight"], padding=1)
    y = _prelu(e, f"{unit}.res_layer.2", y)
    y = functional.conv2d(y, e[f"{unit}.res_layer.3.weight"], stride=stride, padding=1)
    y = _norm(e, f"{unit}.res_layer.4", y)
    squeezed = torch.relu(y.mean((2, 3)) @ e[f"{unit}.res_layer.5.fc1.weight"][:, :, 0, 0].T)
    gate = torch.sigmoid(squeezed @ e[f"{unit}.res_layer.5.fc2.weight"][:, :, 0, 0].T)
    return shortcut + y * gate[:, :, None, None]


def _style(e: State, head: str, x: Tensor) -> Tensor:
    for step in range(int(math.log2(x.shape[-1]))):
        name = f"{head}.convs.{2 * step}"
        x = functional.conv2d(x, e[f"{name}.weight"], e[f"{name}.bias"], stride=2, padding=1)
        x = torch.where(x > 0, x, 0.01 * x)
    weight = e[f"{head}.linear.weight"]
    return x[:, :, 0, 0] @ (weight / math.sqrt(weight.shape[1])).T + e[f"{head}.linear.bias"]


def _prelu(e: State, name: str, x: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * e[f"{name}.weight"].view(1, -1, 1, 1))


def _pointwise(e: State, name: str, x: Tensor) -> Tensor:
    return torch.einsum("nchw,oc->nohw", x, e[f"{name}.weight"][:, :, 0, 0]) + e[f"{name}.bias"].view(1, -1, 1, 1)


def _twice(x: Tensor) -> Tensor:
    """Bilinear to twice the side, corners on corners, as two products with a matrix of weights."""
    side = x.shape[-1]
    places = torch.arange(2 * side) * (side - 1) / (2 * side - 1)
    weights = (1 - (places[:, None] - torch.arange(side)[None]).abs()).clamp(min=0)
    return torch.einsum("yh,nchw,xw->ncyx", weights, x, weights)


def content(state: State, x: Tensor, depths: Sequence[int]) -> Tensor:
    """[B,3,T,S,S] -> [B,T/2,C]; names begin with `resnet.`."""
    r = {name.removeprefix("resnet."): value for name, value in state.items()}
    x = _halved(_norm(r, "s1.pathway0_stem.bn.0", _temporal(r, "s1.pathway0_stem.conv", x)).relu(), 1)
    x = functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, depth in enumerate(depths, start=2):
        for index in range(depth):
            x = _residual(r, f"s{stage}.pathway0_res{index}", x, halve=stage > 2 and index == 0)
        if stage == 2:
            x = torch.maximum(x[:, :, 0::2], x[:, :, 1::2])
    return x.mean((3, 4)).transpose(1, 2)


def _residual(r: State, block: str, x: Tensor, *, halve: bool) -> Tensor:
    behind = ".0" if halve else ""
    y = _norm(r, f"{block}.branch2.a_bn", _temporal(r, f"{block}.branch2.a", x)).relu()
    y = _halved(_norm(r, f"{block}.branch2.b_bn{behind}", _temporal(r, f"{block}.branch2.b", y)), halve).relu()
    y = _norm(r, f"{block}.branch2.c_bn", _temporal(r, f"{block}.branch2.c", y))
    if f"{block}.branch1.weight" in r:
        x = _halved(_norm(r, f"{block}.branch1_bn{behind}", _temporal(r, f"{block}.branch1", x)), halve)
    return (x + y).relu()


def _temporal(r: State, name: str, x: Tensor) -> Tensor:
    """A convolution over time alone: a sum of products with shifted frames."""
    weight = r[f"{name}.weight"][..., 0, 0]
    reach = weight.shape[2] // 2
    padded = functional.pad(x, (0, 0, 0, 0, reach, reach))
    taps = [
        torch.einsum("bcthw,oc->bothw", padded[:, :, tap : tap + x.shape[2]], weight[:, :, tap])
        for tap in range(weight.shape[2])
    ]
    return torch.stack(taps).sum(0)


def _halved(x: Tensor, times: int) -> Tensor:
    for _ in range(times):
        x = torch.maximum(x[..., 0::2, :], x[..., 1::2, :])
        x = torch.maximum(x[..., 0::2], x[..., 1::2])
    return x


def style_attention(state: State, tokens: Tensor, embedding: Tensor) -> Tensor:
    """tokens [B,N,C], embedding [B,M*C] -> [B,N,C]; names begin with `resnet.head.STA.`."""
    s = {name.removeprefix("resnet.head.STA."): value for name, value in state.items()}
    style = embedding.view(len(tokens), -1, tokens.shape[2])
    scores = _linear(s, "w_q", tokens) @ _linear(s, "w_k", style).transpose(1, 2) / math.sqrt(tokens.shape[2])
    shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return tokens + _linear(s, "lp", shares @ _linear(s, "w_v", style))


def temporal_transformer(state: State, tokens: Tensor, heads: int) -> Tensor:
    """[B,N,C] -> [B,1], one layer; names begin with `resnet.head.time_T.`."""
    t = {name.removeprefix("resnet.head.time_T."): value for name, value in state.items()}
    layer = "transformer.layers.0"
    x = torch.cat([t["cls_token"].repeat(len(tokens), 1, 1), tokens], dim=1) + t["pos_embedding"]
    query, key, value = _linear(t, f"{layer}.0.fn.fn.to_qkv", _layer_norm(t, f"{layer}.0.fn.norm", x)).chunk(3, -1)
    width = query.shape[-1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(width)
        mixed.append(torch.softmax(scores, -1) @ value[..., part])
    x = x + _linear(t, f"{layer}.0.fn.fn.to_out.0", torch.cat(mixed, -1))
    hidden = _linear(t, f"{layer}.1.fn.fn.net.0", _layer_norm(t, f"{layer}.1.fn.norm", x))
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    x = x + _linear(t, f"{layer}.1.fn.fn.net.3", hidden)
    return _linear(t, "mlp_head.1", _layer_norm(t, "mlp_head.0", x[:, 0]))
