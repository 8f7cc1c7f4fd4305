"""Models of text: sizes counted by hand, the same as torch's own layers, and no look at what comes later."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tamcl.models import MODELS
from tamcl.models.classifier import build_classifier, check_classifier
from tamcl.registry import lookup

TOKENS, CONTEXT = 11, 6
OPTIONS: dict[str, dict[str, Any]] = {
    "lstm": {"embedding": 4, "hidden": 6, "layers": 2},
    "transformer": {"layers": 2, "heads": 2, "width": 8},
}
LAYER = 4 * 6 * (4 + 6 + 2), 4 * 6 * (6 + 6 + 2)  # four gates of the input, the state, and two biases
BLOCK = 2 * 2 * 8 + (8 + 1) * 24 + (8 + 1) * 8 + (8 + 1) * 32 + (32 + 1) * 8
SIZES = {"lstm": 11 * 4 + sum(LAYER), "transformer": 11 * 8 + 6 * 8 + 2 * BLOCK + 2 * 8}


def build(name: str, seed: int = 0) -> nn.Module:
    sizes: dict[str, Any] = {"shape": (CONTEXT,), "classes": TOKENS, "tasks": {0: (0,)}, "is_text": True}
    return build_classifier(name, "single", OPTIONS[name], **sizes, seed=seed)


def windows(count: int) -> Tensor:
    return torch.randint(TOKENS, (count, CONTEXT), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", OPTIONS)
def test_sizes_and_shapes(name: str) -> None:
    model = build(name)
    assert sum(param.numel() for param in model.body.parameters()) == SIZES[name]  # type: ignore[union-attr]
    assert model.body(windows(3)).shape == (3, CONTEXT, model.body.features)  # type: ignore[operator, union-attr]
    assert model(windows(3)).shape == (3 * CONTEXT, TOKENS)
    check_classifier(model, shape=(CONTEXT,), tasks={0: (0,)}, is_text=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_token_is_predicted_from_those_before_it_in_its_window_alone(name: str) -> None:
    model, x = build(name), windows(3)
    features = model.body(x)  # type: ignore[operator]
    later = x.clone()
    later[:, 4:] = (later[:, 4:] + 1) % TOKENS
    changed = model.body(later)  # type: ignore[operator]
    torch.testing.assert_close(changed[:, :4], features[:, :4])
    assert (changed[:, 4:] != features[:, 4:]).any(-1).all()
    first = x.clone()
    first[:, 0] = (first[:, 0] + 1) % TOKENS
    assert (model.body(first) != features).any(-1).all()  # type: ignore[operator]
    torch.testing.assert_close(model.body(x[1:2]), features[1:2])  # type: ignore[operator]


@pytest.mark.parametrize("name", OPTIONS)
def test_initial_weights_belong_to_the_seed_and_all_are_trained(name: str) -> None:
    first, same, other = build(name, 0), build(name, 0), build(name, 1)
    flat = [torch.cat([p.flatten() for p in model.parameters()]) for model in (first, same, other)]
    assert torch.equal(flat[0], flat[1])
    assert not torch.equal(flat[0], flat[2])
    x = windows(20)
    cross_entropy(first(x), x.flatten()).backward()
    assert all(param.grad is not None and param.grad.abs().sum() > 0 for param in first.parameters())


@pytest.mark.parametrize("name", OPTIONS)
def test_the_loss_has_second_derivatives(name: str) -> None:
    model, x = build(name), windows(2)
    weights = list(model.parameters())
    gradients = torch.autograd.grad(cross_entropy(model(x), x.flatten()), weights, create_graph=True)
    products = torch.autograd.grad(sum(g.square().sum() for g in gradients), weights)
    assert all(product.isfinite().all() for product in products)


def test_a_block_is_torchs_own_layer_with_a_causal_mask() -> None:
    body = lookup(MODELS, "transformer")((CONTEXT,), tokens=TOKENS, **OPTIONS["transformer"])
    block, x = body.blocks[0], torch.randn(3, CONTEXT, 8, generator=torch.Generator().manual_seed(0))
    theirs = nn.TransformerEncoderLayer(8, 2, 32, dropout=0, activation="gelu", batch_first=True, norm_first=True)
    ours = {
        "self_attn.in_proj_weight": block.attention.qkv.weight,
        "self_attn.in_proj_bias": block.attention.qkv.bias,
        "self_attn.out_proj.weight": block.attention.out.weight,
        "self_attn.out_proj.bias": block.attention.out.bias,
        "linear1.weight": block.mlp[0].weight,
        "linear1.bias": block.mlp[0].bias,
        "linear2.weight": block.mlp[2].weight,
        "linear2.bias": block.mlp[2].bias,
        **{f"norm1.{name}": value for name, value in block.attention_norm.named_parameters()},
        **{f"norm2.{name}": value for name, value in block.mlp_norm.named_parameters()},
    }
    for value in ours.values():
        nn.init.normal_(value)
    theirs.load_state_dict(ours)
    mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
    torch.testing.assert_close(block(x), theirs(x, src_mask=mask, is_causal=True), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("transformer", {"heads": 3}, "heads = 3: must divide the width, which is 8"),
        ("transformer", {"layers": 0}, "layers = 0: must be at least 1"),
        ("lstm", {"hidden": 0}, "hidden = 0: must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lookup(MODELS, name)((CONTEXT,), tokens=TOKENS, **OPTIONS[name] | options)
