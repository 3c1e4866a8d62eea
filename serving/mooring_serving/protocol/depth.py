"""How deeply a parsed JSON value nests, without recursion."""

from mooring_serving.protocol.tensors import is_list, is_object


def exceeds_depth(value: object, limit: int) -> bool:
    """Whether arrays and objects nest more than `limit` deep."""
    level = [value]
    for _ in range(limit + 1):
        deeper: list[object] = []
        for item in level:
            if is_list(item):
                deeper.extend(item)
            elif is_object(item):
                deeper.extend(item.values())
        if not any(is_list(item) or is_object(item) for item in level):
            return False
        level = deeper
    return True
