"""The sentences of the errors in the source: what a person may come to read, with ``…`` for what varies."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import whereabouts

PACKAGE = Path(whereabouts.__file__).parent
VARIES = "…"
TEXT_ARGUMENTS = {
    "CniError": (1, 2),
    "Failure": (1,),  # of etcd; what an error of its kind is raised with
    "report": (0,),  # of Problems, which raises it
    "remaining": (0,),  # of Deadline: what was being waited for
    "wait_for": (1,),
    "pause": (1,),
}
"""Which arguments of a call are what a person reads; of an exception's it is the first."""
UNATTENDED = ("service", "plugin", "agent", "controller", "install")
"""What runs without a person who typed its command and reads its answer; with all that they import."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Sentence(NamedTuple):
    """The text of an error, and where it is made."""

    where: str
    text: str


class Source:
    """The modules of the package, and the native plugin."""

    def __init__(self) -> None:
        self._package = {_module(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
        self._unattended = _reached(self._package)
        self.native = (PACKAGE / "native/whereabouts.c").read_text()

    @property
    def sentences(self) -> list[Sentence]:
        """Every text that an error of what runs unattended is made with, and the native plugin's."""
        found = [
            Sentence(f"{module.replace('.', '/')}.py:{call.lineno}", text)
            for module in self._unattended
            for function, call in _calls(self._package[module])
            for text in self._texts_of(call, function)
        ]
        return [one for one in [*found, *self._native()] if re.search(r"\w{2}", one.text)]

    @property
    def texts(self) -> set[str]:
        """Every text of the package, be it of an error or not."""
        nodes = (node for tree in self._package.values() for node in ast.walk(tree))
        return {text for node in nodes if isinstance(node, ast.expr) for text in self._texts(node, None)}

    @cached_property
    def _errors(self) -> set[str]:
        """The exceptions of the package, by name."""
        bases = {
            node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
            for tree in self._package.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }
        known = {"Exception"}
        while more := {name for name, of in bases.items() if of & known} - known:
            known |= more
        return known

    @cached_property
    def _returned(self) -> dict[str, list[ast.expr]]:
        """What functions of a name return."""
        returned: dict[str, list[ast.expr]] = defaultdict(list)
        for tree in self._package.values():
            for function in ast.walk(tree):
                if isinstance(function, Function):
                    returned[function.name] += _returns(function)
        return returned

    def _texts_of(self, call: ast.Call, function: Function | None) -> list[str]:
        """What an exception is made with; nothing if the call is of something else."""
        name = _name(call.func)
        if name in TEXT_ARGUMENTS:
            said = [call.args[index] for index in TEXT_ARGUMENTS[name] if index < len(call.args)]
        elif name in self._errors or isinstance(call.func, ast.IfExp):  # (One if this else Other)(text)
            said = call.args[:1]
        else:
            return []
        return [text for argument in said for text in self._texts(argument, function)]

    def _texts(self, node: ast.expr, function: Function | None, follow: bool = True) -> list[str]:
        """The texts that an expression can be.

        Those that are written where it stands, where its name is assigned in ``function``, or, if calls are
        to be followed, what the called function returns.
        """
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return ["".join(_part(part) for part in parts)]
            case ast.IfExp(body=one, orelse=other):
                return [*self._texts(one, function, follow), *self._texts(other, function, follow)]
            case ast.Name(id=name) if function is not None:
                values = _assigned(name, function)
                return [text for value in values for text in self._texts(value, None, follow)]
            case ast.Call(func=callee) if follow:
                made = self._returned.get(_name(callee), ())
                return [text for value in made for text in self._texts(value, None, follow=False)]
            case _:
                return []

    def _native(self) -> Iterator[Sentence]:
        """The format of each ``fail(code, details, format, ...)``."""
        fail = r'\bfail\((?:[A-Z_]+|unavailable\(\)),\s*(?:"[^"]*"\s*|[A-Z_]+\s*)+,\s*"(?P<format>[^"]*)"'
        for call in re.finditer(fail, self.native):
            line = self.native.count("\n", 0, call.start()) + 1
            text = re.sub(r"%[.\d]*(?:ll)?[a-z]", VARIES, call["format"])
            yield Sentence(f"native/whereabouts.c:{line}", text)


def _module(path: Path) -> str:
    """``cni.names`` for whereabouts/cni/names.py, ``cni`` for whereabouts/cni/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _reached(everything: dict[str, ast.Module]) -> list[str]:
    """The modules of UNATTENDED, and what they import, wherever in a module they do."""
    reached: set[str] = set()
    waiting = [name for name in everything if name.partition(".")[0] in UNATTENDED]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += everything.keys() & set(_imported(everything[module]))
    return sorted(reached)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("whereabouts"):
            origin = node.module.removeprefix("whereabouts").removeprefix(".")
            yield origin
            yield from (f"{origin}.{alias.name}".removeprefix(".") for alias in node.names)


def _part(part: ast.expr) -> str:
    """A part of an f-string."""
    return str(part.value) if isinstance(part, ast.Constant) else VARIES


def _name(callee: ast.expr) -> str:
    return callee.id if isinstance(callee, ast.Name) else getattr(callee, "attr", "")


def _calls(tree: ast.AST, function: Function | None = None) -> Iterator[tuple[Function | None, ast.Call]]:
    """All calls, each with the function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield function, node
        yield from _calls(node, node if isinstance(node, Function) else function)


def _returns(function: Function) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value


def _assigned(name: str, function: Function) -> Iterable[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(_is_name(target, name) for target in node.targets):
            yield node.value


def _is_name(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name
