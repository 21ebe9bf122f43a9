from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from styleflow.models.sizes import StyleAttentionRoles
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


def test_before_training_the_style_adds_nothing() -> None:
    attend = StyleAttention(WIDTH).requires_grad_(False)
    content = drawn("content", (1, 4, WIDTH))

    fused, _ = attend(content, drawn("style", (1, 4, WIDTH)))

    assert torch.equal(fused, content)


def softmax_by_hand(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention of one sample, one head and one query at a time: [N,C] each -> [N,C]."""
    size = query.shape[1] // heads
    rows = []
    for token in query:
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            weights = torch.stack([(token[own] * other[own]).sum() / size**0.5 for other in key]).exp()
            parts.append((weights[:, None] * value[:, own]).sum(dim=0) / weights.sum())
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("roles", "query", "key", "value", "heads"),
    [
        ("content_query", "content", "style", "style", 1),
        ("style_value", "content", "content", "style", 1),
        ("style_query", "style", "style", "content", 1),
        ("style_query_two_heads", "style", "style", "content", 2),
    ],
)
def test_who_asks_and_who_answers_is_what_the_name_says(
    roles: StyleAttentionRoles, query: str, key: str, value: str, heads: int
) -> None:
    attend = StyleAttention(WIDTH, roles)
    attend.load_state_dict(filled(shapes_of(attend)))
    attend.requires_grad_(False)
    tokens = {"content": drawn("content", (1, 5, WIDTH)), "style": drawn("style", (1, 5, WIDTH))}

    fused, attention = attend(tokens["content"], tokens["style"])

    answer = softmax_by_hand(
        attend.w_q(tokens[query])[0], attend.w_k(tokens[key])[0], attend.w_v(tokens[value])[0], heads
    )
    torch.testing.assert_close(fused[0], tokens["content"][0] + attend.lp(answer), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(1, 5))
