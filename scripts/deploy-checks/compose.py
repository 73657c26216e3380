"""docker-compose.yml: what is named is declared, secrets are files, and the services agree with pgloom.toml."""
import re

from common import drain, keeps, seconds

PLACE = "deploy/docker/docker-compose.yml"
SERVICE_KEYS = {
    "image", "build", "restart", "command", "environment", "secrets", "networks", "stop_grace_period", "stop_signal",
    "healthcheck", "volumes", "depends_on", "ports", "read_only", "cap_drop", "security_opt", "mem_limit", "ulimits",
}


def check(tree, promtool, schema_tools):
    tree.run(PLACE, f"{schema_tools}/check-jsonschema", "--builtin-schema", "vendor.compose-spec", tree.root / PLACE)
    file, = tree.yaml(PLACE)
    services = file["services"]
    for name, service in services.items():
        one_service(tree, f"{PLACE}, {name}", file, service)
    config = tree.toml("deploy/docker/pgloom.toml")
    router = services["pgloom"]
    placed = tree.toml("deploy/docker/map.toml")["databases"]
    shards = [shard["host"] for database in placed.values() for shard in database["shards"]]
    tree.must(set(config["databases"]) == set(placed), "deploy/docker/map.toml", "it has other databases than pgloom.toml")
    in_etcd(tree, services, config)
    tree.must(len(shards) == 4, PLACE, "not four shards")
    for host in shards:
        if not tree.must(host in services, "deploy/docker/map.toml", f"shard {host} is no service"):
            continue
        tree.must(host in router["depends_on"], PLACE, f"pgloom does not wait for {host}")
        tree.must(set(services[host]["networks"]) & set(router["networks"]), PLACE, f"pgloom cannot reach {host}")
        options = dict(o.split("=") for o in services[host]["command"] if "=" in o)
        slots, connections = int(options.get("max_prepared_transactions", 0)), int(options["max_connections"])
        tree.must(slots >= connections, PLACE, f"{host}: fewer max_prepared_transactions than max_connections")
    tree.must(seconds(router["stop_grace_period"]) > drain(config), PLACE, "pgloom is killed before shutdown_timeout is over")
    secrets = {f"/run/secrets/{name}" for name in router["secrets"]}
    for path in re.findall(r'password_file = "(.*)"', tree.text("deploy/docker/pgloom.toml")):
        tree.must(path in secrets, PLACE, f"pgloom does not get {path}")
    volumes = [volume.split(":") for volume in router["volumes"]]
    kept = {place for source, place, *options in volumes if source in file["volumes"] and "ro" not in options}
    keeps(tree, "deploy/docker/pgloom.toml", config, kept)
    owned = set(re.findall(r"^RUN install -d -o 65532 -g 65532 .*?(/\S+)$", tree.text("deploy/docker/Dockerfile"), flags=re.M))
    tree.must(kept <= owned, PLACE, f"a new volume at {sorted(kept)} is root's: the image has no such directory of the router's")
    tree.must("ports" not in services["etcd"] and all("ports" not in services[h] for h in shards), PLACE, "a shard is published")
    prometheus(tree, promtool, config, services)


def in_etcd(tree, services, config):
    """The router finds its map where the service `map` has put it."""
    source, router, first, etcd = config["topology"], services["pgloom"], services["map"], services["etcd"]
    tree.must(source["source"] == "etcd", "deploy/docker/pgloom.toml", "the map is not in etcd")
    for endpoint in source["endpoints"]:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        known = host in services and f"--listen-client-urls=http://0.0.0.0:{port}" in services[host]["command"]
        tree.must(known, "deploy/docker/pgloom.toml", f"no service listens as {endpoint}")
    for service in (router, first):
        tree.must(set(service["networks"]) & set(etcd["networks"]), PLACE, "who reads the map cannot reach etcd")
    waits = [services[a]["depends_on"].get(b, {}).get("condition") for a, b in (("pgloom", "map"), ("map", "etcd"))]
    tree.must(waits == ["service_completed_successfully", "service_healthy"], PLACE, "pgloom does not wait for the first map")
    mounted = {volume.split(":")[1] for volume in first["volumes"]}
    named = [part for part in first["command"] if part.startswith("/")]
    tree.must(set(named) <= mounted and "--unless-there" in first["command"], PLACE, "the first map cannot be made again and again")
    tree.must(first["image"] == router["image"], PLACE, "the map is made by another pgloom")


def one_service(tree, where, file, service):
    for key in set(service) - SERVICE_KEYS:
        tree.must(False, where, f"unknown key {key}")
    if "build" not in service:
        tree.must(re.search(r":(?!latest)[\w.-]+$", service["image"]), where, "its image has no version")
    for secret in service.get("secrets", []):
        if tree.must(secret in file["secrets"], where, f"secret {secret} is not declared"):
            made = tree.text("deploy/docker/make-secrets.sh")
            tree.must(secret in made, where, f"make-secrets.sh does not make {secret}")
    for network in service["networks"]:
        tree.must(network in file["networks"], where, f"network {network} is not declared")
    for other in service.get("depends_on", []):
        tree.must(other in file["services"], where, f"depends on {other}, which is not there")
    for key, value in service.get("environment", {}).items():
        secret = "PASSWORD" in key and not str(value).startswith("/run/secrets/")
        tree.must(not secret, where, f"{key} is in the file itself")
    for port in service.get("ports", []):
        tree.must(port.startswith("127.0.0.1:"), where, f"{port} is open to the network")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            tree.must((tree.root / "deploy/docker" / source).exists(), where, f"{source} does not exist")
        else:
            tree.must(source in file["volumes"], where, f"volume {source} is not declared")


def prometheus(tree, promtool, config, services):
    path = "deploy/docker/prometheus.yml"
    # As in the container: the rules beside it.
    tree.run(path, promtool, "check", "config", "--syntax-only", tree.root / path)
    file, = tree.yaml(path)
    mounted = {v.split(":")[1] for v in services["prometheus"]["volumes"]}
    for rules in file["rule_files"]:
        tree.must(f"/etc/prometheus/{rules}" in mounted, path, f"{rules} is not mounted")
    scrape, = file["scrape_configs"]
    tree.must(scrape["job_name"] == "pgloom", path, "the alerts expect job pgloom")
    port = config["general"]["metrics_listen"].rpartition(":")[2]
    tree.must(scrape["static_configs"][0]["targets"] == [f"pgloom:{port}"], path, "the target is not metrics_listen")
    tree.must(not config["general"]["metrics_listen"].startswith("127."), path, "metrics_listen cannot be reached")
    for service in ("prometheus", "grafana"):
        tree.must("monitoring" in services[service]["networks"], PLACE, f"{service} is not in network monitoring")
