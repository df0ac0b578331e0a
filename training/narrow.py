"""A smaller and narrower network cut out of a larger one, as the starting point of a student.

The student's hidden space is the space of the teacher's leading principal directions: every weight is rotated into it
and cut, as in Ashkboos et al., "SliceGPT" (2024). What a rotation cannot carry over, the elementwise scale and shift of
the layer norms, is fitted to the teacher's states on sample texts, layer by layer. Heads of attention lose width by a
truncated singular value decomposition of what they compute. Which layers are taken is `training.shrink`'s; a network of
the same width needs nothing of this.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertLayer

from training.network import MeanHead, Network, head_kind, new_head
from training.shrink import even_layers
from training.watched import Seen, watch

_FLOOR = 1e-6
_SPARE_SCALE = 0.02


@dataclass(frozen=True)
class Shape:
    """Of a BERT trunk: layers, hidden units, attention heads, units of a feed-forward block."""

    layers: int
    hidden: int
    heads: int
    ffn: int


@dataclass(frozen=True)
class Start:
    """`basis` [H, h]: orthonormal columns; a student's state is about the teacher's times it."""

    network: Network
    basis: Tensor


def shape_of(network: Network) -> Shape:
    """The shape of a network's trunk."""
    config = network.trunk.config
    return Shape(config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.intermediate_size)


def empty(teacher: Network, shape: Shape) -> Network:
    """An untrained network of `shape` with the teacher's vocabulary, positions, kind of head and labels."""
    config = copy.deepcopy(teacher.trunk.config)
    config.num_hidden_layers, config.hidden_size = shape.layers, shape.hidden
    config.num_attention_heads, config.intermediate_size = shape.heads, shape.ffn
    head = new_head(head_kind(teacher.head), shape.hidden, teacher.n_labels)
    return Network(type(teacher.trunk)(config, add_pooling_layer=False), head)


@torch.no_grad()
def narrow(teacher: Network, shape: Shape, rows: Sequence[Sequence[int]]) -> Start:
    """A copy of `shape`, no larger than the teacher in anything, fitted on token `rows` of ordinary texts."""
    teacher = copy.deepcopy(teacher).float().eval()
    seen = watch(teacher, even_layers(len(teacher.trunk.encoder.layer), shape.layers), rows)
    basis = leading(seen.all_states(), shape.hidden)
    student = empty(teacher, shape).eval()
    _cut_embeddings(teacher, student, basis, seen)
    states = [student.trunk.embeddings(input_ids=ids) for ids, _ in seen.runs]
    for at, sights in enumerate(seen.layers):
        source, target = teacher.trunk.encoder.layer[sights.number], student.trunk.encoder.layer[at]
        assert isinstance(source, BertLayer) and isinstance(target, BertLayer)  # noqa: S101
        _cut_attention(source, target, basis, sights.before)
        _fit_norm(target.attention.output.LayerNorm, _pass(target, states, seen), sights.middle @ basis, seen)
        _cut_feed_forward(source, target, basis, sights.middle)
        _fit_norm(target.output.LayerNorm, _pass(target, states, seen), sights.after @ basis, seen)
        states = _pass(target, states, seen)()
    _cut_head(teacher, student, basis, seen)
    return Start(student, basis)


def leading_of(teacher: Network, shape: Shape, rows: Sequence[Sequence[int]]) -> Tensor:
    """The basis that `narrow` would choose."""
    with torch.no_grad():
        kept = even_layers(len(teacher.trunk.encoder.layer), shape.layers)
        return leading(watch(teacher.eval(), kept, rows).all_states(), shape.hidden)


def leading(states: Sequence[Tensor], width: int) -> Tensor:
    """The `width` directions [H, width] that hold most of the states' energy, each tensor [N, H] counting the same."""
    moments = sum(part.T @ part / part.pow(2).sum() for part in (one.double() for one in states))
    assert isinstance(moments, Tensor)  # noqa: S101 - there is at least one
    vectors: Tensor = torch.linalg.eigh(moments).eigenvectors[:, -width:]
    return vectors.flip(1).float().contiguous()


def _pass(layer: BertLayer, states: Sequence[Tensor], seen: Seen) -> Callable[[], list[Tensor]]:
    return lambda: [
        layer(part, mask[:, None, None, :].bool()) for part, (_, mask) in zip(states, seen.runs, strict=True)
    ]


def _rest(states: Tensor, basis: Tensor) -> Tensor:
    """The part [H] of the mean state that the basis leaves out: a constant, which biases can carry."""
    mean = states.mean(0)
    return mean - basis @ (basis.T @ mean)


def _augmented(linear: nn.Linear, basis: Tensor, rest: Tensor) -> Tensor:
    """Weights and bias [out, h + 1] of a layer that reads the student's states."""
    return torch.cat([linear.weight @ basis, (linear.weight @ rest + linear.bias)[:, None]], dim=1)


def _put(linear: nn.Linear, augmented: Tensor) -> None:
    linear.weight.data.copy_(augmented[:, :-1])
    linear.bias.data.copy_(augmented[:, -1])


def _cut_embeddings(teacher: Network, student: Network, basis: Tensor, seen: Seen) -> None:
    source, target = teacher.trunk.embeddings, student.trunk.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        getattr(target, name).weight.data.copy_(getattr(source, name).weight @ basis)
    _fit_norm(
        target.LayerNorm,
        lambda: [target(input_ids=ids) for ids, _ in seen.runs],
        seen.embedded @ basis,
        seen,
    )


def _fit_norm(norm: nn.LayerNorm, run: Callable[[], object], targets: Tensor, seen: Seen) -> None:
    """Scale and shift of a norm such that it gives, in mean and spread, what the teacher gives [N, h]."""
    inputs: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    run()
    handle.remove()
    plain = nn.functional.layer_norm(seen.real(inputs), norm.normalized_shape, eps=norm.eps)
    spread = plain - plain.mean(0)
    wanted = targets - targets.mean(0)
    weight = (spread * wanted).sum(0) / spread.pow(2).sum(0).clamp_min(_FLOOR)
    norm.weight.data.copy_(weight)
    norm.bias.data.copy_(targets.mean(0) - weight * plain.mean(0))


def _cut_attention(source: BertLayer, target: BertLayer, basis: Tensor, before: Tensor) -> None:
    rest = _rest(before, basis)
    root, inverse = _roots(torch.cat([before @ basis, torch.ones(len(before), 1)], dim=1))
    old, new = source.attention.self, target.attention.self
    width, cut = old.attention_head_size, new.attention_head_size
    query, key, value = (
        _augmented(linear, basis, rest).view(-1, width, basis.shape[1] + 1)
        for linear in (old.query, old.key, old.value)
    )
    out = (basis.T @ source.attention.output.dense.weight).view(basis.shape[1], -1, width).transpose(0, 1)
    weight = (out @ value @ root).flatten(1).norm(dim=1)
    heads = weight.argsort(descending=True)[: new.num_attention_heads].sort().values.tolist()
    queries, keys, values, outs = [], [], [], []
    for head in heads:
        # What a head computes is query^T key and out value; each is cut to the width that is left.
        left, right = _factors(root @ query[head].T, key[head] @ root, cut)
        queries.append(_spare(left.T @ inverse, width) * (cut / width) ** 0.5)
        keys.append(right @ inverse)
        left, right = _factors(out[head], value[head] @ root, cut)
        outs.append(left)
        values.append(_spare(right @ inverse, width))
    _put(new.query, torch.cat(queries))
    _put(new.key, torch.cat(keys))
    _put(new.value, torch.cat(values))
    dense = source.attention.output.dense
    _put(target.attention.output.dense, torch.cat([torch.cat(outs, dim=1), (basis.T @ dense.bias)[:, None]], dim=1))


def _roots(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric square root of the rows' second moments, and its inverse."""
    found = torch.linalg.eigh(rows.double().T @ rows.double() / len(rows))
    values = found.eigenvalues.clamp_min(_FLOOR * float(found.eigenvalues[-1])).sqrt()
    root, inverse = ((found.eigenvectors * scale) @ found.eigenvectors.T for scale in (values, values.reciprocal()))
    return root.float(), inverse.float()


def _factors(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """[A, rank] and [rank, B] whose product is nearest to `left` [A, w] times `right` [w, B]; zeros beyond w."""
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, s, v = torch.linalg.svd(r_left @ r_right.T)
    some = min(rank, len(s))
    scale = s[:some].sqrt()
    made_left, made_right = (q_left @ u)[:, :some] * scale, ((q_right @ v.T)[:, :some] * scale).T
    return nn.functional.pad(made_left, (0, rank - some)), nn.functional.pad(made_right, (0, 0, 0, rank - some))


def _spare(rows: Tensor, used: int) -> Tensor:
    """Rows beyond `used` at random: where both factors of a product are zero, neither would ever learn."""
    if len(rows) > used:
        rows[used:] = torch.randn(rows[used:].shape, generator=torch.Generator().manual_seed(0)) * _SPARE_SCALE
    return rows


def _cut_feed_forward(source: BertLayer, target: BertLayer, basis: Tensor, middle: Tensor) -> None:
    inner = _augmented(source.intermediate.dense, basis, _rest(middle, basis))
    found = source.intermediate.intermediate_act_fn((middle @ basis) @ inner[:, :-1].T + inner[:, -1])
    outer = basis.T @ source.output.dense.weight
    order = (found.pow(2).mean(0).sqrt() * outer.norm(dim=0)).argsort(descending=True)
    size = target.intermediate.dense.out_features
    kept, dropped = order[:size].sort().values, order[size:]
    _put(target.intermediate.dense, inner[kept])
    bias = basis.T @ source.output.dense.bias + outer[:, dropped] @ found[:, dropped].mean(0)
    _put(target.output.dense, torch.cat([outer[:, kept], bias[:, None]], dim=1))


def _cut_head(teacher: Network, student: Network, basis: Tensor, seen: Seen) -> None:
    parts = [seen.first, seen.mean] if isinstance(teacher.head, MeanHead) else [seen.first]
    dense, out = teacher.head.dense, teacher.head.out
    whole = torch.kron(torch.eye(len(parts)), basis)
    rows = torch.cat(parts, dim=1)
    inner = _augmented(dense, whole, _rest(rows, whole))
    found = torch.tanh((rows @ whole) @ inner[:, :-1].T + inner[:, -1])
    order = (found.std(0) * out.weight.norm(dim=0)).argsort(descending=True)
    kept, dropped = order[: student.hidden].sort().values, order[student.hidden :]
    _put(student.head.dense, inner[kept])
    bias = out.bias + out.weight[:, dropped] @ found[:, dropped].mean(0)
    _put(student.head.out, torch.cat([out.weight[:, kept], bias[:, None]], dim=1))
