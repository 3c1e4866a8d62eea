"""The conformance matrix' clients that need no environment of their own: a sample of it.

`make conformance` runs the foreign ones too: tritonclient, kserve, `mlserver infer`, schemathesis.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.behaviours import CLIENTS, Client
from tests.conformance.matrix import run_client
from tests.conformance.setting import conformance_setting

OWN = [client for client in CLIENTS if client.environment is None]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with conformance_setting(tmp_path_factory.mktemp("conformance")) as (file, _):
        yield file


@pytest.mark.parametrize("client", OWN, ids=[client.name for client in OWN])
def test_server_shows_every_behaviour_that_a_client_asks_for(client: Client, setting: Path) -> None:
    results = run_client(client, setting, setting.parent)
    assert len(results) > 12
    missed = {behaviour: fault for behaviour, fault in results.items() if fault is not None}
    assert not missed
