from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from styleflow.models.style_attention import StyleAttention
from tests.models.named_values import drawn, filled, shapes_of

WIDTH = 12


def filled_attention() -> StyleAttention:
    attention = StyleAttention(WIDTH)
    attention.load_state_dict(filled(shapes_of(attention)))
    return attention.requires_grad_(False)


@given(content_tokens=st.integers(1, 9), style_tokens=st.integers(1, 9), seed=st.integers(0, 1000))
def test_each_content_token_shares_one_whole_attention_among_the_style_tokens(
    content_tokens: int, style_tokens: int, seed: int
) -> None:
    content = drawn("content", (2, content_tokens, WIDTH), seed=seed)
    style = drawn("style", (2, style_tokens, WIDTH), seed=seed)

    fused, attention = filled_attention()(content, style)

    assert fused.shape == content.shape
    assert attention.shape == (2, content_tokens, style_tokens)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(2, content_tokens))


@given(order=st.permutations(range(6)))
def test_the_order_of_style_tokens_does_not_matter(order: list[int]) -> None:
    content, style = drawn("content", (1, 4, WIDTH)), drawn("style", (1, 6, WIDTH))
    attend = filled_attention()

    torch.testing.assert_close(attend(content, style[:, order])[0], attend(content, style)[0])


def test_before_training_the_style_adds_nothing_but_a_constant() -> None:
    attend = StyleAttention(WIDTH).requires_grad_(False)
    content = drawn("content", (1, 4, WIDTH))

    fused, _ = attend(content, drawn("style", (1, 4, WIDTH)))

    assert torch.equal(fused, content + attend.lp.bias)
