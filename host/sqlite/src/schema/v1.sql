-- The layout of one store, version 1. Times are milliseconds since the Unix epoch, by the host's clock.
--
-- An envelope is one row for its whole life: what changes is where it lies (`place`) and when that changes (`until`).
-- The lanes, the held, the leased and the dead are partial indexes on that row, so no step can leave it in two places.
-- A record is keyed by the envelope's number, and `ids` leads to both: an end writes no index but the one of expiry.

-- Names that may be in one file and never see each other (B14).
CREATE TABLE namespaces (
    namespace INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,
    revision  INTEGER NOT NULL DEFAULT 0  -- grows with every change of its deployments
);

-- The next number: of envelopes, of places in a lane, of dead letters, of commands. Never given twice.
CREATE TABLE sequence (next INTEGER NOT NULL);
INSERT INTO sequence VALUES (1);

-- Lanes: (queue, priority, fairness key). The key is '' where none is set.
CREATE TABLE lanes (
    lane      INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    queue     TEXT NOT NULL,
    priority  INTEGER NOT NULL,
    key       TEXT NOT NULL,
    used_at   INTEGER NOT NULL,  -- about when something was last put into it
    UNIQUE (namespace, queue, priority, key)
);

CREATE TABLE paused (
    namespace INTEGER NOT NULL,
    queue     TEXT NOT NULL,
    PRIMARY KEY (namespace, queue)
) WITHOUT ROWID;

-- Every id that is known: it lives, is dead, has a record, or is remembered (B15).
CREATE TABLE ids (
    id         BLOB NOT NULL,
    namespace  INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    kept_until INTEGER,  -- of a derived id whose envelope has gone
    PRIMARY KEY (id, namespace)
) WITHOUT ROWID;
CREATE INDEX ids_kept ON ids (kept_until) WHERE kept_until IS NOT NULL;

CREATE TABLE envelopes (
    number     INTEGER PRIMARY KEY,
    namespace  INTEGER NOT NULL,
    id         BLOB NOT NULL,
    lane       INTEGER NOT NULL,
    position   INTEGER NOT NULL,  -- its place in the lane; kept while it is leased
    place      INTEGER NOT NULL,  -- 0 ready, 1 leased, 2 held, 3 dead
    until      INTEGER NOT NULL,  -- when the lease ends, or when it is due
    ready_at   INTEGER NOT NULL,  -- since when it waits in its lane (B7)
    worker     TEXT,              -- who has it, or had it last
    generation INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,  -- the fence (B4)
    losses     INTEGER NOT NULL,
    snoozes    INTEGER NOT NULL,
    faults     INTEGER NOT NULL,
    is_retry   INTEGER NOT NULL,
    cancel     INTEGER NOT NULL,  -- 0 no, 1 ask, 2 now
    task       TEXT NOT NULL,
    bytes      BLOB               -- the encoded envelope; nothing where it is long and lies in `bodies`
);
CREATE UNIQUE INDEX envelopes_ready ON envelopes (lane, position) WHERE place = 0;
CREATE INDEX envelopes_leased ON envelopes (namespace, until, lane) WHERE place = 1;
CREATE INDEX envelopes_held ON envelopes (namespace, until, lane) WHERE place = 2;
CREATE INDEX envelopes_dead ON envelopes (lane) WHERE place = 3;

-- Long envelopes lie apart, so that a claim does not write them again.
CREATE TABLE bodies (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

CREATE TABLE dead_letters (
    seat       INTEGER PRIMARY KEY,  -- in the order of dying
    number     INTEGER NOT NULL UNIQUE,
    namespace  INTEGER NOT NULL,
    queue      TEXT NOT NULL,
    task       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    error      BLOB,
    dead_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE records (
    number     INTEGER PRIMARY KEY,
    namespace  INTEGER NOT NULL,
    id         BLOB NOT NULL,
    generation INTEGER NOT NULL,
    delivery   INTEGER NOT NULL,  -- the newest that has reported
    state      TEXT,              -- the end of this generation
    expires_at INTEGER NOT NULL,
    body       BLOB NOT NULL
);
CREATE INDEX records_expire ON records (expires_at, namespace);  -- the namespace, to count without the bodies

-- The newest delivery known of an envelope that has not ended, and how far it has come (R1).
CREATE TABLE fences (
    number     INTEGER PRIMARY KEY,
    namespace  INTEGER NOT NULL,
    id         BLOB NOT NULL,
    generation INTEGER NOT NULL,
    delivery   INTEGER NOT NULL,
    progress   BLOB,
    expires_at INTEGER NOT NULL
);
CREATE INDEX fences_expire ON fences (expires_at);

-- Lives as long as the fence of the same number.
CREATE TABLE checkpoints (number INTEGER PRIMARY KEY, body BLOB NOT NULL);

CREATE TABLE modules (
    namespace INTEGER NOT NULL,
    digest    BLOB NOT NULL,
    bytes     BLOB NOT NULL,
    PRIMARY KEY (namespace, digest)
);

-- The newest version ever given under a name: a number never names two modules.
CREATE TABLE deployment_names (
    namespace INTEGER NOT NULL,
    name      TEXT NOT NULL,
    newest    INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

CREATE TABLE deployments (
    namespace   INTEGER NOT NULL,
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    size_bytes  INTEGER NOT NULL,
    deployed_at INTEGER NOT NULL,
    is_active   INTEGER NOT NULL,
    tasks       BLOB NOT NULL,
    PRIMARY KEY (namespace, name, version)
);

CREATE TABLE commands (
    number     INTEGER PRIMARY KEY,
    namespace  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    body       BLOB NOT NULL
);

CREATE TABLE workers (
    namespace INTEGER NOT NULL,
    worker    TEXT NOT NULL,
    seen_at   INTEGER NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (namespace, worker)
) WITHOUT ROWID;
