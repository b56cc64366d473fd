-- What attempts used, by the beginning of the hour in which their ends were recorded. A tenant is '' where none is named.
CREATE TABLE usage (
    hour              INTEGER NOT NULL,
    namespace         INTEGER NOT NULL,
    task              TEXT NOT NULL,
    queue             TEXT NOT NULL,
    tenant            TEXT NOT NULL,
    succeeded         INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    snoozed           INTEGER NOT NULL,
    cancelled         INTEGER NOT NULL,
    expired           INTEGER NOT NULL,
    interrupted       INTEGER NOT NULL,
    cpu_us            INTEGER NOT NULL,
    wall_us           INTEGER NOT NULL,
    memory_byte_ms    INTEGER NOT NULL,
    peak_memory_bytes INTEGER NOT NULL,
    fuel              INTEGER NOT NULL,
    host_calls        INTEGER NOT NULL,
    bytes_out         INTEGER NOT NULL,
    PRIMARY KEY (hour, namespace, task, queue, tenant)
) WITHOUT ROWID;
