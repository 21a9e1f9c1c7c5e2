"""Which partition of the topic, and so which shard of the outbox, a key belongs to."""

import struct
from typing import Final

SHARDS: Final = 12
"""Partitions of the topic. Fixed at its creation: with more, a key's older records would stay behind."""

_MASK: Final = 0xFFFFFFFF
_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C


def shard_of(public_key: str) -> int:
    """The partition that Kafka's default partitioner gives to a record with this key.

    Source: Apache Kafka, ``BuiltInPartitioner``: murmur2 of the key's bytes, the sign bit cleared, modulo the
    number of partitions.
    """
    return (murmur2(public_key.encode()) & 0x7FFFFFFF) % SHARDS


def murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 of ``data`` with Kafka's seed, as an unsigned number."""
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
    return h ^ (h >> 15)
