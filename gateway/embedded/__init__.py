"""Postgres (with pgvector) and Redis out of Python packages, on one machine, for `parley up`.

with claim(data_dir) as place:
    postgres, redis = embedded_postgres(place), embedded_redis(place)
    async with Supervisor(report=print) as supervisor:
        await supervisor.start(postgres.child, redis.child)
        ...  # postgres.url (superuser, database `parley`), redis.url
"""

from gateway.embedded.place import Place, Store, claim, default_data_dir, lock_data_dir
from gateway.embedded.postgres import embedded_postgres
from gateway.embedded.redis import embedded_redis
from gateway.embedded.sysuser import StoreError

__all__ = [
    "Place",
    "Store",
    "StoreError",
    "claim",
    "default_data_dir",
    "embedded_postgres",
    "embedded_redis",
    "lock_data_dir",
]
