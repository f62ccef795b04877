"""Why did it say that? Questions about a model, each a pure function over taps.

Every answer is a frozen dataclass of numpy arrays and labels, with `to_dict()` for JSON.
All take a GPT first, work on every backend and leave nothing behind in the model; only the
gradients need torch.
"""

from ..taps import canonical_name, compose, transformer_lens_name
from .ablations import Ablation, Sweep, ablate, ablate_each, ablation
from .attribution import Attribution, attribute
from .comparison import MEET, Comparison, Continuation, compare
from .cost import BUDGET, Cost, OverBudget, estimate, select
from .edits import Edits
from .finding import Finding, fragment, page
from .gradients import TokenGradients, gradient_times_input, integrated_gradients
from .interventions import OPS, Direction, Intervention, intervene
from .lens import LogitLens, logit_lens
from .lineages import Compared, Lineage, lineage
from .machines import MOST_PARAMETERS, machine
from .nearest import Neighbours, neighbours
from .patching import Patching, patch, patch_each
from .patterns import (
    HEAD_KINDS,
    AttentionSummary,
    HeadLabel,
    HeadLabels,
    attention,
    head_labels,
)
from .reasons import Why, why
from .recorder import Recorder, trace
from .steering import STRENGTH, Steered, direction, steer, steered
from .talk_document import talk_page
from .traces import Trace
from .translations import TranslationWalk, walk_translation
from .views import (
    Prediction,
    ResidualNorms,
    View,
    prediction,
    residual_norms,
    view,
)
from .walk_document import WalkPass, first_walk, walk_page, walk_pass
from .walks import Step, Walk, walk

__all__ = [
    "BUDGET",
    "HEAD_KINDS",
    "MEET",
    "MOST_PARAMETERS",
    "OPS",
    "STRENGTH",
    "Ablation",
    "AttentionSummary",
    "Attribution",
    "Compared",
    "Comparison",
    "Continuation",
    "Cost",
    "Direction",
    "Edits",
    "Finding",
    "HeadLabel",
    "HeadLabels",
    "Intervention",
    "Lineage",
    "LogitLens",
    "Neighbours",
    "OverBudget",
    "Patching",
    "Prediction",
    "Recorder",
    "ResidualNorms",
    "Steered",
    "Step",
    "Sweep",
    "TokenGradients",
    "Trace",
    "TranslationWalk",
    "View",
    "Walk",
    "WalkPass",
    "Why",
    "ablate",
    "ablate_each",
    "ablation",
    "attention",
    "attribute",
    "canonical_name",
    "compare",
    "compose",
    "direction",
    "estimate",
    "first_walk",
    "fragment",
    "gradient_times_input",
    "head_labels",
    "integrated_gradients",
    "intervene",
    "lineage",
    "logit_lens",
    "machine",
    "neighbours",
    "page",
    "patch",
    "patch_each",
    "prediction",
    "residual_norms",
    "select",
    "steer",
    "steered",
    "talk_page",
    "trace",
    "transformer_lens_name",
    "view",
    "walk",
    "walk_page",
    "walk_pass",
    "walk_translation",
    "why",
]
