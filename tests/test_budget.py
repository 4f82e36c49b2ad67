"""Size budget: small functions and files are what makes the code readable, so growth past it is a decision, not an accident."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "corkboard"
FILES = sorted(PACKAGE.rglob("*.py"))


def functions(tree: ast.AST):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_file_and_no_function_outgrows_the_budget(file):
    text = file.read_text()
    assert text.count("\n") <= 600, f"{file} has more than 600 lines; split it"
    long = {node.name: length(node) for node in functions(ast.parse(text)) if length(node) > 80}
    assert not long, f"functions of more than 80 lines in {file}: {long}"


def test_most_functions_are_short():
    lengths = sorted(length(node) for file in FILES for node in functions(ast.parse(file.read_text())))
    assert lengths[int(0.9 * len(lengths))] <= 35


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_module_and_public_class_says_what_it_is(file):
    tree = ast.parse(file.read_text())
    assert (file.name == "__init__.py" and not tree.body) or ast.get_docstring(tree), f"{file} has no docstring"
    public = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert [node.name for node in public if not ast.get_docstring(node)] == []
