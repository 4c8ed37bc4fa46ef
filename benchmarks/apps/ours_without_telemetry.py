"""Ours as a build without telemetry: every statement of the package that asks for an observer is cut out."""

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from runpy import run_path
from types import CodeType, ModuleType

SEAM = {"observer", "observation", "OPENTELEMETRY"}


class Cut(ast.NodeTransformer):
    """Removes the seam."""

    def visit_If(self, node: ast.If) -> ast.stmt:  # the name that ast looks for
        asks = any(isinstance(part, ast.Name) and part.id in SEAM for part in ast.walk(node.test))
        asks |= any(isinstance(part, ast.Attribute) and part.attr in SEAM for part in ast.walk(node.test))
        return ast.Pass() if asks else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return ast.Pass() if SEAM.intersection(names) - {"OPENTELEMETRY"} else node


class CutLoader(SourceFileLoader):
    """Compiles a module without the seam, and keeps nothing of it for others."""

    def get_code(self, fullname: str) -> CodeType:
        tree = Cut().visit(ast.parse(Path(self.path).read_text()))
        return compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)


class CutFinder(MetaPathFinder):
    """Finds the modules of the package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "agentserver":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = CutLoader(fullname, spec.loader.path)
        return spec


sys.meta_path.insert(0, CutFinder())
run_path(str(Path(__file__).with_name("ours.py")), run_name="__main__")
