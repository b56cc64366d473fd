//! The stores of a fleet on Redis 7: every seam behind one handle, for many machines at once.
//!
//! Every move is one script on the server (`scripts/*.lua`), so that a kill at any instruction leaves an envelope in
//! exactly one place. All keys of a namespace begin with `{namespace}:` and lie in one slot: on a cluster a namespace
//! lives on one node, and a fleet spreads by namespaces.
//!
//! | key, behind `{namespace}:` | what it is | how long it lives |
//! |---|---|---|
//! | `e:ID` | an envelope: a head of fixed size that scripts rewrite in place, its names, its bytes; once it has ended, its record | while it lives or is a dead letter; then the record's retention |
//! | `lane:PRIORITY:QUEUE` | a stream of packs: an entry has the ids of at most 16 envelopes, and is named by the time since which they could run, and a number | with its content |
//! | `back:PRIORITY:QUEUE` | a sorted set of what was released, lost by its worker, or left of a pack that was broken, in the order in which it lay in the stream | with its content |
//! | `lanes:QUEUE` | a hash of the queue's lanes: how many envelopes each has, how many of these came back, and where the next pack begins | with its lanes |
//! | `leased` | a hash of leases by id: which delivery, until when, whose, of which queue: the only authority | while something runs |
//! | `ends:QUEUE`, `running` | a sorted set of what was claimed together by when it may end: where to look for lost leases; how many leases each queue has | while something runs |
//! | `c:LINE` | the last claim on a line: its number, until when it leased, and the ids of what it leased | ten minutes after its leases |
//! | `due:QUEUE` | a sorted set of ids by due time | while something is held |
//! | `dead`, `graves`, `deaths` | dead letters in the order in which they died; why; how many of each queue | 7 days a letter |
//! | `r:ID` | the record of an envelope that lives or is a dead letter: revision, generation, delivery, end, and the record itself | its retention |
//! | `k:ID` | a fence, with progress and checkpoint | 30 days, or the record's time |
//! | `m:ID` | the mark of a derived id | 7 days |
//! | `usage:HOUR`, `hours` | sums by task, queue and tenant | 31 days |
//! | `b:BUCKET`, `o:BUCKET`, `buckets` | a bucket: its values, their order, and how full it is | with its keys |
//! | `deployments`, `newest`, `revision`, `module:DIGEST`, `pins` | what is deployed, and what envelopes are pinned to | until it is removed |
//! | `commands`, `workers` | control: commands, heartbeats | a minute; an hour |
//! | `written` | what was written last and waited for on replicas | a minute |
//! | `counter` | what a script counts a bucket's value on with | within that script |
//! | `queues`, `paused`, `seq` | names of queues that hold something, or are paused; the newest number | while they hold something |
//!
//! A claim takes entries out of their lanes and writes one lease for each envelope, and nothing else: the delivery that
//! runs has the number after the one in the head, which is written when the delivery ends. What comes back goes before
//! all that nobody has had yet.
#![forbid(unsafe_code)]

mod bell;
mod broker;
mod connector;
mod control;
mod dead_letters;
mod deployments;
mod endpoint;
mod entry;
mod key_value;
mod lines;
mod link;
mod module_store;
mod options;
mod problem;
mod queues;
mod records;
mod remedy;
mod reply;
mod reserve;
mod result_store;
mod roster;
mod route;
mod scripts;
mod server;
mod settle;
mod store;
mod upkeep;
mod usage_store;
mod wakeups;

pub use options::{Options, Tls};
pub use store::Store;
