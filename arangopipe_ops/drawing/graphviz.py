"""Have Graphviz draw: what is small in this process, what is large in one of its own, which ends when it takes long.

pygraphviz lets no other thread of a process go on while it draws, and must not be used by two at once.
"""

import subprocess
import sys
from importlib.util import find_spec
from threading import BoundedSemaphore, Lock

from arangopipe_ops.errors import Invalid, Misconfigured, Unavailable

SMALL = 450
"""Nodes and edges that are drawn as SVG within about a tenth of a second; PNG takes several times as long."""
SECONDS = 20.0
PROCESSES = 2

_LOOKS = {"svg": {}, "png": {"size": "80,80", "bgcolor": "white"}}
"""Format -> attributes of the graph; the size is in inches, or a large picture would not fit into the memory."""

_drawing = Lock()
_places = BoundedSemaphore(PROCESSES)


def drawn(text: str, format: str, size: int) -> bytes:
    """Return what Graphviz's dot makes of a text, of so many nodes and edges, as SVG or PNG.

    Raises Misconfigured where pygraphviz is not installed, Invalid for what takes too long, and Unavailable while
    others draw.
    """
    if find_spec("pygraphviz") is None:
        raise Misconfigured("drawing needs pygraphviz: pip install 'arangopipe-ops[draw]'")
    if size <= SMALL and format == "svg":
        with _drawing:
            return _draw(text, format)
    if not _places.acquire(timeout=SECONDS):
        raise Unavailable("other large pictures are being drawn; try again in a moment, or take fewer nodes.")
    try:
        return _draw_elsewhere(text, format)
    finally:
        _places.release()


def _draw(text: str, format: str) -> bytes:
    import pygraphviz

    graph = pygraphviz.AGraph(string=text)
    graph.graph_attr.update(_LOOKS[format])
    return bytes(graph.draw(format=format, prog="dot"))


def _draw_elsewhere(text: str, format: str) -> bytes:
    command = [sys.executable, "-c", f"from {__name__} import main; main()", format]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=SECONDS, check=True)
    except subprocess.TimeoutExpired:
        raise Invalid("lineage", f"takes more than {SECONDS:g} s to draw; take fewer nodes") from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise Invalid("lineage", f"could not be drawn, take fewer nodes: {last or error}") from None
    return done.stdout


def main() -> None:
    """Draw what stands in the standard input."""
    sys.stdout.buffer.write(_draw(sys.stdin.buffer.read().decode(), sys.argv[1]))
