"""The only readers of JSON, YAML and TOML, bounded in size, depth and what a small text may unfold to.

Texts come from clones, remotes and caches, so from anybody. A reader raises BadDocument, which is also a ValueError:
who reads a cache forgets it, everybody else lets the user see which file it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapin.base.errors import BadDocument
from datapin.base.files import make_directory, publish_bytes

JSON_BYTES = 256 << 20  # DVC's list of a million files has 100 MB
YAML_BYTES = 16 << 20  # a dvc.lock of thousands of stages
TOML_BYTES = 1 << 20
DEPTH = 64
YAML_NODES = 250_000  # with what aliases repeat counted each time; ruamel makes 8,000 in a second


def read_bounded(path: Path | str, most_bytes: int) -> bytes:
    """The bytes of a regular file of at most `most_bytes`. Raises BadDocument; OSError as `open` does.

    Never waits: a pipe or a device is no document.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(number, "rb", buffering=0) as file:
        seen = os.fstat(number)
        if not stat.S_ISREG(seen.st_mode):
            if stat.S_ISDIR(seen.st_mode):
                raise IsADirectoryError(21, os.strerror(21), os.fspath(path))
            raise BadDocument(os.fspath(path), "is no regular file")
        check_size(seen.st_size, os.fspath(path), most_bytes)
        return file.readall()


def check_size(size_bytes: int, name: str, most_bytes: int) -> None:
    """Raise BadDocument if there are more bytes than are read."""
    if size_bytes > most_bytes:
        raise BadDocument(name, f"has {size_bytes} bytes, at most {most_bytes} are read")


def read_json(data: bytes | str, name: str, *, most_bytes: int = JSON_BYTES, most_depth: int = DEPTH) -> Any:
    """The value that the JSON text `data` holds; `name` is what errors call it. Raises BadDocument."""
    check_size(len(data), name, most_bytes)
    try:
        value = json.loads(data)
    except RecursionError:
        raise BadDocument(name, f"is nested deeper than {most_depth} levels") from None
    except ValueError as error:
        raise BadDocument(name, f"is not JSON: {error}") from None
    level = [value]
    for _ in range(most_depth + 1):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return value
    raise BadDocument(name, f"is nested deeper than {most_depth} levels")


def sealed(value: Any) -> bytes:
    """A note of ours as JSON after a line with its SHA-256, so that a flipped bit is not believed."""
    text = json.dumps(value).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def keep_sealed(path: Path, value: Any) -> None:
    """Keep a note of ours for `read_sealed`; one that cannot be kept only costs time."""
    with suppress(OSError):
        make_directory(path.parent)
        publish_bytes(path, sealed(value))


def read_sealed(path: Path, *, most_bytes: int = JSON_BYTES) -> Any:
    """What was kept in the file `path`. Raises BadDocument also if it is not what was written; OSError."""
    checksum, _, text = read_bounded(path, most_bytes).partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise BadDocument(os.fspath(path), "does not have the checksum that it was written with")
    return read_json(text, os.fspath(path), most_bytes=most_bytes)


def read_toml(data: bytes, name: str) -> dict[str, Any]:
    """The table that the TOML text `data` holds. Raises BadDocument."""
    check_size(len(data), name, TOML_BYTES)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise BadDocument(name, "is nested too deeply") from None
    except ValueError as error:  # tomllib's own, and that of UTF-8
        raise BadDocument(name, f"is not TOML: {error}") from None


def read_yaml(
    text: bytes | str,
    name: str,
    *,
    most_bytes: int = YAML_BYTES,
    most_depth: int = DEPTH,
    most_nodes: int = YAML_NODES,
    aliases: bool = True,
) -> Any:
    """The plain values that the YAML text holds: no tags that make objects, no name twice. Raises BadDocument.

    The parser is DVC's own, so both accept the same files. `aliases` says whether a text may have any.
    """
    return _loaded("safe", text, name, _Bounds(most_bytes, most_depth, most_nodes, aliases))


def read_yaml_to_edit(text: bytes | str, name: str) -> Any:
    """As `read_yaml`, in the form that keeps order, comments and style for `write_yaml`."""
    return _loaded("rt", text, name, _Bounds(YAML_BYTES, DEPTH, YAML_NODES, aliases=True))


def write_yaml(document: Any) -> str:
    """The text of a document, as DVC writes its own files (`dvc/utils/serialize/_yaml.py`)."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


@dataclass(frozen=True, slots=True)
class _Bounds:
    size_bytes: int
    depth: int
    nodes: int
    aliases: bool


def _loaded(kind: str, text: bytes | str, name: str, most: _Bounds) -> Any:
    # 23 ms, needed only where there is a pointer that its lines do not tell.
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import AliasEvent

    class Bounded(Composer):
        """Refuses a text while its nodes are made, before anything is unfolded."""

        depth = 0
        count = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.parser.check_event(AliasEvent) and not most.aliases:
                anchor = self.parser.peek_event().anchor
                raise BadDocument(name, f"uses the alias *{anchor}, which is not supported")
            self.depth, self.count = self.depth + 1, self.count + 1
            if self.depth > most.depth:
                raise BadDocument(name, f"is nested deeper than {most.depth} levels")
            if self.count > most.nodes:
                raise BadDocument(name, f"has more than {most.nodes} values")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def get_single_node(self) -> Any:
            node = super().get_single_node()
            if node is not None and _unfolded(node) > most.nodes:
                raise BadDocument(name, f"its aliases unfold to more than {most.nodes} values")
            return node

    check_size(len(text), name, most.size_bytes)
    try:
        words = text.decode("utf-8") if isinstance(text, bytes) else text
        reader = YAML(typ=kind, pure=True)
        reader.Composer = Bounded
        return reader.load(words)
    except MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise BadDocument(name, f"is not YAML: {error.problem}{line}") from None
    except BadDocument:
        raise
    except UnicodeDecodeError as error:
        raise BadDocument(name, f"is not UTF-8: {error}") from None
    except YAMLError as error:
        raise BadDocument(name, f"is not YAML: {str(error).splitlines()[0]}") from None
    except (RecursionError, ValueError, TypeError, KeyError) as error:  # impossible dates and numbers, odd keys
        raise BadDocument(name, f"holds an impossible value: {str(error).splitlines()[0]}") from None


def _unfolded(root: Any) -> int:
    """How many values the nodes stand for, those under an alias counted at each of its places.

    A node that holds itself stands for endlessly many.
    """
    counts: dict[int, int] = {}
    stack: list[tuple[Any, Iterator[Any]]] = [(root, _nodes_in(root))]
    open_nodes = {id(root)}
    while stack:
        node, waiting = stack[-1]
        inner = next(waiting, None)
        if inner is None:
            stack.pop()
            open_nodes.discard(id(node))
            counts[id(node)] = 1 + sum(counts[id(one)] for one in _nodes_in(node))
        elif id(inner) in open_nodes:
            return sys.maxsize
        elif id(inner) not in counts:
            open_nodes.add(id(inner))
            stack.append((inner, _nodes_in(inner)))
    return counts[id(root)]


def _nodes_in(node: Any) -> Iterator[Any]:
    if not isinstance(node.value, list):
        return iter(())  # a scalar
    return (part for item in node.value for part in (item if isinstance(item, tuple) else (item,)))


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
