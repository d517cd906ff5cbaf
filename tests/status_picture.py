"""The picture of the status page in docs/images, by the controller: ``python -m tests.status_picture``."""

import io
import json
import sys
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from .browser import Look, browser
from .controller_process import running, until
from .status_cluster import filled

IMAGES = Path(__file__).parents[1] / "docs" / "images"
NAME = "status-page.png"
LOOK = Look(width=960)
COLOURS = 256
IN_A_POD = """import socket, sys
socket.gethostname = lambda: "whereabouts-controller-7d4b9c6f58-x2x7q"
from whereabouts.cli import main
sys.exit(main())"""


def taken(folder: Path) -> bytes:
    """The page of a controller, which has audited, as a small PNG."""
    program = (sys.executable, "-c", IN_A_POD)
    with filled(folder) as cluster:
        options = "--namespace", cluster.namespace, "--audit-interval", "3", "--status-page"
        with running(cluster.kubeconfig, *options, program=program) as controller, browser() as seeing:
            until(lambda: len(_audits(controller.url)) == 3, 60.0, lambda: "\n".join(controller.lines))
            return _small(seeing.look(f"{controller.url}/status", LOOK).picture)


def _audits(url: str) -> list[object]:
    with urllib.request.urlopen(f"{url}/status.json", timeout=60) as answer:
        audits: list[object] = json.load(answer)["audits"]
    return audits


def _small(picture: bytes) -> bytes:
    """The picture in few colours: those of a page of text and boxes."""
    file = io.BytesIO()
    reduced = (
        Image.open(io.BytesIO(picture))
        .convert("RGB")
        .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    reduced.save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        content = taken(Path(made))
    (IMAGES / NAME).write_bytes(content)
    sys.stdout.write(f"{IMAGES / NAME}: {len(content)} bytes\n")
