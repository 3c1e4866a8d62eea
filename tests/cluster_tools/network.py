"""The node's network: addresses, routes and kernel settings, and their removal.

Some kernels have no dummy device, so the node address sits on a bridge whose only port is a veth
pair. The Service range is routed there, so that traffic to a Service can never leave the machine
before kube-proxy has its rules.
"""

import json
import re
from pathlib import Path

from tests.cluster_tools.commands import run, succeeds
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.layout import NODE_ADDRESS, POD_RANGE, SERVICE_RANGE, Layout

NODE_BRIDGE = "kube0"
NODE_PORT = "kube0a"
NODE_PEER = "kube0b"
POD_BRIDGE = "cni0"
FORWARD_CHAIN = "KUBE-MOORING-FORWARD"
TABLES = ("filter", "nat", "mangle")

# What we, the kubelet and kube-proxy change; recorded by `set_up` and put back by `tear_down`.
SYSCTLS_WANTED = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
}
SYSCTLS_TOUCHED = (
    *SYSCTLS_WANTED,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/conf/all/route_localnet",
)
SYSCTL_ROOT = Path("/proc/sys")
CNI_RESULTS = Path("/var/lib/cni/results")

_OUR_CHAIN = re.compile(r"^(KUBE|CNI)-")


def set_up(layout: Layout) -> None:
    """Make the node's bridge, address, routes, kernel settings and forwarding rules."""
    succeeds(["modprobe", "br_netfilter"])
    _record_sysctls(layout)
    for name, value in SYSCTLS_WANTED.items():
        path = SYSCTL_ROOT / name
        if not path.exists():
            raise ClusterError(
                f"the kernel lacks {name}: load its module (br_netfilter), or use "
                f"MOORING_CLUSTER_PROVIDER=kind or existing"
            )
        if path.read_text().strip() != value:
            path.write_text(value)
    if not _link_exists(NODE_BRIDGE):
        _ip("link", "add", NODE_BRIDGE, "type", "bridge")
        _ip("link", "add", NODE_PORT, "type", "veth", "peer", "name", NODE_PEER)
        _ip("link", "set", NODE_PORT, "master", NODE_BRIDGE)
    for link in (NODE_PEER, NODE_PORT, NODE_BRIDGE, "lo"):
        _ip("link", "set", link, "up")
    _ip("address", "replace", f"{NODE_ADDRESS}/32", "dev", NODE_BRIDGE)
    _ip("route", "replace", SERVICE_RANGE, "dev", NODE_BRIDGE)
    _allow_forwarding()


def tear_down(layout: Layout) -> None:
    """Remove links (their addresses and routes go with them), chains, results and settings."""
    for link in (POD_BRIDGE, NODE_PORT, NODE_BRIDGE):
        if _link_exists(link):
            _ip("link", "delete", link)
    for command in ("iptables", "ip6tables"):
        for table in TABLES:
            _remove_chains(command, table)
    for result in CNI_RESULTS.glob(f"{layout.network}-*"):
        result.unlink(missing_ok=True)
    _restore_sysctls(layout)


def leftovers(layout: Layout) -> list[str]:
    """What of the network `tear_down` would still have to remove, in words; empty when clean."""
    links = [
        f"link {link}"
        for link in (NODE_BRIDGE, NODE_PORT, NODE_PEER, POD_BRIDGE)
        if _link_exists(link)
    ]
    routes = run(["ip", "route", "show"]).splitlines()
    ranges = (SERVICE_RANGE, POD_RANGE.removesuffix("0.0/16"))
    routes = [f"route {route}" for route in routes if route.startswith(ranges)]
    chains = [
        f"{command} {table} {line}"
        for command in ("iptables", "ip6tables")
        for table in TABLES
        for line in _save(command, table)
        if re.search(r"\b(KUBE|CNI)-", line)
    ]
    results = [f"file {path}" for path in CNI_RESULTS.glob(f"{layout.network}-*")]
    return [*links, *routes, *chains, *results]


def removal_script(table: str, rules: list[str]) -> str:
    """What iptables-restore must read to remove every `KUBE-*` and `CNI-*` chain from a table.

    Args:
        table: the table's name.
        rules: the table as `iptables-save` prints it.

    Returns:
        The script; empty when the table has no such chain.
    """
    chains = [line[1:].split()[0] for line in rules if line.startswith(":")]
    ours = [chain for chain in chains if _OUR_CHAIN.match(chain)]
    if not ours:
        return ""
    jumps = [
        f"-D {line.removeprefix('-A ')}"
        for line in rules
        if line.startswith("-A ")
        and not _OUR_CHAIN.match(line.split()[1])
        and re.search(r" -[jg] (KUBE|CNI)-", line)
    ]
    flushes = [f":{chain} - [0:0]" for chain in ours]
    deletions = [f"-X {chain}" for chain in ours]
    return "\n".join([f"*{table}", *flushes, *jumps, *deletions, "COMMIT", ""])


def _allow_forwarding() -> None:
    # A FORWARD policy of DROP, as Docker sets it, would stop traffic between pods.
    if any(FORWARD_CHAIN in line for line in _save("iptables", "filter")):
        return
    script = [
        "*filter",
        f":{FORWARD_CHAIN} - [0:0]",
        f"-A {FORWARD_CHAIN} -s {POD_RANGE} -d {POD_RANGE} -j ACCEPT",
        f"-A {FORWARD_CHAIN} -s {NODE_ADDRESS}/32 -d {POD_RANGE} -j ACCEPT",
        f"-A {FORWARD_CHAIN} -s {POD_RANGE} -d {NODE_ADDRESS}/32 -j ACCEPT",
        f"-I FORWARD 1 -j {FORWARD_CHAIN}",
        "COMMIT",
        "",
    ]
    run(["iptables-restore", "-w", "--noflush"], stdin="\n".join(script))


def _remove_chains(command: str, table: str) -> None:
    script = removal_script(table, _save(command, table))
    if script:
        run([f"{command}-restore", "-w", "--noflush"], stdin=script)


def _save(command: str, table: str) -> list[str]:
    try:
        return run([f"{command}-save", "-t", table]).splitlines()
    except ClusterError:
        # A kernel without this family or table has no chain of ours in it.
        return []


def _ip(*arguments: str) -> None:
    run(["ip", *arguments])


def _link_exists(name: str) -> bool:
    return succeeds(["ip", "link", "show", "dev", name])


def _record_sysctls(layout: Layout) -> None:
    if layout.sysctls.exists():
        return
    present = [name for name in SYSCTLS_TOUCHED if (SYSCTL_ROOT / name).exists()]
    values = {name: (SYSCTL_ROOT / name).read_text().strip() for name in present}
    layout.sysctls.parent.mkdir(parents=True, exist_ok=True)
    layout.sysctls.write_text(json.dumps(values, indent=2))


def _restore_sysctls(layout: Layout) -> None:
    if not layout.sysctls.exists():
        return
    for name, value in json.loads(layout.sysctls.read_text()).items():
        path = SYSCTL_ROOT / str(name)
        if path.exists() and path.read_text().strip() != value:
            path.write_text(str(value))
    layout.sysctls.unlink()
