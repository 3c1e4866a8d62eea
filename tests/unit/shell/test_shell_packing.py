import json

from hypothesis import given
from hypothesis import strategies as st

from mooring_operator.io.packing import Packer


@given(sample=st.binary(max_size=300), document=st.binary(max_size=3000))
def test_document_comes_back_however_unlike_the_sample_it_is(
    sample: bytes, document: bytes
) -> None:
    packer = Packer(sample)
    assert packer.unpack(packer.pack(document)) == document


def test_alike_documents_take_a_tenth() -> None:
    def manifest(number: int) -> bytes:
        container = {"name": "server", "image": "serving:1", "command": ["mooring", "serve"]}
        labels = {"mooring.dev/deployment": f"d-{number}", "mooring.dev/revision": f"{number:012x}"}
        return json.dumps(
            {"metadata": {"labels": labels}, "spec": {"containers": [container] * 4}}
        ).encode()

    packer = Packer(manifest(0))
    assert len(packer.pack(manifest(4711))) < len(manifest(4711)) / 10


def test_sample_that_lacks_most_of_a_document_does_not_suit_it() -> None:
    packer = Packer(b"x" * 100)
    assert packer.suits(b"y" * 200)
    assert not packer.suits(b"y" * 201)
