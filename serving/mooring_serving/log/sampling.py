"""Which requests are logged when not all are: decided by the prediction's id alone. Pure.

Every reader of the log can repeat the decision, so that a label whose prediction is not in the log
is told from a lost one. A higher rate takes all that a lower one takes.
"""

import zlib

_SPACE = 1 << 32


def is_sampled(prediction_id: str, rate: float) -> bool:
    """Whether the prediction with this id is logged at `rate` (0 to 1): CRC-32 of it / 2^32 < rate.

    Ids are random, so the checksum is uniform; it is no secret and need not be one.
    """
    return zlib.crc32(prediction_id.encode()) < rate * _SPACE
