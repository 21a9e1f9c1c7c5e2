"""A service as FastAPI, SQLAlchemy and aiokafka suggest it: insert the key, then wait until Kafka has the event.

A baseline, not an alternative: it has no outbox, so a crash between the two steps loses the event; and no audit log,
no idempotency keys, no deadlines, no log line per request. It is tuned: one worker with uvloop and httptools, a pool
of connections that stay open, prepared statements, no access log, no query beside the INSERT, reads without a
transaction.

`python -m bench.peers.plain_service PORT` serves until it is stopped. DATABASE_URL is the database of
`bench.plain_schema`, KAFKA_BOOTSTRAP_SERVERS and KAFKA_TOPIC say where events go, TOKEN is the token of all requests.
"""

import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Final

import orjson
import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import DateTime, Identity, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_POOL_SIZE: Final = 20


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
    __tablename__ = "project_key"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    project_id: Mapped[int]
    label: Mapped[str]
    public_key: Mapped[str]
    secret_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class NewKey(BaseModel):
    """The body of a create."""

    name: str = Field(min_length=1, max_length=64)


class Dsn(BaseModel):
    """The DSNs of a key."""

    public: str
    secret: str


class Key(BaseModel):
    """The body of a response."""

    id: str
    name: str
    public: str
    secret: str
    project_id: int
    is_active: bool = True
    dsn: Dsn
    date_created: datetime


class _State:
    """What requests share; set when the server starts."""

    sessions: async_sessionmaker[AsyncSession]
    read_sessions: async_sessionmaker[AsyncSession]
    producer: AIOKafkaProducer
    topic: str
    authorization: str


_state: Final = _State()


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url, pool_size=_POOL_SIZE, max_overflow=0)
    producer = AIOKafkaProducer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"], acks="all")
    await producer.start()
    _state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    # One query needs no BEGIN and no ROLLBACK, which are two more round trips.
    _state.read_sessions = async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"))
    _state.producer, _state.topic = producer, os.environ["KAFKA_TOPIC"]
    _state.authorization = f"Bearer {os.environ['TOKEN']}"
    yield
    await producer.stop()
    await engine.dispose()


app: Final = FastAPI(lifespan=_lifespan)


async def _authorize(authorization: Annotated[str, Header()]) -> None:
    if not secrets.compare_digest(authorization, _state.authorization):
        raise HTTPException(401)


_AUTHORIZED: Final = [Depends(_authorize)]


@app.post("/projects/{project_id}/keys/", status_code=201, dependencies=_AUTHORIZED)
async def create_key(project_id: int, body: NewKey) -> Key:
    """Insert a key and publish its event."""
    row = _Row(
        project_id=project_id,
        label=body.name,
        public_key=secrets.token_hex(16),
        secret_key=secrets.token_hex(16),
        created_at=datetime.now(UTC),
    )
    async with _state.sessions() as session:
        session.add(row)
        await session.commit()
    event = {"id": row.public_key, "projectId": project_id, "name": row.label, "dateCreated": row.created_at}
    await _state.producer.send_and_wait(_state.topic, orjson.dumps(event), key=row.public_key.encode())
    return _key(row)


@app.get("/projects/{project_id}/keys/{public_key}/", dependencies=_AUTHORIZED)
async def read_key(project_id: int, public_key: str) -> Key:
    """Return a key."""
    query = select(_Row).where(_Row.public_key == public_key, _Row.project_id == project_id)
    async with _state.read_sessions() as session:
        row = await session.scalar(query)
    if row is None:
        raise HTTPException(404)
    return _key(row)


def _key(row: _Row) -> Key:
    host = f"127.0.0.1:9000/{row.project_id}"
    dsn = Dsn(public=f"http://{row.public_key}@{host}", secret=f"http://{row.public_key}:{row.secret_key}@{host}")
    return Key(
        id=row.public_key,
        name=row.label,
        public=row.public_key,
        secret=row.secret_key,
        project_id=row.project_id,
        dsn=dsn,
        date_created=row.created_at,
    )


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
