"""The systemd unit: systemd reads it, finds it hardened, and it stops and reloads as the router does."""
import re
import shutil
import tempfile
from pathlib import Path

from common import LAST_WORDS, drain, keeps, seconds, size, warned_memory

PLACE = "deploy/systemd/pgloom.service"
# Of systemd-analyze security, times ten: 1.3 with what a network service cannot do without.
MOST_EXPOSED = 15


def check(tree):
    text = tree.text(PLACE)
    values = dict(re.findall(r"^(\w+)=(.*)$", text, flags=re.M))
    shutdown = re.search(r'^shutdown_timeout = "(.*)"', tree.text("config/pgloom.toml"), flags=re.M).group(1)
    stop = seconds(values["TimeoutStopSec"])
    tree.must(stop > seconds(shutdown) + LAST_WORDS, PLACE, f"killed after {stop} s, shutdown_timeout is {shutdown}")
    tree.must(values["KillSignal"] == "SIGTERM", PLACE, "only SIGTERM drains")
    tree.must(size(values["MemoryMax"]) == warned_memory(tree), PLACE, "PgloomMemoryHigh knows another MemoryMax")
    config = tree.toml("deploy/systemd/pgloom.toml")
    tree.must(stop > drain(config), PLACE, f"killed after {stop} s: before shutdown_timeout of pgloom.toml is over")
    tree.must(values["ProtectSystem"] == "strict", PLACE, "may write to the system")
    places = {f"/var/lib/{values['StateDirectory']}"} if "StateDirectory" in values else set()
    keeps(tree, "deploy/systemd/pgloom.toml", config, places, ("general", "auth_mock_key_file"))
    # SIGHUP ends a process that does not expect it.
    reloads = "SignalKind::hangup" in tree.text("src/cli/serve.rs")
    tree.must(("ExecReload" in values) == reloads, PLACE, "ExecReload and what `serve` does with SIGHUP differ")
    for program in re.findall(r"^Exec\w+=(\S+)", text, flags=re.M):
        tree.must(program in ("/usr/bin/pgloom", "/bin/kill"), PLACE, f"{program} is not ours")
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        tree.unchecked.append("systemd: verify and security (no systemd-analyze)")
        return
    with tempfile.TemporaryDirectory() as place:
        # The program need not be installed here; everything else is as it is.
        unit = Path(place) / "pgloom.service"
        unit.write_text(text.replace("=/usr/bin/pgloom ", "=/usr/bin/env "))
        said = tree.run(PLACE, analyze, "verify", "--man=no", unit)
        # A key that it does not know is only a warning to it, and without that key the service is less hardened than it reads.
        tree.must(not (said.stdout + said.stderr).strip(), PLACE, f"systemd-analyze says:\n{said.stdout}{said.stderr}")
        tree.run(PLACE, analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
