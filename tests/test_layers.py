"""A layer may import only the layers listed for it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lmmrotate"
LOW = {"assets", "errors", "geometry"}
ALLOWED = {
    "assets": set(),
    "errors": set(),
    "geometry": {"errors"},
    "data": LOW,
    "codec": LOW,
    "models": LOW,
    "runs": LOW | {"data", "codec"},
    # Training validates with what users judge by: answers as inference writes them, scored by evaluation.
    "training": LOW | {"data", "codec", "models", "runs", "inference", "evaluation"},
    "inference": LOW | {"data", "codec", "models", "runs", "evaluation", "report"},
    "baselines": LOW | {"data", "models", "runs", "training", "inference"},
    "evaluation": LOW | {"data"},
    "report": LOW | {"data", "evaluation"},
}
TOP = {"__init__", "__main__", "cli"}
TORCH_FREE = {"assets", "errors", "geometry", "data", "codec", "runs", "evaluation", "report"}
MODULES = sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Absolute names imported anywhere in the module (TYPE_CHECKING blocks left out)."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: use absolute imports"
            module = node.module or ""
            found.add(module)
            found |= {f"{module}.{alias.name}" for alias in node.names}
        todo.extend(ast.iter_child_nodes(node))
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_follow_the_layers(path: Path) -> None:
    layer = layer_of(path)
    if layer in TOP:
        return
    names = imports(path)
    inside = {name.split(".")[1] for name in names if name.startswith("lmmrotate.")} - {"__version__"}
    assert inside - {layer} <= ALLOWED[layer]
    outside = {name.split(".")[0] for name in names}
    assert "torchvision" not in outside
    if layer in TORCH_FREE:
        assert not {"torch", "transformers", "tokenizers", "accelerate"} & outside


def test_every_layer_is_listed() -> None:
    assert {layer_of(path) for path in MODULES} <= set(ALLOWED) | TOP


def test_modules_stay_readable() -> None:
    long = {str(p.relative_to(SOURCE)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"modules above 400 lines: {long}"
    assert not list(SOURCE.rglob("utils.py"))
