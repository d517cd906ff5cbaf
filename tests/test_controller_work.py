"""The threads of the controller: what fails does not stop the rest, and all of it ends when told to."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from whereabouts.controller import work
from whereabouts.controller.work import Follower, Task, Work
from whereabouts.errors import WhereaboutsError
from whereabouts.log import Log

SOON = 10.0


class Changes:
    """A watch that breaks down, and then sees something."""

    def __init__(self) -> None:
        self.begun = 0
        self.stopped = Event()

    def changes(self) -> Iterator[str]:
        self.begun += 1
        if self.begun == 1:
            raise RuntimeError("a fault of our own")
        yield "seen"
        self.stopped.wait(SOON)

    def stop(self) -> None:
        self.stopped.set()


class Scene:
    def __init__(self) -> None:
        self.failed: list[str] = []
        self.lines: list[str] = []

    def work(self, *tasks: Task, followers: tuple[Any, ...] = (), leads: bool = True) -> Work:
        log = Log("debug", self.lines.append)
        return Work(list(tasks), list(followers), self.failed.append, log, lambda: leads)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(work, "TICK", 0.01)
    monkeypatch.setattr(work, "AGAIN", 0.01)
    return Scene()


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", [WhereaboutsError("it is away"), RuntimeError("nobody expected it")])
def test_a_task_that_fails_is_told_and_the_others_go_on(scene: Scene, error: Exception) -> None:
    done = Event()
    broken = Task("broken", lambda: True, raising(error))
    undecided = Task("undecided", raising(error), lambda: None)
    running = scene.work(broken, undecided, Task("other", lambda: True, done.set))
    running.start()
    assert done.wait(SOON)
    assert running.stop(SOON)
    assert {"broken", "undecided"} <= set(scene.failed)
    assert any(str(error) in line for line in scene.lines)


def test_a_watch_that_breaks_down_is_begun_anew(scene: Scene) -> None:
    watch, seen = Changes(), Event()
    running = scene.work(followers=(Follower(watch, lambda _: seen.set()),))  # type: ignore[arg-type]
    running.start()
    assert seen.wait(SOON)
    assert running.stop(SOON)
    assert scene.failed == ["watch"]


def test_nothing_is_done_by_who_does_not_lead_any_more(scene: Scene) -> None:
    done = Event()
    running = scene.work(Task("task", lambda: True, done.set), leads=False)
    running.start()
    assert not done.wait(0.1)
    assert running.stop(SOON)


def test_work_that_hangs_is_told_when_it_should_end(scene: Scene) -> None:
    hang, begun = Event(), Event()

    def run() -> None:
        begun.set()
        hang.wait(SOON)

    running = scene.work(Task("task", lambda: True, run))
    running.start()
    assert begun.wait(SOON)
    assert not running.stop(0.05)
    hang.set()
    assert running.stop(SOON)
