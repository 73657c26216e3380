"""Checks what is in deploy/. Usage: all.py ROOT PROMTOOL SCHEMA_TOOLS [PART ...] (scripts/check-deploy calls it)."""
import sys

import alerts
import compose
import dashboards
import image
import kubernetes
import unit
from common import Tree


def main(root, promtool, schema_tools, *parts):
    tree = Tree(root)
    checks = {
        "alerts": lambda: alerts.check(tree, promtool),
        "dashboards": lambda: dashboards.check(tree, promtool),
        "image": lambda: image.check(tree),
        "compose": lambda: compose.check(tree, promtool, schema_tools),
        "kubernetes": lambda: kubernetes.check(tree, schema_tools),
        "unit": lambda: unit.check(tree),
    }
    for name in parts or checks:
        try:
            checks[name]()
        except Exception as error:  # A file that is not there, or has not the shape that is read, is wrong, too.
            tree.must(False, f"deploy, {name}", f"{type(error).__name__}: {error}")
    for what in tree.unchecked:
        print(f"not checked: {what}", file=sys.stderr)
    for what in tree.wrong:
        print(f"wrong: {what}", file=sys.stderr)
    return 1 if tree.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
