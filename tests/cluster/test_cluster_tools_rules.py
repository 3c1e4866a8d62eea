"""The cluster tools' own rules, without a cluster: refusals, names, hashes, parsing, processes."""

import io
import json
import os
import re
import tarfile
from pathlib import Path

import pytest

from tests.cluster_tools.__main__ import main
from tests.cluster_tools.builder import read_pip_settings
from tests.cluster_tools.embedded import refusal
from tests.cluster_tools.errors import ClusterError
from tests.cluster_tools.images import OPERATOR, SERVING, ProjectImage
from tests.cluster_tools.layout import CHECKOUT, Layout
from tests.cluster_tools.network import removal_script
from tests.cluster_tools.oci import ProgramImage
from tests.cluster_tools.processes import Ledger, Process, start_time, stop
from tests.cluster_tools.provider import ProviderName, chosen_provider, parse_image_list
from tests.cluster_tools.toolchain import KUBERNETES, content_hash, required_go

SHORT = Layout(cache=Path("/var/cache/mooring"), state=Path("/run/mooring"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "processes.json")


def test_embedded_cluster_is_not_refused_when_root_on_linux() -> None:
    assert refusal(system="linux", uid=0, layout=SHORT) is None


@pytest.mark.parametrize(
    ("system", "uid", "said"),
    [
        pytest.param("darwin", 0, "needs Linux", id="not Linux"),
        pytest.param("linux", 1000, "needs root", id="not root"),
    ],
)
def test_refusal_names_the_other_providers_when_it_cannot_run_here(
    system: str, uid: int, said: str
) -> None:
    reason = refusal(system=system, uid=uid, layout=SHORT)
    assert reason is not None
    assert said in reason
    assert "MOORING_CLUSTER_PROVIDER=kind" in reason
    assert "=existing" in reason


def test_refusal_names_the_variable_when_the_state_directory_is_too_long() -> None:
    long = Layout(cache=SHORT.cache, state=Path("/" + "d" * 90))
    reason = refusal(system="linux", uid=0, layout=long)
    assert reason is not None
    assert "MOORING_CLUSTER_DIR" in reason


def test_provider_is_refused_with_the_known_ones_when_it_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOORING_CLUSTER_PROVIDER", "minikube")
    with pytest.raises(ClusterError, match="'minikube': choose one of embedded, kind, existing"):
        chosen_provider(None)


def test_provider_is_the_options_when_the_environment_names_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOORING_CLUSTER_PROVIDER", "kind")
    assert chosen_provider("existing") is ProviderName.EXISTING


def test_kind_is_refused_with_its_manual_when_kind_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MOORING_CLUSTER_DIR", str(tmp_path))
    assert main(["--provider", "kind", "up"]) == 1
    assert (
        "kind is not on the PATH: install it (https://kind.sigs.k8s.io" in capsys.readouterr().err
    )


def test_existing_cluster_is_left_alone_when_nobody_confirmed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\n[ "$2" = config ] && echo production && exit\ntouch "$0.called"\n'
    )
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("MOORING_CLUSTER_CONFIRM", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["--provider", "existing", "up"]) == 1
    assert "'production': confirm with --yes" in capsys.readouterr().err
    assert not (tmp_path / "kubectl.called").exists()


def test_chains_are_removed_with_their_jumps_and_nothing_else() -> None:
    rules = [
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":DOCKER - [0:0]",
        ":KUBE-SERVICES - [12:720]",
        ":CNI-1a2b - [0:0]",
        '-A PREROUTING -m comment --comment "service portals" -j KUBE-SERVICES',
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        "-A KUBE-SERVICES -j CNI-1a2b",
        "COMMIT",
    ]
    assert removal_script("nat", rules).splitlines() == [
        "*nat",
        ":KUBE-SERVICES - [0:0]",
        ":CNI-1a2b - [0:0]",
        '-D PREROUTING -m comment --comment "service portals" -j KUBE-SERVICES',
        "-X KUBE-SERVICES",
        "-X CNI-1a2b",
        "COMMIT",
    ]


def test_no_rule_is_touched_when_the_table_has_no_chain_of_a_cluster() -> None:
    assert removal_script("nat", ["*nat", ":DOCKER - [0:0]", "-A DOCKER -j RETURN", "COMMIT"]) == ""


def test_process_is_ended_when_it_is_the_recorded_one(ledger: Ledger, tmp_path: Path) -> None:
    process = ledger.start("sleeper", ["/bin/sleep", "60"], log=tmp_path / "log")
    assert ledger.read() == (process,)
    assert process.alive()
    stop(process)
    assert not process.alive()


def test_process_is_spared_when_its_pid_belongs_to_somebody_else_now(
    ledger: Ledger, tmp_path: Path
) -> None:
    other = ledger.start("sleeper", ["/bin/sleep", "60"], log=tmp_path / "log")
    stop(Process("ours", other.pid, other.started - 1))
    assert other.alive()
    stop(other)


def test_process_is_killed_when_it_ignores_the_request_to_end(
    ledger: Ledger, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = 'trap "" TERM; echo ready; while :; do sleep 60; done'
    process = ledger.start("stubborn", ["/bin/sh", "-c", script], log=log)
    while "ready" not in log.read_text():
        os.sched_yield()
    stop(process, grace=0.2)
    assert not process.alive()


def test_start_time_is_absent_when_the_process_is_a_zombie() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert start_time(pid) is None
    os.waitpid(pid, 0)


def test_program_that_cannot_start_is_named(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot start etcd \(/nowhere/etcd\): No such file"):
        ledger.start("etcd", ["/nowhere/etcd"], log=tmp_path / "log")


def test_ledger_is_empty_when_there_is_no_file(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "absent.json").read() == ()


def test_damaged_ledger_is_reported_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "processes.json"
    path.write_text("{")
    with pytest.raises(ClusterError, match="end the cluster's processes by hand"):
        Ledger(path).read()


def test_program_image_has_the_same_bytes_when_it_is_written_twice(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    image = ProgramImage("localhost/x:1", {"/x": program}, ("/x",), directories=("/data",))
    image.write(tmp_path / "a.tar")
    image.write(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_program_image_names_itself_and_runs_as_nobody(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    ProgramImage("localhost/x:1", {"/x": program}, ("/x", "-P")).write(tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        index = read_json(tar, "index.json")["manifests"][0]
        manifest = read_json(tar, blob(index))
        config = read_json(tar, blob(manifest["config"]))
    assert index["annotations"] == {"io.containerd.image.name": "localhost/x:1"}
    assert config["config"] == {"Entrypoint": ["/x", "-P"], "User": "65532:65532"}


def read_json(tar: tarfile.TarFile, name: str):
    member = tar.extractfile(name)
    assert member is not None
    return json.loads(member.read())


def blob(descriptor: dict[str, str]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def test_image_list_gives_the_inputs_label_of_each_image() -> None:
    text = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        "ghcr.io/a/b:1 application/x sha256:1 10.0 MiB linux/amd64 "
        "io.cri-containerd.image=managed,mooring.dev/inputs=0a1b\n"
        "localhost/c:1 application/x sha256:2 1.0 MiB linux/amd64 -\n"
    )
    assert parse_image_list(text) == {"ghcr.io/a/b:1": "0a1b", "localhost/c:1": ""}


def test_build_gets_the_index_and_certificate_but_no_local_folder() -> None:
    text = (
        "global.cert='/etc/one.pem'\n"
        "global.index-url='https://user:word@index.example/simple'\n"
        ":env:.cert='/etc/two.pem'\n"
        ":env:.find-links='/opt/wheels'\n"
    )
    assert read_pip_settings(text) == {
        "cert": "/etc/two.pem",
        "index-url": "https://user:word@index.example/simple",
    }


@pytest.mark.parametrize("image", [SERVING, OPERATOR], ids=["serving", "operator"])
def test_dockerfile_copies_exactly_the_packages_that_count_in_the_hash(
    image: ProjectImage,
) -> None:
    text = (CHECKOUT / image.name / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\w+/mooring\w*) ", text, re.MULTILINE)
    assert tuple(sorted(copied)) == tuple(sorted(image.packages))


def test_image_inputs_change_with_the_source_and_not_with_byte_code(tmp_path: Path) -> None:
    for path in OPERATOR.files():
        target = tmp_path / path.relative_to(CHECKOUT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    before = OPERATOR.inputs("base", tmp_path)
    package = tmp_path / "operator" / "mooring_operator"
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "ids.cpython-311.pyc").write_bytes(b"x")
    assert OPERATOR.inputs("base", tmp_path) == before
    (package / "__init__.py").write_text("# changed\n")
    assert OPERATOR.inputs("base", tmp_path) != before


@pytest.mark.parametrize("name", ["serving/requirements.lock", "operator/requirements.lock"])
def test_lock_has_a_hash_for_every_package_and_names_no_index(name: str) -> None:
    text = (CHECKOUT / name).read_text()
    packages = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
    assert packages
    assert all(line.endswith(" \\") for line in packages), "a hash follows each"
    assert "://" not in text


def test_cache_key_is_stable_and_the_go_version_is_read_from_the_module() -> None:
    assert content_hash(KUBERNETES) == content_hash(KUBERNETES)
    assert required_go(KUBERNETES) >= (1, 26)
