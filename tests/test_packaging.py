"""What is distributed: the source builds where nothing but a C compiler is, and the result works."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import whereabouts

ROOT = Path(whereabouts.__file__).parents[1]
BUILT = (
    ".so",
    ".pyc",
    "whereabouts/_bitmap.c",
    "whereabouts/_codec.c",
    "whereabouts/_columns.c",
    "whereabouts/native/whereabouts",
)

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="these tests run in a source tree"),
]


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a command in a folder without sources; its standard output."""
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, since a build writes into it."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=unwanted)
    return tree


@pytest.fixture(scope="module")
def sdist(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, source_tree)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by pip from the source distribution, with what pyproject.toml says a build needs."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sdist)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with this package and what it depends on, and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", environment)
    run(environment / "bin/pip", "install", "--quiet", wheel)
    return environment / "bin"


def test_the_source_distribution_holds_sources_tests_and_documents_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert [name for name in names if name.endswith(BUILT)] == []
    expected = {"LICENSE", "README.md", "pyproject.toml", "setup.py", "whereabouts/py.typed"}
    patterns: tuple[str, ...] = (
        "whereabouts/**/*.py",
        "whereabouts/**/*.py[xi]",
        "whereabouts/native/*.c",
        "tests/**/*.py",
    )
    patterns += ("deploy/**/*.yaml", "deploy/**/*.tpl", "deploy/kind/*")
    expected |= {str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern)}
    assert expected - set(names) == set()


def test_the_wheel_holds_compiled_modules_types_and_the_native_program(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    compiled = {name.partition(".")[0] for name in entries if name.endswith(".so")}
    assert compiled == {"whereabouts/_bitmap", "whereabouts/_codec", "whereabouts/_columns"}
    assert {"whereabouts/py.typed", "whereabouts/_bitmap.pyi", "whereabouts/_codec.pyi"} <= entries.keys()
    assert entries["whereabouts/native/whereabouts"] & 0o777 == 0o755
    assert [name for name in entries if name.startswith(("tests", "bench", "examples"))] == []


def test_the_command_line_of_a_clean_installation_tells_its_version(installed: Path) -> None:
    assert whereabouts.__version__ in run(installed / "whereabouts", "version")


def test_the_plugin_of_a_clean_installation_answers_a_runtime(installed: Path) -> None:
    answer = run(installed / "whereabouts", environment=os.environ | {"CNI_COMMAND": "VERSION"})
    assert '"supportedVersions"' in answer


def test_a_build_without_a_compiler_says_what_to_install(source_tree: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "CC"} | {"PATH": str(tmp_path)}
    build = subprocess.run(
        [sys.executable, "setup.py", "build_ext"],
        cwd=source_tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode != 0
    assert "apt-get install gcc" in build.stderr
