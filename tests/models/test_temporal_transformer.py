from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from styleflow.models.sizes import PAPER, TransformerSizes
from styleflow.models.temporal_transformer import TimeTransformer
from tests.models.named_values import drawn, filled, shapes_of


def small_transformer(tokens: int, depth: int = 1) -> TimeTransformer:
    sizes = TransformerSizes(heads=3, head_width=4, mlp=10, depth=depth)
    transformer = TimeTransformer(tokens=tokens, width=8, sizes=sizes)
    transformer.load_state_dict(filled(shapes_of(transformer)))
    return transformer.eval().requires_grad_(False)


@given(tokens=st.integers(1, 8), depth=st.integers(1, 3), seed=st.integers(0, 1000))
def test_cls_attention_is_a_share_of_one_for_each_token(tokens: int, depth: int, seed: int) -> None:
    logit, attention = small_transformer(tokens, depth)(drawn("tokens", (2, tokens, 8), seed=seed))

    assert logit.shape == (2, 1)
    assert attention.shape == (2, tokens)
    assert bool((attention > 0).all())
    assert bool((attention.sum(dim=1) < 1).all())


def test_the_token_that_cls_is_made_to_look_at_gets_nearly_all_attention() -> None:
    transformer = small_transformer(tokens=4)
    norm = transformer.transformer.layers[0][0].fn.norm  # type: ignore[index]
    weight = transformer.transformer.layers[0][0].fn.fn.to_qkv.weight  # type: ignore[index]
    norm.weight.fill_(1.0)
    norm.bias.zero_()
    transformer.pos_embedding.zero_()
    weight[:24] = 40 * torch.eye(8).repeat(3, 1)  # query and key see the same features
    transformer.cls_token.copy_(torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1]))
    tokens = -transformer.cls_token.repeat(1, 4, 1)
    tokens[0, 2] *= -1  # only this one looks like cls

    _, attention = transformer(tokens)

    assert attention.argmax() == 2
    assert attention[0, 2] > 0.49  # cls itself has the other half


def test_paper_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        transformer = TimeTransformer(tokens=16, width=1024, sizes=PAPER.transformer)

    assert sum(parameter.numel() for parameter in transformer.parameters()) == 8_418_305
