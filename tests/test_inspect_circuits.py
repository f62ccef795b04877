"""The whole chain on a model whose circuits are known: built by hand in `circuits.py`."""

import json

import numpy as np
import pytest

from pellucid.checkpoint import Roles
from pellucid.errors import InputError
from pellucid.inspect import (
    ablate,
    ablate_each,
    attention,
    attribute,
    head_labels,
    logit_lens,
    patch_each,
    why,
)
from pellucid.visible import quoted
from support.circuits import (
    DUPLICATE,
    FIRST,
    IDLE,
    INDUCTION,
    PREVIOUS,
    SELF,
    induction_gpt,
    random_gpt,
)
from support.skips import BACKENDS

TEXT = "abcdefabc"  # → d
PLANTED = {PREVIOUS, INDUCTION}


@pytest.fixture(scope="module", params=BACKENDS)
def gpt(request):
    return induction_gpt(backend=request.param)


def heads(sweep, below):
    return {tuple(int(i) for i in at) for at in np.argwhere(sweep < below)}


def test_it_completes_what_it_has_seen(gpt):
    assert gpt.generate("abcdefghabc", max_tokens=12, greedy=True).text == "defghabcdefg"
    assert gpt.generate("pfkcmpf", max_tokens=3, greedy=True).text == "kcm"


def test_every_planted_head_gets_its_label_and_no_other(gpt):
    found = head_labels(gpt)
    planted = {
        "previous token": PREVIOUS,
        "induction": INDUCTION,
        "duplicate token": DUPLICATE,
        "first token": FIRST,
        "self": SELF,
    }
    assert {kind: found.of(kind) for kind in found.scores} == {
        kind: (head,) for kind, head in planted.items()
    }
    assert all(label.score > 0.95 for label in found.labels)
    assert found.at(*IDLE) == []
    for kind, table in found.scores.items():
        others = np.delete(table.ravel(), np.ravel_multi_index(planted[kind], (2, 4)))
        assert others.max() < 0.35, kind


def test_labels_do_not_hang_on_the_seed(gpt):
    assert {head_labels(gpt, seed=seed).of("induction") for seed in range(5)} == {(INDUCTION,)}


@pytest.mark.parametrize("bos", [None, 3])
def test_its_texts_begin_as_the_models_do(bos):
    """Each with the model's bos; without one, and without an end of text, with anything."""
    gpt = random_gpt()
    gpt.roles = Roles(bos=bos)
    plain, begun = gpt.forward, []
    gpt.forward = lambda ids, *rest, **more: (
        begun.append(np.asarray(ids)) or plain(ids, *rest, **more)
    )
    head_labels(gpt)
    rows = np.concatenate([np.atleast_2d(ids) for ids in begun])
    assert len(rows) >= 4
    assert (rows[:, 0] == bos).all() == (bos is not None)
    assert bos not in rows[:, 1:]


@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_ablation_finds_both_heads_of_the_circuit(gpt, how):
    reference = "ponmlkjih" if how == "resample" else None
    sweep = ablate_each(gpt, TEXT, "heads", how=how, reference=reference)
    assert sweep.target == "d"
    assert heads(sweep.logprob_change, -3) == PLANTED
    rest = [h for h in np.ndindex(2, 4) if h not in PLANTED]
    assert max(sweep.divergence[h] for h in rest) < 1e-6
    assert sweep.top_tokens[INDUCTION[0] * 4 + INDUCTION[1]] != "d"
    assert ablate(gpt, TEXT, heads=PLANTED, how=how, reference=reference).after[0].text != "d"


def test_ablation_finds_the_tokens_of_the_circuit(gpt):
    sweep = ablate_each(gpt, TEXT, "positions", how="mean")
    # c, that is looked for; c, where it stood before; d, that is copied
    assert {i for (i,), change in sweep.strongest(9) if change < -1} == {2, 3, 8}


def test_patching_shows_where_the_answer_is_and_who_carries_it(gpt):
    source, base = "abcdefc", "abgdefc"  # only in the source does d follow c
    found = patch_each(gpt, source, base, target="d", versus="c")
    recovered = found.recovered
    assert recovered[0, 2] == pytest.approx(1, abs=1e-3)  # before layer 0: in the c itself
    assert recovered[1, 3] == pytest.approx(1, abs=1e-3)  # after the previous-token head: at d
    recovered[0, 2] = recovered[1, 3] = 0
    assert np.abs(recovered).max() < 0.2
    carried = patch_each(gpt, source, base, "heads", target="d", versus="c")
    assert {at for at, share in carried.strongest(2)} == PLANTED
    assert all(share > 0.95 for _, share in carried.strongest(2))
    assert carried.strongest(3)[2][1] < 0.05


def test_attribution_and_lens_say_the_same(gpt):
    found = attribute(gpt, TEXT, "d", versus="c")
    assert np.unravel_index(found.heads.argmax(), (2, 4)) == INDUCTION
    assert found.heads[INDUCTION] > 0.9 * found.heads.sum()
    assert found.by_token.argmax() == 3  # read from the d
    assert (found.mlps == 0).all()
    lens = logit_lens(gpt, TEXT)
    assert [layer[-1][0] for layer in lens.top_tokens] == ["c", "c", "d"]
    summary = attention(gpt, TEXT, layers=INDUCTION[0], heads=INDUCTION[1])
    assert summary.strongest[0, 0, 6:].tolist() == [1, 2, 3]


def test_why(gpt):
    found = why(gpt, TEXT, "d")
    assert found.target == "d"
    assert found.rank == 0
    assert found.probability > 0.99
    assert set(found.important_heads) == PLANTED
    assert set(found.important_positions) == {2, 3, 8}
    prediction, tokens, named, parts, layers = found.sentences
    assert "“d”" in prediction
    assert "first choice" in prediction
    assert "“d” (position 3" in tokens
    assert "head 1 of layer 0" in named
    assert "a previous token head; works through later layers" in named
    assert "an induction head; reads from “d”" in named
    assert f"would have said {quoted(found.without_heads.after[0].text)}" in named
    lead = found.attribution
    assert (
        f"leads {quoted(lead.versus)} by {lead.logit:.2f}; "
        "it owes most to head 2 of layer 1 (+" in parts
    )
    assert layers.endswith("“d” leads from layer 1 on.")
    assert found.text == " ".join(found.sentences)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["kind"] == "Why"


def test_why_of_what_it_would_not_say(gpt):
    found = why(gpt, TEXT, "kl")
    assert found.rank > 0
    assert "number" in found.sentences[0]
    assert "token 1 of 2" in found.sentences[1]
    assert f"“k” trails “d” by {-found.attribution.logit:.1f}" in found.text
    assert found.without_attention.heads == tuple(np.ndindex(2, 4))
    assert "No single attention head is needed" in why(gpt, "a").text
    assert why(gpt, TEXT, labels=False).labels is None
    assert why(gpt, "a").sentences  # a single token is a prompt, too
    with pytest.raises(InputError, match="continuation is empty"):
        why(gpt, TEXT, "")
    with pytest.raises(InputError, match="the text is empty"):
        why(gpt, "")
