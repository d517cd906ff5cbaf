"""Builds what is compiled: the engine and the native plugin. All else stands in pyproject.toml."""

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

EXTENSIONS = [
    Extension(f"whereabouts.{name}", [f"whereabouts/{name}.pyx"], extra_compile_args=["-O3", "-g0"])
    for name in ("_bitmap", "_codec", "_columns")
]

NATIVE_SOURCE = "whereabouts/native/whereabouts.c"
NATIVE_PROGRAM = "whereabouts/native/whereabouts"
NATIVE_FLAGS = [
    *("-std=c11", "-O2", "-s", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"),
    *("-Wall", "-Wextra", "-Werror=format-security", "-Werror=implicit-function-declaration"),
]

NO_COMPILER = """whereabouts is built with a C compiler, and none was found. Install one:
  Debian, Ubuntu:  apt-get install gcc libc6-dev python3-dev musl-tools
  Fedora:          dnf install gcc python3-devel musl-gcc
  Alpine:          apk add gcc musl-dev python3-dev
or name yours in the environment variable CC."""

NO_HEADERS = """whereabouts is built against the headers of Python, and there is no {header}. Install them:
  Debian, Ubuntu:  apt-get install python3-dev
  Fedora:          dnf install python3-devel
  Alpine:          apk add python3-dev"""

NOT_STATIC = """the native plugin is linked dynamically, because there is no static C library (Debian, Ubuntu:
musl-tools; Fedora: musl-gcc or glibc-static). It then runs only on hosts with the C library of this one."""


def c_compilers() -> list[list[str]]:
    """Return the commands that may compile a program, best first: CC, or musl before Python's own."""
    if chosen := os.environ.get("CC"):
        candidates = [chosen]
    else:
        candidates = ["musl-gcc", sysconfig.get_config_var("CC") or "cc", "cc"]
    commands = [shlex.split(candidate) for candidate in candidates]
    return [command for command in commands if command and shutil.which(command[0])]


class BuildExtensionsAndPlugin(build_ext):
    """Compiles the extension modules, then the native plugin, into the package."""

    def run(self) -> None:
        """Build both, or say which compiler is missing."""
        compilers = c_compilers()
        if not compilers:
            raise CompileError(NO_COMPILER)
        header = Path(sysconfig.get_path("include"), "Python.h")
        if not header.exists():
            raise CompileError(NO_HEADERS.format(header=header))
        super().run()
        in_place = self.inplace or self.editable_mode
        self.build_plugin(compilers, Path("." if in_place else self.build_lib, NATIVE_PROGRAM))

    def build_plugin(self, compilers: list[list[str]], program: Path) -> None:
        """Link the plugin statically with the first compiler that can, and put it in place whole."""
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".new")
        version = f'-DWHEREABOUTS_VERSION="{self.distribution.get_version()}"'
        attempts = [[*compiler, "-static"] for compiler in compilers] + compilers
        for number, compiler in enumerate(attempts, 1):
            command = [*compiler, *NATIVE_FLAGS, version, NATIVE_SOURCE, "-o", str(unfinished)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            if number == len(attempts):
                raise CompileError(f"{shlex.join(command)}\n{done.stderr}")
        if "-static" not in command:
            self.warn(NOT_STATIC)
        unfinished.chmod(0o755)
        unfinished.replace(program)


setup(
    ext_modules=cythonize(EXTENSIONS, compiler_directives={"language_level": 3}),
    cmdclass={"build_ext": BuildExtensionsAndPlugin},
    include_package_data=False,
)
