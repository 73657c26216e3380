"""The Dockerfile: built by a compiler that is new enough, from files that are let in, run by nobody's user, with a health check."""
import json
import re

PLACE = "deploy/docker/Dockerfile"


def check(tree):
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", tree.text(PLACE), flags=re.M))
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    images = [rest.split()[0] for word, rest in lines if word == "FROM"]
    tree.must(len(images) == 2, PLACE, "is not built in two stages")
    for image in images:
        tree.must(re.fullmatch(r"[^:]+:(?!latest)[\w.-]+", image), PLACE, f"{image}: which version?")
    needed = tree.toml("Cargo.toml")["package"]["rust-version"]
    tree.must(images[0].startswith(f"rust:{needed}"), PLACE, f"{images[0]} is not the Rust of Cargo.toml, {needed}")
    debian = {re.search(r"(bookworm|trixie)", image).group() for image in images}
    tree.must(len(debian) == 1, PLACE, "it is built on another Debian than it runs on")
    tree.must(re.search(r"cargo build --release --locked", text), PLACE, "no cargo build --release --locked")
    final = lines[[i for i, (word, _) in enumerate(lines) if word == "FROM"][-1]:]
    users = [rest for word, rest in final if word == "USER"]
    tree.must(users and re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]), PLACE, "USER is not a number, or is root")
    secret = re.search(r"^(ARG|ENV).*(PASSWORD|SECRET|TOKEN|KEY).*$", text, flags=re.M | re.I)
    tree.must(not secret, PLACE, f"a secret in the image: {secret and secret.group()}")
    health = [rest for word, rest in final if word == "HEALTHCHECK"]
    if tree.must(len(health) == 1, PLACE, "not one HEALTHCHECK"):
        command = json.loads(health[0].partition("CMD ")[2])
        tree.must("GET /healthz " in command[-1], PLACE, "HEALTHCHECK does not ask /healthz")
        tree.must("/9930 " in command[-1], PLACE, "HEALTHCHECK does not ask the default metrics port")
    let_in = {line[1:] for line in tree.text(".dockerignore").splitlines() if line.startswith("!")}
    tree.must("\n*\n" in tree.text(".dockerignore"), ".dockerignore", "does not begin by leaving everything out")
    # Cargo reads the manifest whole: each target that it names, or finds in its usual places, must be there.
    manifest = tree.toml("Cargo.toml")
    wanted = {"Cargo.toml", "Cargo.lock", "src"} | ({"benches"} if manifest.get("bench") else set())
    for name in wanted - let_in:
        tree.must(False, ".dockerignore", f"{name} is left out, and cargo needs it")
    for name in let_in:
        tree.must((tree.root / name).exists(), ".dockerignore", f"{name} does not exist")
