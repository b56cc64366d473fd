//! Who waits for what happens on the server, and the subscription that tells them.
//!
//! A wake-up is only a hint to look. While the subscription is broken nothing is heard, so everybody looks when it is
//! back, and a slow pulse stands behind every wait.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::{Msg, PushInfo, PushKind};
use stem_core::ids::EnvelopeId;
use stem_core::names::QueueName;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::link::{Link, Subscribed};
use crate::problem::Stepped;

/// How long an id is.
const ID: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Envelopes to claim, in one of these queues.
    Work(Vec<String>),
    /// Records, and whatever else a look-up shows.
    Records,
    /// The same of one envelope.
    Record(EnvelopeId),
    /// Commands.
    Commands,
}

/// Hears the server for everybody in this process.
pub(crate) struct Bell {
    ears: Arc<Ears>,
    /// Ends with the bell.
    _listener: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Ears(Mutex<Vec<Weak<Ear>>>);

/// Somebody who waits. Nothing that happens between two waits is missed.
pub(crate) struct Ear {
    topic: Topic,
    rung: Notify,
}

impl Ear {
    pub(crate) async fn heard(&self) {
        self.rung.notified().await;
    }
}

impl Bell {
    /// Subscribes, and goes on listening until the bell is dropped.
    pub(crate) async fn start(link: Link, prefix: &str) -> Stepped<Arc<Self>> {
        let ears = Arc::new(Ears::default());
        let channels = ["work", "records", "commands"].map(|name| format!("{prefix}{name}"));
        let subscription = Subscription { link, channels };
        let first = subscription.link.subscribe(&subscription.channels).await?;
        let mut listener = JoinSet::new();
        let heard = Arc::clone(&ears);
        listener.spawn(async move { subscription.listen(first, &heard).await });
        Ok(Arc::new(Self {
            ears,
            _listener: Mutex::new(listener),
        }))
    }

    /// Hears of this topic from now on.
    pub(crate) fn listen(&self, topic: Topic) -> Arc<Ear> {
        let ear = Arc::new(Ear {
            topic,
            rung: Notify::new(),
        });
        let mut ears = self.ears.0.lock().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|ear| ear.strong_count() > 0);
        ears.push(Arc::downgrade(&ear));
        ear
    }

    /// Wakes who waits here for work in one of these queues.
    pub(crate) fn ring_for_work(&self, queues: &[QueueName]) {
        self.ears.ring(|topic| match topic {
            Topic::Work(names) => queues.iter().any(|queue| {
                let queue = queue.as_str();
                names.iter().any(|name| name == queue)
            }),
            Topic::Records | Topic::Record(_) | Topic::Commands => false,
        });
    }
}

impl Ears {
    fn ring(&self, is_meant: impl Fn(&Topic) -> bool) {
        let ears = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ears = ears.iter().filter_map(Weak::upgrade);
        for ear in ears.filter(|ear| is_meant(&ear.topic)) {
            ear.rung.notify_one();
        }
    }
}

struct Subscription {
    link: Link,
    channels: [String; 3],
}

impl Subscription {
    async fn listen(&self, first: Subscribed, ears: &Ears) {
        let mut subscribed = Ok(first);
        let mut pause = FIRST_PAUSE;
        loop {
            match subscribed {
                Ok(subscribed) => {
                    ears.ring(|_| true);
                    self.hear(subscribed, ears).await;
                    tracing::debug!(name = self.link.name(), "the subscription broke");
                    pause = FIRST_PAUSE;
                }
                Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            subscribed = self.link.subscribe(&self.channels).await;
        }
    }

    /// Passes on what is heard until the connection breaks; where nothing is for as long as a command may take, asks
    /// whether it has.
    async fn hear(&self, mut subscribed: Subscribed, ears: &Ears) {
        loop {
            match tokio::time::timeout(self.link.timeout(), subscribed.messages.recv()).await {
                Ok(Some(push)) if push.kind == PushKind::Disconnection => return,
                Ok(Some(push)) => self.pass_on(push, ears),
                Ok(None) => return,
                Err(_) if subscribed.is_alive().await => {}
                Err(_) => return,
            }
        }
    }

    fn pass_on(&self, push: PushInfo, ears: &Ears) {
        let Some(message) = Msg::from_push_info(push) else {
            return;
        };
        let [work, records, _] = &self.channels;
        let channel = message.get_channel_name();
        let told = message.get_payload_bytes();
        let ids: HashSet<&[u8]> = match channel == records {
            true => told.chunks(ID).collect(),
            false => HashSet::new(),
        };
        ears.ring(|topic| match topic {
            Topic::Work(queues) => {
                channel == work && queues.iter().any(|one| one.as_bytes() == told)
            }
            Topic::Records => channel == records,
            // Of very many nobody is named.
            Topic::Record(id) => {
                channel == records && (told.is_empty() || ids.contains(&id.as_bytes()[..]))
            }
            Topic::Commands => channel != work && channel != records,
        });
    }
}
