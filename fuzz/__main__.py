"""Search for inputs that break a promise: ``python -m fuzz [TARGET ...] [--seconds N] [--merge]``.

What is found on the way is kept in ``build/fuzz/TARGET/``: inputs that reach something new in ``found``, an
input that broke a promise beside it. ``--merge`` takes the fewest of all that are known into ``fuzz/corpus``.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from hashlib import sha1
from io import StringIO
from pathlib import Path
from random import Random

from fuzz import sanitized
from fuzz.target import CORPUS, FOLDER, Target, corpus, load, names

WORK = FOLDER.parent / "build" / "fuzz"
NO_ATHERIS = """there is no atheris, which finds the inputs: it has wheels for Linux on x86-64 and Python 3.11
to 3.13. `make fuzz` installs it where there is one. `make test` tries the inputs that are kept."""
DIGEST = re.compile("[0-9a-f]{40}")
"""How libFuzzer calls inputs. One that once broke something has a name, and stays."""
ONE = "--one"
"""Says that the arguments are a target and those of libFuzzer: the process that fuzzes is called so."""
SANITIZED_MEMORY = 4
"""How many times the memory a process with sanitizers may have."""
OWN_FORM = 0.6
"""How often an input is changed in its own form, where it has one; else the fuzzer changes bytes."""


def main() -> int:
    """Fuzz each target in a process of its own; the exit status."""
    if sys.argv[1:2] == [ONE]:
        return _fuzz(sys.argv[2], sys.argv[3:])
    options = _options()
    try:
        import atheris  # noqa: F401
    except ImportError:
        print(NO_ATHERIS, file=sys.stderr)
        return 1
    if options.sanitize:
        sanitized.build()
    failed = [name for name in options.target or names() if not _run(name, options)]
    if failed:
        print(f"broken: {', '.join(failed)}; the inputs stand in {WORK}", file=sys.stderr)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"one of {', '.join(names())}; all of them without one")
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz each (60)")
    parser.add_argument(
        "--sanitize", action="store_true", help="with gcc's sanitizers in all that is compiled"
    )
    parser.add_argument("--merge", action="store_true", help="renew fuzz/corpus instead of fuzzing")
    options = parser.parse_args()
    unknown = set(options.target) - set(names())
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}: there are {', '.join(names())}")
    return options


def _run(name: str, options: argparse.Namespace) -> bool:
    """Fuzz one target, or renew its corpus; whether it kept its promises."""
    print(f"==== {name}", flush=True)
    work = WORK / name
    seeds, found = work / "seeds", work / "found"
    for folder in (seeds, found, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    target = load(name)
    for seed in target.seeds:
        (seeds / sha1(seed).hexdigest()).write_bytes(seed)
    memory = SANITIZED_MEMORY * target.memory if options.sanitize else target.memory
    limits = [f"-timeout={target.patience}", f"-rss_limit_mb={memory}", f"-max_len={target.largest}"]
    if options.merge:
        return _merge(name, options, limits, [CORPUS / name, seeds, found])
    arguments = [f"-max_total_time={options.seconds}", f"-artifact_prefix={work}/"]
    arguments += ["-print_final_stats=1", "-verbosity=0"]
    if target.words:
        words = work / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        arguments.append(f"-dict={words}")
    return _call(name, options, [*arguments, *limits, str(found), str(CORPUS / name), str(seeds)]) == 0


def _escaped(word: str | bytes) -> str:
    data = word.encode() if isinstance(word, str) else word
    return "".join(f"\\x{byte:02x}" for byte in data)


def _call(name: str, options: argparse.Namespace, arguments: Sequence[str]) -> int:
    environment = {**os.environ, **(sanitized.environment() if options.sanitize else {})}
    command = [sys.executable, "-m", "fuzz", ONE, name, *arguments]
    return subprocess.run(command, cwd=FOLDER.parent, env=environment, check=False).returncode


def _merge(name: str, options: argparse.Namespace, limits: Sequence[str], folders: Sequence[Path]) -> bool:
    fresh = WORK / name / "fewest"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    if _call(
        name, options, ["-set_cover_merge=1", "-use_counters=0", *limits, str(fresh), *map(str, folders)]
    ):
        return False
    for path in corpus(name):
        if DIGEST.fullmatch(path.name):
            path.unlink()
    shutil.copytree(fresh, CORPUS / name, dirs_exist_ok=True)
    return True


def _fuzz(name: str, arguments: Sequence[str]) -> int:
    """Be the process that fuzzes."""
    if "FUZZ_CORE" in os.environ:
        sys.path.insert(0, str(sanitized.COPY))  # before this folder, in which the package is as well
        sanitized.load_core()
    import atheris

    # It names every module that it instruments.
    with redirect_stderr(StringIO()), atheris.instrument_imports(include=["whereabouts"]):
        target = load(name)
        for seed in target.seeds:
            target.check(seed)  # and so imports, instrumented, what is imported late
    mutator = _mutator(target)
    given = {} if mutator is None else {"custom_mutator": mutator}
    # libFuzzer gives it to a shell where it needs another process.
    program = f"{sys.executable} -m fuzz {ONE} {name}"
    atheris.Setup([program, *arguments], target.check, **given)
    atheris.Fuzz()
    return 0


def _mutator(target: Target) -> Callable[[bytes, int, int], bytes] | None:
    import atheris

    mutate = target.mutate
    if mutate is None:
        return None

    def change(data: bytes, largest: int, seed: int) -> bytes:
        dice = Random(seed)
        if dice.random() < OWN_FORM:
            changed = mutate(data, dice)
            if changed is not None and len(changed) <= largest:
                return changed
        return bytes(atheris.Mutate(data, largest))

    return change


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
