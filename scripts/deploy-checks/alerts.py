"""Prometheus: the rules are well-formed, their tests pass, and each alert has a series that fires it and one that does not."""
PLACE = "deploy/prometheus"


def check(tree, promtool):
    rules = [tree.root / PLACE / name for name in ("alerts.yml", "recording.yml")]
    tree.run(PLACE, promtool, "check", "rules", "--lint=all", "--lint-fatal", *rules)
    tests = sorted((tree.root / PLACE / "tests").glob("*.yml"))
    tree.must(tests, PLACE, "no tests")
    # Paths in them start at their own directory.
    tree.run(f"{PLACE}/tests", promtool, "test", "rules", *[t.name for t in tests], cwd=tree.root / PLACE / "tests")
    number = sum(len(group["rules"]) for group in tree.yaml(f"{PLACE}/alerts.yml")[0]["groups"])
    tree.must(f"| {number} alerts," in tree.text("deploy/README.md"), "deploy/README.md", f"there are {number} alerts, it says another number")
    fires, silent = set(), set()
    for path in tests:
        for test in tree.yaml(path.relative_to(tree.root))[0]["tests"]:
            for case in test["alert_rule_test"]:
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
    for group in tree.yaml(f"{PLACE}/alerts.yml")[0]["groups"]:
        for rule in group["rules"]:
            name = rule["alert"]
            tree.must(name in fires, PLACE, f"no test fires {name}")
            tree.must(name in silent, PLACE, f"no test has {name} silent")
            tree.must(rule["labels"].get("severity") in ("critical", "warning"), PLACE, f"{name}: no severity")
            for key in ("summary", "description"):
                tree.must(rule["annotations"].get(key), PLACE, f"{name}: no {key}")
