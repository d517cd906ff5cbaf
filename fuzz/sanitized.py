"""A copy of the package whose compiled parts are built with gcc's sanitizers, and tell the fuzzer their ways.

Every read and write out of bounds, and all that C leaves undefined, ends the process there.
"""

import ctypes
import os
import shutil
import subprocess
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from fuzz.target import FOLDER

COPY = FOLDER.parent / "build" / "fuzz" / "sanitized"
_PACKAGE = FOLDER.parent / "whereabouts"
_MODULES = ("_bitmap", "_codec", "_columns")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
_OPTIONS = ("-O1", "-g", "-w", "-fPIC", f"-I{sysconfig.get_path('include')}")
_SEEN = ("-fsanitize-coverage=trace-pc,trace-cmp",)


def build() -> None:
    """Bring the copy up to date. Needs gcc and Cython."""
    unwanted = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "native")
    shutil.copytree(_PACKAGE, COPY / "whereabouts", ignore=unwanted, dirs_exist_ok=True)
    for name in _MODULES:
        _build_module(COPY / "whereabouts" / name)
    _build_plugin(COPY / "whereabouts" / "native" / "whereabouts")


def _build_module(stem: Path) -> None:
    made = stem.with_name(stem.name + str(sysconfig.get_config_var("EXT_SUFFIX")))
    source, seen = stem.with_suffix(".pyx"), FOLDER / "coverage.c"
    if _is_newer(made, source, seen, Path(__file__)):
        return
    _run(f"{sysconfig.get_path('scripts')}/cython", "-3", source, "-o", stem.with_suffix(".c"))
    _run("gcc", *_OPTIONS, *_SANITIZERS, *_SEEN, "-c", stem.with_suffix(".c"), "-o", stem.with_suffix(".o"))
    _run("gcc", *_OPTIONS, "-c", seen, "-o", COPY / "coverage.o")
    _run("gcc", "-shared", *_SANITIZERS, stem.with_suffix(".o"), COPY / "coverage.o", "-ldl", "-o", made)


def _build_plugin(made: Path) -> None:
    source = _PACKAGE / "native" / "whereabouts.c"
    if not _is_newer(made, source, Path(__file__)):
        made.parent.mkdir(exist_ok=True)
        _run("gcc", "-O1", "-g", *_SANITIZERS, '-DWHEREABOUTS_VERSION="1.2.3"', source, "-o", made)


def _is_newer(made: Path, *sources: Path) -> bool:
    return made.exists() and all(made.stat().st_mtime > source.stat().st_mtime for source in sources)


def _run(*command: str | Path) -> None:
    subprocess.run(command, cwd=COPY, check=True)


def environment() -> dict[str, str]:
    """What a process needs that is to load the copy: the sanitizer first, and Python's memory from malloc."""
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return {
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:detect_odr_violation=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(COPY),
        "FUZZ_CORE": str(_core()),
    }


def load_core() -> None:
    """Load libFuzzer before the modules that will report to it."""
    ctypes.CDLL(os.environ["FUZZ_CORE"])


def _core() -> Path:
    spec = find_spec("atheris")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("core_with_libfuzzer*.so"))
