"""What the checks share: reading files, and saying what is wrong."""
import json
import math
import re
import subprocess
import tomllib
from pathlib import Path, PurePosixPath

import yaml


class Tree:
    """A checkout, and what was found wrong in it."""

    def __init__(self, root):
        self.root = Path(root)
        self.wrong = []
        self.unchecked = []

    def must(self, true, where, what):
        if not true:
            self.wrong.append(f"{where}: {what}")
        return bool(true)

    def text(self, path):
        return (self.root / path).read_text()

    def yaml(self, path):
        """All documents of a file; a key that is written twice is an error, where YAML's own loader takes the last."""
        return [d for d in yaml.load_all(self.text(path), Loader=Strict) if d is not None]

    def json(self, path):
        return json.loads(self.text(path), object_pairs_hook=once)

    def toml(self, path):
        return tomllib.loads(self.text(path))

    def run(self, where, *command, **more):
        """A tool's verdict becomes ours."""
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
        self.must(done.returncode == 0, where, f"{Path(command[0]).name} says:\n{(done.stdout + done.stderr).strip()}")
        return done


class Strict(yaml.SafeLoader):
    pass


def mapping(loader, node):
    # `<<` is taken apart first: what stands beside it may override it.
    own = [loader.construct_object(k) for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"]
    twice = {k for k in own if own.count(k) > 1}
    if twice:
        raise yaml.YAMLError(f"{node.start_mark}: written twice: {', '.join(map(str, twice))}")
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


Strict.add_constructor("tag:yaml.org,2002:map", mapping)


def once(pairs):
    keys = [k for k, _ in pairs]
    twice = {k for k in keys if keys.count(k) > 1}
    if twice:
        raise ValueError(f"written twice: {', '.join(twice)}")
    return dict(pairs)


def seconds(text):
    """A duration as TOML, compose and systemd write it here."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|h)?", str(text)).groups()
    return int(number) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600, None: 1}[unit]


def size(text):
    number, unit = re.fullmatch(r"(\d+)([KMG]?)i?[bB]?", str(text).upper().replace("I", "")).groups()
    return int(number) * 1024 ** " KMG".index(unit or " ")


def warned_memory(tree):
    """The limit of which PgloomMemoryHigh warns at 80 %."""
    factors = re.search(r"pgloom_build_info\) > 0\.8 \* ([\d *]+)$", tree.text("deploy/prometheus/alerts.yml"), flags=re.M).group(1)
    return math.prod(int(f) for f in factors.split("*"))


# After shutdown_timeout the router ends the clients that are left, and waits 2 s for them (src/app.rs).
LAST_WORDS = 2


def drain(config):
    return seconds(config["general"].get("shutdown_timeout", "30s")) + LAST_WORDS


def keeps(tree, where, config, places, *more):
    """What the router writes down lies where it may write, and where it is found again: by default it lies beside the configuration."""
    for section, key in (("general", "timelines_file"), ("topology", "copy_file"), ("topology", "history_directory"), *more):
        path = config.get(section, {}).get(key)
        if tree.must(path, where, f"{key} is left beside the configuration, where the router cannot write"):
            inside = any(PurePosixPath(place) in PurePosixPath(path).parents for place in places)
            tree.must(inside and ".." not in path, where, f"{key} {path} is in no volume that is kept: {sorted(places)}")
