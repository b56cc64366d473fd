-- Buckets of keys and values.

-- Those that hold something.
CREATE TABLE buckets (
    bucket    INTEGER PRIMARY KEY,
    namespace INTEGER NOT NULL,
    name      TEXT NOT NULL,
    keys      INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,  -- of keys and values
    UNIQUE (namespace, name)
);

-- Place and version are numbers of the sequence: the place is given once, the version with every value.
CREATE TABLE entries (
    place   INTEGER PRIMARY KEY,
    bucket  INTEGER NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,
    value   BLOB NOT NULL,
    UNIQUE (bucket, key)
);
CREATE INDEX entries_listed ON entries (bucket, place);
