"""Grafana: panels that are placed, described and unique, and queries that Prometheus can read."""
import re
import tempfile

import yaml

PLACE = "deploy/grafana"
# What Grafana puts in by itself.
BUILT_IN = {"__rate_interval", "__interval", "__range"}


def check(tree, promtool):
    paths = sorted((tree.root / PLACE / "dashboards").glob("*.json"))
    tree.must(paths, PLACE, "no dashboards")
    uids, queries = set(), []
    for path in paths:
        where = str(path.relative_to(tree.root))
        board = tree.json(where)
        tree.must(board["uid"] not in uids, where, f"uid {board['uid']} is taken")
        uids.add(board["uid"])
        queries += panels(tree, where, board)
    sources = tree.yaml(f"{PLACE}/provisioning/datasources/prometheus.yml")[0]["datasources"]
    tree.must(any(s["type"] == "prometheus" and s["isDefault"] for s in sources), PLACE, "no default data source")
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as rules:
        yaml.safe_dump({"groups": [{"name": "panels", "rules": [
            {"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]}]}, rules)
        rules.flush()
        tree.run(f"{PLACE}: queries", promtool, "check", "rules", "--lint=none", rules.name)


def panels(tree, where, board):
    """Looks at each panel, and gives their queries with the variables filled in."""
    variables = {v["name"]: v for v in board["templating"]["list"]}
    ids, cells, queries = set(), set(), [a["expr"] for a in board["annotations"]["list"]]
    for panel in board["panels"]:
        title = f"{where}, panel {panel['title']!r}"
        tree.must(panel["id"] not in ids, title, f"id {panel['id']} is taken")
        ids.add(panel["id"])
        grid = panel["gridPos"]
        own = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        tree.must(own and all(x < 24 for x, _ in own), title, "is wider than the page")
        tree.must(not own & cells, title, "lies over another one")
        cells |= own
        if panel["type"] == "row":
            continue
        tree.must(panel.get("description"), title, "no description")
        tree.must(panel["fieldConfig"]["defaults"].get("unit"), title, "no unit")
        tree.must(panel["targets"], title, "no query")
        tree.must(len({t["refId"] for t in panel["targets"]}) == len(panel["targets"]), title, "refId used twice")
        for target in panel["targets"]:
            tree.must(target["datasource"]["uid"] == "${datasource}", title, "is tied to one data source")
            queries.append(target["expr"])
    used = set(re.findall(r"\$\{?(\w+)", " ".join(queries)))
    for name in used - BUILT_IN:
        tree.must(name in variables, where, f"variable {name} is not defined")
    return [re.sub(r"\$\w+", "x", query.replace("$__rate_interval", "5m")) for query in queries]
