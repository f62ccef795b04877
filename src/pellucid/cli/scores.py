"""Scores, as a terminal shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..draw.notation import percent
from .output import say, to_json

if TYPE_CHECKING:
    from ..evaluate import Divergence, Perplexity, TaskScore

__all__ = ["print_score"]


def print_score(score: Any, path: str, as_json: bool) -> None:
    from ..evaluate import ConversationPerplexity, Divergence, Perplexity

    if as_json:
        say(to_json({"file": path, **score.to_dict()}), data=True)
    elif isinstance(score, ConversationPerplexity):
        _print_perplexity(score.replies, path, "the assistant's turns")
        _print_perplexity(score.everything, path, "all turns")
    elif isinstance(score, Perplexity):
        _print_perplexity(score, path, "")
    elif isinstance(score, Divergence):
        _print_divergence(score, path)
    else:
        _print_task(score, path)


def _print_perplexity(score: Perplexity, path: str, part: str) -> None:
    say(f"{path}{', ' + part if part else ''}, model {score.model}")
    say(f"  bits per byte         {score.bits_per_byte:.4f}")
    say(f"  perplexity per token  {score.perplexity:,.4f}")
    say(f"  nats per token        {score.nats_per_token:.4f}")
    if score.word_perplexity is not None:
        say(f"  perplexity per word   {score.word_perplexity:,.4f}")
    words = "" if score.n_words is None else f", {score.n_words:,} words"
    documents = "1 document" if score.n_documents == 1 else f"{score.n_documents:,} documents"
    say(
        f"  {documents}, {score.n_tokens:,} tokens scored, "
        f"{score.n_bytes:,} bytes{words}{'' if score.complete else ' (broken off)'}"
    )
    say(f"  protocol: {score.protocol}")


def _print_task(score: TaskScore, path: str) -> None:
    say(f"{score.task}, {path}, model {score.model}")
    for name, value in score.metrics.items():
        say(f"  {name:20}  {value:.4f}")
    for name, value in score.groups.items():
        say(f"    {name:50}  {value:.3f}")
    say(
        f"  {score.n_examples:,} examples, {score.n_tokens:,} tokens scored"
        f"{'' if score.complete else ' (broken off)'}"
    )
    if score.n_cut:
        say(f"  {score.n_cut:,} contexts were longer than the window and lost their beginning")
    say(f"  protocol: {score.protocol}")


def _print_divergence(score: Divergence, path: str) -> None:
    say(f"{path}, model {score.model}")
    say(f"  held against          {score.against}")
    say(f"  KL per token          {score.kl_per_token:.5f} nats, at most {score.most:.3f}")
    say(f"  same likeliest token  {percent(score.same_top_1)}")
    say(f"  flips                 {score.flips:,}, of them {score.near_ties:,} near a tie")
    say(f"  perplexity ratio      {score.perplexity_ratio:.4f} ± {score.ratio_error:.4f}")
    documents = "1 document" if score.n_documents == 1 else f"{score.n_documents:,} documents"
    say(
        f"  {documents}, {score.n_tokens:,} tokens, {score.n_near_ties:,} near a tie"
        f"{'' if score.complete else ' (broken off)'}"
    )
    say(
        f"  protocol: windows of {score.window} tokens, each scoring its last {score.stride}; "
        "near a tie: the two likeliest within 0.1 nats",
    )
