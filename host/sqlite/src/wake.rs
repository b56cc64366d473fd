//! How those who wait hear of a commit, in this process and in every other one that has the database open.
//!
//! Beside the database lies a folder with one file for each topic. Who commits writes a byte there, and every process
//! watches the folder; waiters of the same process are told directly. A slow poll stands behind both.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

/// What waiters wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Envelopes to claim.
    Work,
    /// Records, and whatever else a look-up shows.
    Records,
    /// Commands, and deployments.
    Control,
}

impl Topic {
    const ALL: [Self; 3] = [Self::Work, Self::Records, Self::Control];

    fn file(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Records => "records",
            Self::Control => "control",
        }
    }
}

/// A set of topics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Topics(u8);

impl Topics {
    pub(crate) fn with(self, topic: Topic) -> Self {
        Self(self.0 | 1 << topic as u8)
    }

    fn has(self, topic: Topic) -> bool {
        self.0 & 1 << topic as u8 != 0
    }
}

/// Wakes waiters here and elsewhere.
pub(crate) struct Wake {
    files: [File; 3],
    channels: Arc<Channels>,
    _watcher: Option<RecommendedWatcher>,
}

struct Channels([watch::Sender<u64>; 3]);

impl Wake {
    /// Watches the folder, which exists.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let open = |topic: Topic| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(folder.join(topic.file()))
        };
        let [work, records, control] = Topic::ALL.map(open);
        let channels = Arc::new(Channels(Topic::ALL.map(|_| watch::Sender::new(0))));
        Ok(Self {
            files: [work?, records?, control?],
            _watcher: watch_folder(folder, Arc::clone(&channels)),
            channels,
        })
    }

    /// Says everywhere that something has been committed.
    pub(crate) fn announce(&self, topics: Topics) {
        for (topic, file) in Topic::ALL.into_iter().zip(&self.files) {
            if !topics.has(topic) {
                continue;
            }
            self.channels.bump(topic);
            if let Err(error) = file.write_at(b"\n", 0) {
                tracing::warn!(%error, topic = topic.file(), "other processes are not woken at once");
            }
        }
    }

    /// Hears of everything from now on.
    pub(crate) fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.channels.0[topic as usize].subscribe()
    }
}

impl Channels {
    fn bump(&self, topic: Topic) {
        self.0[topic as usize].send_modify(|version| *version = version.wrapping_add(1));
    }

    fn hear(&self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            return self.bump_all();
        };
        if event.need_rescan() {
            return self.bump_all();
        }
        if !event.kind.is_modify() {
            return;
        }
        for topic in Topic::ALL {
            let is_meant = |path: &std::path::PathBuf| path.ends_with(topic.file());
            if event.paths.iter().any(is_meant) {
                self.bump(topic);
            }
        }
    }

    /// Events were lost: whoever waits has a look.
    fn bump_all(&self) {
        Topic::ALL.into_iter().for_each(|topic| self.bump(topic));
    }
}

/// Without a watch only the slow poll is left: that is slow, and no reason to refuse the store.
fn watch_folder(folder: &Path, channels: Arc<Channels>) -> Option<RecommendedWatcher> {
    let watch = || {
        let mut watcher = notify::recommended_watcher(move |event| channels.hear(event))?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok::<_, notify::Error>(watcher)
    };
    watch()
        .inspect_err(|error| {
            tracing::warn!(
                %error,
                folder = %folder.display(),
                "cannot watch the folder beside the database: other processes are heard once a second; \
                 on Linux, raise fs.inotify.max_user_instances"
            );
        })
        .ok()
}
