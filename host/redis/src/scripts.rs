//! The scripts, each known by the hash of its text: two versions of this program never run each other's, and a server
//! that has forgotten one is told it again.

use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use sha1::{Digest as _, Sha1};

/// A script as the server knows it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) source: String,
    pub(crate) hash: String,
    /// Whether its answer says that something is kept, so that replicas must have it where they are waited for (B1).
    pub(crate) promises: bool,
}

const PRELUDE: &str = include_str!("scripts/prelude.lua");
const LANES: &str = include_str!("scripts/lanes.lua");
const BACK: &str = include_str!("scripts/back.lua");
const RECORD: &str = include_str!("scripts/record.lua");
const BUCKET: &str = include_str!("scripts/bucket.lua");

impl Script {
    /// One that goes on where the server's memory is full: whatever drains it must (B9).
    fn draining(parts: &[&str]) -> Self {
        Self::of("#!lua flags=allow-oom\n", parts)
    }

    /// One that is refused there.
    fn filling(parts: &[&str]) -> Self {
        Self::of("#!lua\n", parts)
    }

    fn of(first_line: &str, parts: &[&str]) -> Self {
        let source = [&[first_line, PRELUDE, LANES], parts].concat().join("\n");
        let hash = HEXLOWER.encode(&Sha1::digest(&source));
        Self {
            source,
            hash,
            promises: false,
        }
    }

    fn promising(self) -> Self {
        Self {
            promises: true,
            ..self
        }
    }
}

macro_rules! scripts {
    ($($name:ident $made:ident $($promising:ident)? [$($part:expr),*],)*) => {$(
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::$made(&[$($part),*])$(.$promising())?);
    )*};
}

scripts! {
    PUBLISH filling promising [BACK, include_str!("scripts/publish.lua")],
    CLAIM draining [BACK, include_str!("scripts/claim.lua")],
    RENEW draining [include_str!("scripts/renew.lua")],
    SETTLE draining promising [RECORD, include_str!("scripts/settle.lua")],
    ALARM draining [include_str!("scripts/alarm.lua")],
    REPORT draining promising [RECORD, include_str!("scripts/report.lua")],
    NOTE filling promising [RECORD, include_str!("scripts/note.lua")],
    OPEN draining promising [RECORD, include_str!("scripts/open.lua")],
    RECORDS draining [RECORD, include_str!("scripts/records.lua")],
    FIND draining [include_str!("scripts/find.lua")],
    CANCEL draining promising [RECORD, include_str!("scripts/cancel.lua")],
    WAITING draining [BACK, include_str!("scripts/waiting.lua")],
    COUNT_WAITING draining [include_str!("scripts/count_waiting.lua")],
    QUEUES draining [BACK, include_str!("scripts/queues.lua")],
    PAUSE draining promising [include_str!("scripts/pause.lua")],
    REPLAY draining promising [BACK, include_str!("scripts/replay.lua")],
    REMOVE draining promising [include_str!("scripts/remove.lua")],
    LETTERS draining [include_str!("scripts/letters.lua")],
    SHOW draining [include_str!("scripts/show.lua")],
    BUCKET_PUT filling promising [RECORD, BUCKET, include_str!("scripts/bucket_change.lua")],
    BUCKET_REMOVE draining promising [RECORD, BUCKET, include_str!("scripts/bucket_change.lua")],
    BUCKET_INCREMENT filling promising [RECORD, BUCKET, include_str!("scripts/bucket_increment.lua")],
    BUCKET_GET draining [include_str!("scripts/bucket_get.lua")],
    BUCKET_VERSIONS draining [include_str!("scripts/bucket_versions.lua")],
    BUCKET_CLEAR draining promising [RECORD, BUCKET, include_str!("scripts/bucket_clear.lua")],
    DEPLOYMENTS draining [include_str!("scripts/deployments.lua")],
    DEPLOY filling promising [include_str!("scripts/deploy.lua")],
    BROADCAST draining [include_str!("scripts/broadcast.lua")],
    HEAR draining [include_str!("scripts/hear.lua")],
    BEAT draining [include_str!("scripts/beat.lua")],
    WORKERS draining [include_str!("scripts/workers.lua")],
    LEAVE draining [include_str!("scripts/leave.lua")],
    SWEEP draining [include_str!("scripts/sweep.lua")],
    CONTENTS draining [include_str!("scripts/contents.lua")],
    SUMS draining [include_str!("scripts/sums.lua")],
}
