"""Maps public keys to partitions of the topic, which are also the shards of the outbox."""

import struct
from typing import Final

SHARDS: Final = 12
"""Number of partitions. Never changed: the older records of a key would be in another partition than the newer."""

_MASK: Final = 0xFFFFFFFF
_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C


def shard_of(public_key: str) -> int:
    """Return the partition that Kafka's default partitioner chooses for ``public_key``.

    Source: Apache Kafka, ``BuiltInPartitioner``: 32-bit MurmurHash2 of the key's bytes with a fixed seed, without the
    sign bit, modulo the number of partitions.
    """
    data = public_key.encode()
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for word in struct.unpack(f"<{whole // 4}I", data[:whole]):
        k = (word * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    if whole < length:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return ((h ^ (h >> 15)) & 0x7FFFFFFF) % SHARDS
