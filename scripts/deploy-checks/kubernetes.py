"""The manifests: they render, the probes and selectors meet what is there, and nothing runs with more rights than it needs."""
import shutil

import yaml

from common import drain, keeps, size, warned_memory

PLACE = "deploy/kubernetes"
PATHS = {"readinessProbe": "/readyz", "livenessProbe": "/healthz", "startupProbe": "/healthz"}


def check(tree, schema_tools):
    schemas(tree, schema_tools)
    objects, services = {}, {}
    for part in ("base", "monitoring"):
        names = tree.yaml(f"{PLACE}/{part}/kustomization.yaml")[0]["resources"]
        there = {p.name for p in (tree.root / PLACE / part).glob("*.yaml")} - {"kustomization.yaml"}
        tree.must(there == {n for n in names if n.endswith(".yaml")}, f"{PLACE}/{part}", "resources are not the files that are there")
        for name in there:
            for document in tree.yaml(f"{PLACE}/{part}/{name}"):
                if document["kind"] == "Service":
                    services[document["metadata"]["name"]] = document
                else:
                    tree.must(document["kind"] not in objects, name, f"a second {document['kind']}")
                    objects[document["kind"]] = document
    if not tree.must(set(services) == {"pgloom", "pgloom-routers"}, PLACE, f"the Services are {sorted(services)}: the alerts expect the job pgloom, and routers each other behind pgloom-routers"):
        return
    objects["Service"] = services["pgloom"]
    config = tree.toml(f"{PLACE}/base/pgloom.toml")
    routers = objects["StatefulSet"]["spec"]
    pod = routers["template"]["spec"]
    container, = pod["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    the_pod(tree, config, pod, container, ports)
    rights(tree, pod, container)
    state(tree, config, routers, container)
    the_others(tree, objects, routers, ports)
    among_routers(tree, config, services["pgloom-routers"], routers["template"]["metadata"]["labels"])
    rendered(tree)


def schemas(tree, schema_tools):
    """Each manifest has the shape that the API of its kind wants. Others than Kubernetes define a kustomization and a ServiceMonitor."""
    foreign = {"kustomization.yaml", "servicemonitor.yaml"}
    files = [p for part in ("base", "monitoring") for p in sorted((tree.root / PLACE / part).glob("*.yaml")) if p.name not in foreign]
    # It passes over a kind that it does not know.
    done = tree.run(PLACE, f"{schema_tools}/kubernetes-validate", "--strict", *files)
    for file in files:
        tree.must(f"{file} passed for" in done.stdout + done.stderr, PLACE, f"{file.name}: no schema says that it is right")


def the_pod(tree, config, pod, container, ports):
    where = f"{PLACE}/base/statefulset.yaml"
    for probe, path in PATHS.items():
        if tree.must(probe in container, where, f"no {probe}"):
            get = container[probe]["httpGet"]
            tree.must(get["path"] == path, where, f"{probe} asks {get['path']}, not {path}")
            tree.must(get["port"] == "metrics", where, f"{probe} asks port {get['port']}, not metrics")
    general = config["general"]
    host, _, port = general["metrics_listen"].rpartition(":")
    tree.must(ports["metrics"] == int(port) and host == "0.0.0.0", where, "port metrics is not metrics_listen")
    tree.must(ports["postgres"] == general.get("port", 6432), where, "port postgres is not the configuration's")
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = pod["terminationGracePeriodSeconds"]
    tree.must(grace > before + drain(config), where, f"killed after {grace} s: before preStop and shutdown_timeout are over")
    volumes = {v["name"]: v for v in pod["volumes"]}
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    secret = volumes["passwords"]["secret"]
    there = {f"{mounts['passwords']}/{item['path']}" for item in secret["items"]}
    database, = config["databases"].values()
    files = [user.get("password_file") for user in config["users"]] + [database.get("router_password_file")]
    # One for all routers, and none of them can write it.
    files.append(general.get("auth_mock_key_file", "no auth_mock_key_file"))
    tree.must(set(files) == there, where, f"the secret has {sorted(there)}, the configuration reads {files}")
    tree.must("password =" not in tree.text(f"{PLACE}/base/pgloom.toml"), where, "a password in the ConfigMap")
    tree.must(size(container["resources"]["limits"]["memory"]) == warned_memory(tree), where, "PgloomMemoryHigh knows another memory limit")


def state(tree, config, routers, container):
    """A volume that outlives the pod, which an emptyDir does not."""
    where = f"{PLACE}/base/statefulset.yaml"
    claims = {c["metadata"]["name"]: c["spec"] for c in routers.get("volumeClaimTemplates", [])}
    mounts = container["volumeMounts"]
    for name in {m["name"] for m in mounts} ^ ({v["name"] for v in routers["template"]["spec"]["volumes"]} | set(claims)):
        tree.must(False, where, f"volume {name} is not declared or not mounted")
    keeps(tree, f"{PLACE}/base/pgloom.toml", config, {m["mountPath"] for m in mounts if m["name"] in claims and not m.get("readOnly")})
    retained = routers.get("persistentVolumeClaimRetentionPolicy", {})
    tree.must(set(retained.values()) <= {"Retain"}, where, "the autoscaler deletes what a router has written down")
    tree.must(routers["serviceName"] == "pgloom-routers", where, "the pods have no names: serviceName is not the headless Service")
    context = routers["template"]["spec"]["securityContext"]
    tree.must(context.get("fsGroup") == 65532, where, "the volume is root's: no fsGroup")
    policy = context.get("fsGroupChangePolicy")
    tree.must(policy == "OnRootMismatch", where, "each start opens to the group what the router has closed to it")


def rights(tree, pod, container):
    where = f"{PLACE}/base/statefulset.yaml"
    whole, own = pod.get("securityContext", {}), container.get("securityContext", {})
    tree.must(whole.get("runAsNonRoot") is True and whole.get("runAsUser", 0) > 0, where, "may run as root")
    tree.must(whole.get("seccompProfile", {}).get("type") == "RuntimeDefault", where, "no seccomp profile")
    tree.must(own.get("allowPrivilegeEscalation") is False, where, "may gain privileges")
    tree.must(own.get("readOnlyRootFilesystem") is True, where, "may write to its image")
    tree.must(own.get("capabilities", {}).get("drop") == ["ALL"], where, "has capabilities")
    tree.must(pod.get("automountServiceAccountToken") is False, where, "gets a token of the API")
    user = next(line for line in tree.text("deploy/docker/Dockerfile").splitlines() if line.startswith("USER "))
    tree.must(str(whole.get("runAsUser")) in user, where, f"is not the Dockerfile's {user}")


def the_others(tree, objects, routers, ports):
    name = objects["StatefulSet"]["metadata"]["name"]
    labels = routers["template"]["metadata"]["labels"]
    service = objects["Service"]
    selectors = {
        "StatefulSet": routers["selector"]["matchLabels"],
        "Service": service["spec"]["selector"],
        "PodDisruptionBudget": objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    }
    for kind, selector in selectors.items():
        tree.must(selector and selector.items() <= labels.items(), PLACE, f"{kind} does not select the pods")
    monitor = objects["ServiceMonitor"]["spec"]
    tree.must(monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items(), PLACE, "ServiceMonitor does not select the Service")
    service_ports = {p["name"]: p["targetPort"] for p in service["spec"]["ports"]}
    for endpoint in monitor["endpoints"]:
        tree.must(endpoint["port"] in service_ports and endpoint["path"] == "/metrics", PLACE, "ServiceMonitor asks for what is not there")
    policy = objects["NetworkPolicy"]["spec"]
    admitted = {p["port"] for rule in policy["ingress"] for p in rule["ports"]}
    tree.must(set(service_ports.values()) == set(ports) == admitted, PLACE, "Service, NetworkPolicy and container differ in their ports")
    for rule in policy["ingress"]:
        tree.must(rule.get("from"), PLACE, "NetworkPolicy lets everybody in")
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    tree.must(scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name}, PLACE, "the autoscaler scales something else")
    tree.must("replicas" not in routers, PLACE, "replicas and the autoscaler would undo each other")
    container, = routers["template"]["spec"]["containers"]
    tree.must(container["resources"]["requests"].get("cpu"), PLACE, "the autoscaler needs a request of cpu")
    budget = objects["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    tree.must(0 < budget < scaler["minReplicas"], PLACE, "the budget lets nobody go, or everybody")
    account = routers["template"]["spec"]["serviceAccountName"]
    tree.must(objects["ServiceAccount"]["metadata"]["name"] == account, PLACE, f"no ServiceAccount {account}")


def among_routers(tree, config, service, labels):
    """The name behind which routers find each other, also those that drain."""
    where, spec = f"{PLACE}/base/service-routers.yaml", service["spec"]
    tree.must(spec["selector"] and spec["selector"].items() <= labels.items(), where, "does not select the pods")
    tree.must(spec.get("clusterIP") == "None" and spec.get("publishNotReadyAddresses") is True, where, "does not lead to each router")
    port, = spec["ports"]
    peers = [f"{service['metadata']['name']}:{config['general'].get('port', 6432)}"]
    tree.must(port["targetPort"] == "postgres" and peers == [f"{service['metadata']['name']}:{port['port']}"] == config["general"].get("peers"), where, "peers of the configuration are not behind it")


def rendered(tree):
    kubectl = shutil.which("kubectl")
    if not kubectl:
        tree.unchecked.append("kubernetes: kustomize (no kubectl)")
        return
    text = tree.run(f"{PLACE}/monitoring", kubectl, "kustomize", tree.root / PLACE / "monitoring").stdout
    for document in yaml.safe_load_all(text):
        kind, namespace = document["kind"], document["metadata"].get("namespace")
        tree.must(namespace == "pgloom" or kind == "Namespace", PLACE, f"{kind} is in namespace {namespace}")
