"""The verbs by section, each with its line in --help and an example that runs."""

from __future__ import annotations

__all__ = ["EXAMPLES", "SECTIONS", "VERBS"]

# section -> verb -> one line for --help. The module of the same name holds the verb's `command`.
SECTIONS: dict[str, dict[str, str]] = {
    "Talk and generate": {
        "chat": "Talk with a model; see every token if you like.",
        "open": "The page in your browser: chat, click any word, see how it came about.",
        "generate": "Go on from a text, token by token.",
        "conversations": "What was said in the chat: list, show, search, export, delete.",
        "talk": "The chatbot, the model `chat`; the walk where there is no terminal.",
    },
    "See inside": {
        "walk": "The whole way from text to predicted token, with live numbers.",
        "view": "One text from every side, on one page for a browser.",
        "tokens": "Show how a text is split into tokens.",
        "trace": "Every value of a pass, or of a generation that was recorded.",
        "lens": "What it would say if it ended after each layer.",
        "attention": "Who looks where.",
        "heads": "What each head does, measured.",
        "neighbours": "The tokens nearest to a token.",
        "lineage": "What changed since 2017: four families on one sentence, side by side.",
    },
    "Ask why": {
        "why": "Which tokens and heads made it say that, in plain words.",
        "attribute": "A logit as the sum of what each part wrote.",
        "gradients": "Which tokens the prediction is sensitive to (needs PyTorch).",
    },
    "Change and watch": {
        "compare": "How a text goes on, as it is and changed, side by side.",
        "ablate": "Switch parts off and see what it says then.",
        "sweep": "Every head, MLP or token off, each alone.",
        "patch": "Put values of one prompt's run into another's.",
        "steer": "Generate with a direction added.",
    },
    "Learn": {
        "data": "Turn texts and conversations into token files to train on.",
        "train": "Make a model from your texts; `train talk` learns in seconds.",
        "prefer": "Make the better of two replies likelier (DPO).",
        "plot": "Draw a training run's losses.",
        "learned": "How it came to say that: a slider over the moments of a training.",
    },
    "Models": {
        "serve": "Serve a model over HTTP, as OpenAI's clients expect it.",
        "batch": "A whole corpus: generated, scored, inspected, one row a document.",
        "eval": "How well a model predicts a text it has not seen.",
        "bench": "How fast, beside llama.cpp and others, on this machine.",
        "models": "List the models at hand, or show one's card.",
        "convert": "Write a checkpoint in another format.",
        "merge": "Put a LoRA adapter into the model it was trained on.",
    },
}
VERBS: tuple[str, ...] = tuple(verb for verbs in SECTIONS.values() for verb in verbs)

_TALK = '"The power clapper went straight to"'
EXAMPLES: dict[str, str] = {
    "chat": "pellucid chat --temperature 0.8",
    "open": "pellucid open",
    "generate": 'pellucid generate "Once upon a time" --max-tokens 40',
    "conversations": "pellucid conversations list",
    "talk": "pellucid talk",
    "walk": 'pellucid walk "The power clapper" --model talk',
    "view": 'pellucid view "The power clapper" --model talk --html page.html',
    "tokens": 'pellucid tokens "The power clapper" --model talk --merges',
    "trace": 'pellucid trace "The power clapper" --model talk --names attn.pattern --layer 0',
    "lens": f"pellucid lens {_TALK} --model talk",
    "attention": f"pellucid attention {_TALK} --model talk",
    "heads": "pellucid heads --model talk",
    "neighbours": 'pellucid neighbours " jail" --model talk',
    "lineage": f"pellucid lineage {_TALK}",
    "why": f'pellucid why {_TALK} " jail" --model talk',
    "attribute": f'pellucid attribute {_TALK} --model talk --versus " court"',
    "gradients": f"pellucid gradients {_TALK} --model talk --integrated",
    "compare": 'pellucid compare "The king went home to" --model talk --head 1.0 --greedy',
    "ablate": 'pellucid ablate "The king went home to" --model talk --head 1.0',
    "sweep": 'pellucid sweep "The judge went home to" --model talk',
    "patch": 'pellucid patch "The power went" "The king went" --model talk',
    "steer": 'pellucid steer "Tell me a story about a dog." --chat --towards "the sea"',
    "data": "pellucid data stories/ corpus",
    "train": "pellucid train texts/ --out run",
    "prefer": "pellucid prefer pairs.jsonl --start run/model --out better",
    "plot": "pellucid plot run",
    "learned": "pellucid learned talk --html learned.html",
    "serve": "pellucid serve --port 8000",
    "batch": "pellucid batch texts/ rows --max-tokens 20 --loss",
    "eval": "pellucid eval text.txt --model run/model",
    "bench": "pellucid bench --rounds 1 --only 'Pellucid numpy'",
    "models": "pellucid models chat",
    "convert": "pellucid convert talk copy --format hf",
    "merge": "pellucid merge base run/adapter merged",
}
