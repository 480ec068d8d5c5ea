"""The tables by which consumers of an SQLite table share its events, and what is said to them.

A group has handed out everything up to its position, but what is among its deliveries: those are on
their way, and are due for whoever comes when the time is over that somebody has them for.
"""

from typing import Final

__all__ = (
    "ACKNOWLEDGE",
    "ADVANCE",
    "BURY",
    "COUNT",
    "CREATE",
    "DEAD",
    "DROP",
    "EXTEND",
    "FORGET",
    "FREE",
    "JOIN",
    "MOVE",
    "PUT_ALL_BACK",
    "PUT_BACK",
    "REVIVE",
    "TAKE",
)

CREATE: Final = """
CREATE TABLE IF NOT EXISTS "{table}_groups" (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS "{table}_deliveries" (
    group_name TEXT NOT NULL,
    position INTEGER NOT NULL,
    key TEXT,
    owner TEXT,
    due REAL NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (group_name, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "{table}_deliveries_by_key"
    ON "{table}_deliveries" (group_name, key, position);
CREATE TABLE IF NOT EXISTS "{table}_dead_letters" (
    group_name TEXT NOT NULL,
    position INTEGER NOT NULL,
    id TEXT NOT NULL,
    key TEXT,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    failures INTEGER NOT NULL,
    time TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (group_name, position)
) WITHOUT ROWID;
"""
JOIN: Final = """INSERT INTO "{table}_groups" VALUES (:group, 0) ON CONFLICT DO NOTHING"""

# Not free is what somebody has, what is not due yet, and what is behind such an event of its key;
# but what is behind an event that I have myself, I may have too.
FREE: Final = """
SELECT d.position, e.id, e.payload, d.key, d.failures, d.losses + (d.owner IS NOT NULL)
FROM "{table}_deliveries" AS d LEFT JOIN "{table}" AS e ON e.position = d.position
WHERE d.group_name = :group AND d.due <= :now AND d.owner IS NOT :me
AND (d.key IS NULL OR NOT EXISTS (
    SELECT 1 FROM "{table}_deliveries" AS b
    WHERE b.group_name = :group AND b.key = d.key AND b.position < d.position
    AND b.due > :now AND b.owner IS NOT :me
))
ORDER BY d.position LIMIT :limit
"""
COUNT: Final = """SELECT count(*) FROM "{table}_deliveries" WHERE group_name = :group"""
ADVANCE: Final = """
INSERT INTO "{table}_deliveries" (group_name, position, key)
SELECT :group, position, key FROM "{table}"
WHERE position > (SELECT position FROM "{table}_groups" WHERE name = :group)
ORDER BY position LIMIT :limit
"""
MOVE: Final = """
UPDATE "{table}_groups" SET position = max(position, (
    SELECT coalesce(max(position), 0) FROM "{table}_deliveries" WHERE group_name = :group
)) WHERE name = :group
"""
TAKE: Final = """
UPDATE "{table}_deliveries" SET owner = :me, due = :due, losses = :losses
WHERE group_name = :group AND position = :position
"""
DROP: Final = """
DELETE FROM "{table}_deliveries" WHERE group_name = :group AND position = :position
"""

# What I have no longer is left alone: somebody else has it, with one more loss.
ACKNOWLEDGE: Final = """
DELETE FROM "{table}_deliveries"
WHERE group_name = :group AND position = :position AND owner = :me AND losses = :losses
"""
EXTEND: Final = """
UPDATE "{table}_deliveries" SET due = :due
WHERE group_name = :group AND position = :position AND owner = :me AND losses = :losses
"""
PUT_BACK: Final = """
UPDATE "{table}_deliveries" SET owner = NULL, due = :due, failures = failures + :failed
WHERE group_name = :group AND position = :position AND owner = :me AND losses = :losses
"""
PUT_ALL_BACK: Final = """
UPDATE "{table}_deliveries" SET owner = NULL, due = 0 WHERE group_name = :group AND owner = :me
"""

BURY: Final = """
INSERT INTO "{table}_dead_letters" VALUES (
    :group, :position, :id, :key, :reason, :error, :failures, :time, :payload
) ON CONFLICT DO NOTHING
"""
DEAD: Final = """
SELECT id, reason, error, failures, time, payload FROM "{table}_dead_letters"
WHERE group_name = :group ORDER BY position LIMIT :limit
"""
REVIVE: Final = """
INSERT INTO "{table}_deliveries" (group_name, position, key)
SELECT group_name, position, key FROM "{table}_dead_letters" AS d
WHERE group_name = :group AND id = :id
AND EXISTS (SELECT 1 FROM "{table}" AS e WHERE e.position = d.position) ON CONFLICT DO NOTHING
"""
FORGET: Final = """
DELETE FROM "{table}_dead_letters" WHERE group_name = :group AND id = :id
"""
