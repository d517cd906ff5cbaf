"""The Dockerfile, and the scripts that build the image and a local cluster."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import whereabouts

from .deployment import DEPLOY, ROOT
from .suites import find_program

SCRIPTS = [DEPLOY / "build-image", DEPLOY / "kind" / "up", DEPLOY / "kind" / "down"]
IMAGE = f"docker.io/library/whereabouts-ipam:{whereabouts.__version__}"

pytestmark = pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="these tests run in a source tree")


def linter(name: str) -> str:
    """The path of a linter; the test is skipped where it is not there."""
    found = find_program(name, str(Path(sys.executable).parent), os.environ["PATH"])
    if found is None:
        pytest.skip(f"no {name} on PATH")
    return found


# ------------------------------------------------------------------ linters


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    run = subprocess.run([linter("shellcheck"), *SCRIPTS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    run = subprocess.run(
        [linter("hadolint"), "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


# ------------------------------------------------------------------ the image


def _stages() -> list[list[str]]:
    """The instructions of each stage, whole lines."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    stages: list[list[str]] = []
    for line in filter(None, text.splitlines()):
        if line.startswith("FROM "):
            stages.append([])
        if stages:
            stages[-1].append(line)
    return stages


def test_nothing_is_compiled_or_installed_by_the_distribution_in_the_image_itself() -> None:
    build, final = _stages()
    assert any("gcc" in line for line in build)
    assert not [line for line in final if "apt-get" in line or "gcc" in line or "pip install" in line]
    assert [line for line in final if line.startswith("COPY")] == [
        "COPY --from=build /opt/whereabouts /opt/whereabouts"
    ]


def test_the_image_runs_the_program_as_a_user_that_is_not_root() -> None:
    final = _stages()[-1]
    assert final[-2:] == ["USER 65532:65532", 'ENTRYPOINT ["whereabouts"]']


def test_the_builds_context_is_what_the_package_is_built_from() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    # README.md and LICENSE are named in pyproject.toml, which has to find them.
    assert allowed == {"LICENSE", "README.md", "pyproject.toml", "setup.py", "whereabouts"}
    assert all((ROOT / name).exists() for name in allowed)


# ------------------------------------------------------------------ the scripts


def _programs(folder: Path, *names: str) -> Path:
    """Programs that write down how they are called and succeed; a path for them and for coreutils only."""
    folder.mkdir()
    for name in names:
        program = folder / name
        program.write_text(
            f'#!/bin/sh\n[ "$1" = info ] && exit "${{NO_DAEMON:-0}}"\n'
            f'[ "$1 $2" = "get nodes" ] && echo whereabouts-control-plane && exit\n'
            f'echo "{name} $*" >>{folder}.log\n'
        )
        program.chmod(0o755)
    for name in ("bash", "dirname", "sed", "mktemp", "rm", "cat", "env", "sh"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def _run(script: Path, path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def _said(run: subprocess.CompletedProcess[str]) -> list[str]:
    """The commands that a script said, with the folder of its own that it used in them."""
    assert run.returncode == 0, run.stderr
    text = re.sub(r"/tmp/tmp\.\w+", "FOLDER", run.stdout)
    config = ("kind:", "apiVersion:", "nodes:", "- ")
    return [line for line in text.splitlines() if not line.startswith(config)]


def test_a_build_without_an_engine_says_what_is_missing(tmp_path: Path) -> None:
    run = _run(DEPLOY / "build-image", _programs(tmp_path / "none"))
    assert run.returncode == 1
    assert "neither docker nor podman is on PATH" in run.stderr
    run = _run(DEPLOY / "build-image", _programs(tmp_path / "silent", "docker"), NO_DAEMON="1")
    assert run.returncode == 1
    assert "docker info fails" in run.stderr


def test_podman_builds_where_docker_does_not_answer(tmp_path: Path) -> None:
    run = _run(DEPLOY / "build-image", _programs(tmp_path / "bin", "podman"))
    assert _said(run) == [f"+ podman build --tag {IMAGE} ."]
    assert (tmp_path / "bin.log").read_text() == f"podman build --tag {IMAGE} .\n"


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("docker", ["docker buildx build --platform linux/amd64,linux/arm64 --tag r/w:1 --push ."]),
        (
            "podman",
            [
                "podman build --platform linux/amd64,linux/arm64 --manifest r/w:1 .",
                "podman manifest push --all r/w:1",
            ],
        ),
    ],
)
def test_images_for_several_machines_go_to_the_registry(
    engine: str, expected: list[str], tmp_path: Path
) -> None:
    both = "linux/amd64,linux/arm64"
    run = _run(DEPLOY / "build-image", _programs(tmp_path / "bin", engine), PLATFORMS=both, IMAGE="r/w:1")
    assert _said(run) == [f"+ {command}" for command in expected]


def test_a_dry_run_says_the_commands_and_runs_none(tmp_path: Path) -> None:
    path = _programs(tmp_path / "bin", "docker", "kind", "kubectl")
    for script in SCRIPTS:
        assert _said(_run(script, path, "--dry-run"))
    assert not (tmp_path / "bin.log").exists()


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_what_a_dry_run_says_is_what_is_run(engine: str, tmp_path: Path) -> None:
    path = _programs(tmp_path / "bin", engine, "kind", "kubectl")
    up = DEPLOY / "kind" / "up"
    said = _said(_run(up, path, ENGINE=engine))
    assert said == _said(_run(up, path, "--dry-run", ENGINE=engine))
    log = re.sub(r"/tmp/tmp\.\w+", "FOLDER", (tmp_path / "bin.log").read_text())
    assert log.splitlines() == [line.removeprefix("+ ") for line in said]


@pytest.mark.parametrize("workers", [0, 3])
def test_a_cluster_has_as_many_workers_as_it_was_asked_for(workers: int, tmp_path: Path) -> None:
    run = _run(DEPLOY / "kind" / "up", _programs(tmp_path / "bin"), "--dry-run", COMPUTE_NODES=str(workers))
    assert run.stdout.count("- role: worker") == workers
    assert run.stdout.count("- role: control-plane") == 1


def test_a_number_of_workers_that_is_none_is_refused(tmp_path: Path) -> None:
    run = _run(DEPLOY / "kind" / "up", _programs(tmp_path / "bin"), COMPUTE_NODES="two")
    assert run.returncode == 2
    assert "COMPUTE_NODES is 'two'" in run.stderr


def test_a_cluster_without_its_tools_says_which_are_missing(tmp_path: Path) -> None:
    run = _run(DEPLOY / "kind" / "up", _programs(tmp_path / "bin", "docker"))
    assert run.returncode == 1
    assert run.stderr.rstrip().endswith("kind kubectl")


def test_the_cluster_gets_the_manifests_and_the_image_that_they_name(tmp_path: Path) -> None:
    said = "\n".join(_said(_run(DEPLOY / "kind" / "up", _programs(tmp_path / "bin"), "--dry-run")))
    assert "--kustomize deploy/base" in said
    assert f"save --output FOLDER/image.tar {IMAGE}" in said
    for named in re.findall(r"deploy/\S+", said):
        assert (ROOT / named).exists(), named
