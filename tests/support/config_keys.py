"""Which keys a version of transformers writes into a GPT-2's config.json, read from its wheel
without running it:

    pip download transformers==4.17.0 --no-deps
    PYTHONPATH=tests python -m support.config_keys transformers-4.17.0-py3-none-any.whl

Names only: what `PretrainedConfig.__init__`, its table of generation defaults and
`GPT2Config.__init__` set, and what `to_dict` adds.
"""

from __future__ import annotations

import ast
import sys
import zipfile

FILES = ("transformers/configuration_utils.py", "transformers/models/gpt2/configuration_gpt2.py")
ADDED = {"model_type", "transformers_version"}
# Set, and taken out again by to_dict; or a property's name for another key.
NOT_WRITTEN = {"_attn_implementation_internal", "_auto_class", "name_or_path"}


def keys(wheel: str) -> list[str]:
    names = set(ADDED)
    with zipfile.ZipFile(wheel) as archive:
        for file in FILES:
            for node in ast.parse(archive.read(file)).body:
                if isinstance(node, ast.ClassDef) and node.name in (
                    "PretrainedConfig",
                    "GPT2Config",
                ):
                    for each in node.body:
                        if isinstance(each, ast.FunctionDef):
                            names |= _set_in(each)
    return sorted(names - NOT_WRITTEN)


def _set_in(function: ast.FunctionDef) -> set[str]:
    names = set()
    for node in ast.walk(function):
        if function.name == "__init__" and isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Store) and getattr(node.value, "id", "") == "self":
                names.add(node.attr)
        elif function.name == "_get_global_generation_defaults" and isinstance(node, ast.Dict):
            names |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return names


if __name__ == "__main__":
    print("\n".join(keys(sys.argv[1])))
