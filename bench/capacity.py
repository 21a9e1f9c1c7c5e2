"""`python -m bench.capacity`: what a number of keys, of requests and of consumers needs, from measured costs.

Arithmetic, not a measurement: costs per request are those of docs/performance.json, and processors of the same speed
are assumed. It shows which part is the limit, and the order of magnitude.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson

from bench.arguments import positive
from bench.calculations import spread
from bench.results import Results, read_stored
from testkit.event_schemas import event_schemas

UTILIZATION: Final = 0.7
"""The share of a processor that is used at peak; the rest is for bursts and for the failure of a replica."""

REPLICATION: Final = 3
"""Copies of the topic."""

PARTITIONS: Final = 12
_GIGA: Final = 1e9
_MEGA: Final = 1e6


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time per request in µs, of the service and of Postgres; bytes and rates, None if not measured.

    Attributes:
        create: Of the service; `create_postgres` of Postgres, and so on.
        key_bytes: Bytes of a key in Postgres with its indexes.
        kit_bytes: Bytes of a key in the memory of the Python consumer kit.
        kit_rate: Keys per second that the kit loads.
        replay_rate: Keys per second of a replay.
    """

    create: float
    create_postgres: float
    update: float
    update_postgres: float
    read: float
    read_postgres: float
    key_bytes: float | None = None
    kit_bytes: float | None = None
    kit_rate: float | None = None
    replay_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Numbers of keys and consumers, and requests per second at peak.

    Attributes:
        keys: All keys.
        creates: Creates per second.
        updates: Changes per second.
        reads: Reads of single keys per second over the API.
        relays: Relays that ask the edge for keys.
        lookups: Keys that a relay asks for per minute, because they are new to it or have expired in its cache.
    """

    keys: int = 100_000_000
    creates: int = 1000
    updates: int = 500
    reads: int = 2000
    relays: int = 100_000
    lookups: int = 6


@dataclass(frozen=True, slots=True)
class Need:
    """A quantity that the demand needs, and how it is calculated."""

    name: str
    value: float
    unit: str
    calculation: str


def needs(demand: Demand, costs: Costs) -> list[Need]:
    """Return what ``demand`` needs."""
    lookups = demand.relays * demand.lookups / 60
    return [*_processes(demand, costs, lookups), *_traffic(demand, lookups), *_space(demand.keys, costs)]


def _processes(demand: Demand, costs: Costs, lookups: float) -> Iterator[Need]:
    service = demand.creates * costs.create + demand.updates * costs.update + demand.reads * costs.read
    postgres = (
        demand.creates * costs.create_postgres
        + demand.updates * costs.update_postgres
        + demand.reads * costs.read_postgres
    )
    edge, most = lookups * costs.read, 16 * UTILIZATION * _MEGA / costs.create_postgres
    yield Need("replicas of the service", _processors(service), "", "requests * µs / 0.7; each uses one processor")
    yield Need("processors of the primary", _processors(postgres), "", "requests * µs of Postgres / 0.7")
    yield Need("creates that 16 processors of a primary allow", most, "/s", "16 * 0.7 / µs of Postgres per create")
    yield Need("look-ups at the edge", lookups, "/s", "relays * lookups / 60")
    yield Need("processes of the edge", _processors(edge), "", "look-ups * µs of a read over the API / 0.7")


def _traffic(demand: Demand, lookups: float) -> Iterator[Need]:
    changes, record = demand.creates + demand.updates, record_bytes()
    topic, broadcast = demand.keys * record * REPLICATION / _GIGA, demand.relays * changes * record / _GIGA
    yield Need("events of one partition", changes / PARTITIONS, "/s", f"changes / {PARTITIONS}")
    yield Need("topic after compaction", topic, "GB", f"keys * {record} bytes * {REPLICATION} copies")
    yield Need("network, if relays consume the topic", broadcast, "GB/s", f"relays * changes * {record} bytes")
    yield Need("network, if relays ask the edge", lookups * record / _MEGA, "MB/s", f"look-ups * {record} bytes")


def _processors(micro: float) -> int:
    return math.ceil(micro / _MEGA / UTILIZATION)


def _space(keys: int, costs: Costs) -> Iterator[Need]:
    """Yield what depends on the number of keys alone, if its cost was measured."""
    if costs.key_bytes is not None:
        size = keys * costs.key_bytes / _GIGA
        yield Need("table of keys with its indexes", size, "GB", f"keys * {costs.key_bytes:.0f} bytes")
    if costs.kit_bytes is not None:
        size = keys * costs.kit_bytes / _GIGA
        yield Need(
            "memory of a consumer, such as the edge, with all keys",
            size,
            "GB",
            f"keys * {costs.kit_bytes:.0f} bytes",
        )
    if costs.kit_rate is not None:
        minutes = keys / costs.kit_rate / 60
        yield Need("start of a consumer with all keys", minutes, "min", f"keys / {costs.kit_rate:.0f} per second")
    if costs.replay_rate is not None:
        hours = keys / costs.replay_rate / 3600
        yield Need("replay of all keys", hours, "h", f"keys / {costs.replay_rate:.0f} per second")


def record_bytes() -> int:
    """Return the bytes of the record of the contract's example: key, value and headers, uncompressed."""
    state: dict[str, Any] = event_schemas()["projectkey.created.1"].example
    headers: dict[str, str] = event_schemas()["headers.1"].example
    return len(state["id"]) + len(orjson.dumps(state)) + sum(map(len, (*headers, *headers.values())))


def costs_of(stored: Mapping[str, Results]) -> Costs:
    """Return the costs in the stored results of `make bench` and, if there are any, of `make bench-scale`.

    Raises:
        KeyError: A measurement is missing.
    """
    rows = {row.label: row for results in stored.values() for row in results.rows}
    requests = {
        "create": "POST key, per second",
        "update": "PUT key, per second",
        "read": "GET key, per second",
    }
    measured = {
        f"{name}{suffix}": spread(rows[label].costs[program]).median
        for name, label in requests.items()
        for suffix, program in (("", "server"), ("_postgres", "postgres"))
    }
    optional = {
        "key_bytes": "load: bytes per key with indexes",
        "kit_bytes": "consumer kit: bytes per key",
        "kit_rate": "consumer kit: keys loaded per second",
        "replay_rate": "replay: keys per second",
    }
    measured |= {name: spread(rows[label].values).median for name, label in optional.items() if label in rows}
    return Costs(**measured)


def markdown(demand: Demand, costs: Costs) -> str:
    """Return the needs as a Markdown table."""
    lines = ["| quantity | value | calculation |", "| --- | ---: | --- |"]
    lines += [f"| {need.name} | {_text(need)} | {need.calculation} |" for need in needs(demand, costs)]
    return "\n".join(lines)


def _text(need: Need) -> str:
    exact = need.value >= 10 or need.value == round(need.value)  # noqa: PLR2004 -- two digits are enough
    text = f"{need.value:,.0f}".replace(",", " ") if exact else f"{need.value:.2g}"
    return f"{text} {need.unit}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the needs."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=(__doc__ or "").partition("\n")[0])
    for field in fields(Demand):
        parser.add_argument(
            f"--{field.name}",
            type=positive,
            default=field.default,
            metavar="N",
            help=f"default {field.default}",
        )
    print(markdown(Demand(**vars(parser.parse_args(arguments))), costs_of(read_stored())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
