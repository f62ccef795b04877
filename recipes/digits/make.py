"""Make the embedded model `digits`, which writes number words as digits and dates in ISO form:

    python recipes/digits/make.py [--out FOLDER] [--work FOLDER]

It is the original Transformer, small: about a quarter of an hour on one core. The pairs are made by
rules (`pairs.py`), the model by `pellucid train --pairs` with digits.toml; what was held out is
then written by beam search, and the share that is exact stands on the card. A run that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pairs

from pellucid import checkpoint
from pellucid.data.translations import read_translations
from pellucid.train.config import TranslationConfig
from pellucid.train.run import trainer_for
from pellucid.translate import load_translator

HERE = Path(__file__).parent
EMBEDDED = HERE.parents[1] / "src" / "pellucid" / "embedded" / "digits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=EMBEDDED, help="the model's folder")
    parser.add_argument("--work", type=Path, default=Path("digits"), help="data and run")
    arguments = parser.parse_args()
    data, run = arguments.work / "data", arguments.work / "run"
    pairs.write(data)
    changed = {"corpus": str(data / "train.tsv"), "out": str(run)}
    trainer = trainer_for(TranslationConfig.read(HERE / "digits.toml", changed))
    for report in trainer:
        if report.validation_loss is not None:
            print(f"step {report.step:,}: {report.validation_loss:.4f} nats/token held out, "
                  f"accuracy {report.measures['validation_accuracy']:.4f}", flush=True)  # fmt: skip
    write(arguments.out, run, data / "held_out.tsv")


def write(out: Path, run: Path, held_out: Path) -> None:
    """The finished model in float16, measured as it is shipped, with its card."""
    model = checkpoint.load(run / "model")
    learned = {name: model.card[name] for name in ("step", "validation_loss")}
    source = model.card["corpus"]

    def save(measured: dict[str, object]) -> None:
        card = {
            "name": "digits",
            "about": "The original Transformer (2017), small: number words as digits, dates as ISO",
            "example": "the 3rd of May, 1997",
            "command": "python recipes/digits/make.py",
            "data": "pairs made by rules (recipes/digits/pairs.py), seed 0",
            "licence": "MIT, as Pellucid",
            "parameters": model.hparams.n_params,
            **learned,
            "pairs": source["pairs"] + source["validation_pairs"],
            **measured,
            "limits": (
                "English whole numbers below a thousand million and dates from 1500 to 2199, one "
                "to a text, in the ways of writing of its recipe. Anything else gets digits too, "
                "wrong ones. It holds no conversation."
            ),
        }  # fmt: skip
        checkpoint.save(
            out, model.hparams, model.tensors, model.tokenizer, dtype="float16", card=card,
            roles=model.roles,
        )  # fmt: skip

    save({})
    translator = load_translator(out, threads=1)
    rows = read_translations(held_out).pairs
    measured: dict[str, object] = {"held_out": len(rows)}
    for name, beams in (("exact_beams_4", 4), ("exact_greedy", 1)):
        wrong = [
            (pair, made)
            for pair in rows
            if (made := translator.translate(pair.source, beams=beams).text) != pair.target
        ]
        measured[name] = round(1 - len(wrong) / len(rows), 5)
        print(f"{name}: {len(rows) - len(wrong):,} of {len(rows):,} held out are exact")
        for pair, made in wrong[:10]:
            print(f"  {pair.source} → {made}, not {pair.target}")
    save(measured)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"Wrote {out}: {size:,} bytes")


if __name__ == "__main__":
    main()
