"""Public names of the package for autodoc: their docstrings, and references to them.

Autodoc imports ``neuralop_irno.NAME`` as a user does. What it does not find by itself: the docstring of an
object that is no class or function, and that ``neuralop_irno.refiner.IterativeRefiner`` is documented as
``neuralop_irno.IterativeRefiner``.
"""

import ast
import importlib
import inspect
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autosummary import autosummary_table
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inspect import signature as sphinx_signature
from sphinx.util.inspect import stringify_signature
from sphinx.util.typing import ExtensionMetadata

import neuralop_irno
from neuralop_irno.registry import Registry

PACKAGE = neuralop_irno.__name__
ROOT = Path(neuralop_irno.__file__).parent


@cache
def modules() -> dict[str, str]:
    """The module of every public name, from the package's stub."""
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    return {
        alias.name: f"{PACKAGE}.{node.module}" if node.module else PACKAGE
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@cache
def defined() -> set[str]:
    """The names that the package's modules define, and those of methods and attributes."""
    trees = [ast.parse(path.read_text()) for path in ROOT.rglob("*.py")]
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def entries(registry: Registry) -> list[str]:
    """A registry's docstring: how it is used, and what it holds here."""
    usage = "``register(name, constructor)`` adds one, ``names()`` lists all, ``build(config)`` makes one."
    found = [f"Each {registry.family} that a config may name: {usage}", ""]
    for name in registry.names():
        entry = registry.lookup(name)
        if isinstance(entry, partial):
            first = "The model of this name."
        elif entry.__module__.startswith(PACKAGE):
            first = (inspect.getdoc(entry) or "").partition("\n")[0]
        else:  # its docstring is in other markup
            first = f"of ``{entry.__module__}``"
        found += [f"``{name}``", f"   {first}"]
    return [*found, ""]


def document(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give a public object its own docstring, the one below its assignment, in place of its class's."""
    short = name.removeprefix(f"{PACKAGE}.")
    if isinstance(obj, Registry):
        lines[:] = entries(obj)
    elif what == "data":
        lines[:] = ModuleAnalyzer.for_module(modules()[short]).find_attr_docs()[("", short)]


def sign(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """Show the options of a class's own ``__init__`` where ``__new__`` only passes them on."""
    if what != "class" or "__init__" not in vars(obj) or obj.__new__ is object.__new__:
        return None
    found = sphinx_signature(obj.__init__, bound_method=True)
    public = [each for each in found.parameters.values() if not each.name.startswith("_")]
    shown = stringify_signature(
        found.replace(parameters=public), show_return_annotation=False, unqualified_typehints=True
    )
    return shown, ""


def end_summaries(app: Sphinx, tree: nodes.document) -> None:
    """End a summary with a full stop where the formula that it introduces is left out."""
    for table in tree.findall(autosummary_table):
        for text in [found for found in table.findall(nodes.Text) if found.endswith(":")]:
            text.parent.replace(text, nodes.Text(f"{text[:-1]}."))


def imported(path: str) -> Any:
    """The object at a dotted path; None if there is none."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return found
    return None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.Node | None:
    """Lead a reference to the page of a public name; others of the package, or of another, stay text.

    A name that is found nowhere is a warning of Sphinx.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    last = target.rpartition(".")[2]
    if last in modules() and (target == last or imported(target) is getattr(neuralop_irno, last)):
        python = env.domains.python_domain
        return python.resolve_xref(env, node["refdoc"], app.builder, "obj", f"{PACKAGE}.{last}", node, shown)
    known = last in defined() or imported(target) is not None or hasattr(torch, target)
    return shown if known else None


def bar(self: Inliner, match: Any, lineno: int) -> tuple[str, list[nodes.Node], str, list[nodes.Node]]:
    """A bar is a norm, |h|, and not the start of a substitution."""
    end = match.end("start")
    return match.string[:end], [], match.string[end:], []


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect to autodoc and to references that were not found."""
    Inliner.dispatch["|"] = bar
    app.connect("autodoc-process-docstring", document)
    app.connect("autodoc-process-signature", sign)
    app.connect("doctree-read", end_summaries)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
