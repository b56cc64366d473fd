//! What a task that runs here would enqueue: checked and made ready as on a worker, and kept to be shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use stem_core::broker::Published;
use stem_core::children::{Child, Parent, Refusal};
use stem_core::client::{Client, Enqueued};
use stem_core::clock::Clock;
use stem_core::envelope::Envelope;
use stem_core::ids::EnvelopeId;
use stem_core::module_store::ModuleStore;
use stem_core::names::{HeaderName, Namespace};
use stem_core::stores::Stores;

use crate::config::Config;
use crate::output::{Output, harmless};
use crate::views::{EnqueuedView, payload_value};

/// Children that a person is shown; programs get all of them.
const SHOWN: usize = 20;
/// Characters of a payload that a person is shown.
const SHOWN_PAYLOAD: usize = 100;

/// What would be enqueued, and what checks it.
pub struct Plans {
    client: Client,
    parent: Parent,
    is_unchecked: bool,
    planned: Mutex<Vec<Plan>>,
}

/// One envelope that would be enqueued.
#[derive(Debug, Serialize)]
pub struct Plan {
    #[serde(flatten)]
    envelope: EnqueuedView,
    key: Option<String>,
    headers: BTreeMap<HeaderName, String>,
    payload: Value,
    #[serde(skip)]
    said: String,
}

impl Plans {
    /// For the children of this envelope. They are published to a store of this process, which ends with it; their tasks
    /// are those that are deployed, where anybody knows these.
    pub fn new(
        parent: &Envelope,
        deployed: Option<&Arc<dyn ModuleStore>>,
        (config, clock): (&Config, &Arc<dyn Clock>),
    ) -> Result<Self> {
        let store = stem_memory::Store::new(Namespace::new("local")?, Arc::clone(clock));
        let mut stores = Stores::on_one(store, Arc::clone(clock));
        if let Some(deployed) = deployed {
            stores.modules = Arc::clone(deployed);
        }
        let client = Client::new(stores, config.default_queue.clone());
        Ok(Self {
            client: client.with_payload_limit(config.payload_limit),
            parent: Parent::of(parent),
            is_unchecked: deployed.is_none(),
            planned: Mutex::default(),
        })
    }

    pub(super) async fn add(&self, mut children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>> {
        for child in &mut children {
            child.request.is_unchecked = self.is_unchecked;
        }
        let asked = children.clone();
        let answers = self.client.enqueue_children(&self.parent, children).await;
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = asked.into_iter().zip(&answers);
        // A child whose key was there before would not be enqueued again.
        planned.extend(pairs.filter_map(|(child, answer)| match answer {
            Ok(new) if new.published == Published::Stored => Some(Plan::new(child, new)),
            Ok(_) | Err(_) => None,
        }));
        let id = |answer: Result<Enqueued, Refusal>| answer.map(|enqueued| enqueued.id);
        answers.into_iter().map(id).collect()
    }

    pub(super) fn take(&self) -> Vec<Plan> {
        std::mem::take(&mut *self.planned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn in_one_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n")
}

impl Plan {
    fn new(child: Child, enqueued: &Enqueued) -> Self {
        let Child { request, key } = child;
        let named = key
            .as_ref()
            .map(|key| format!(" as `{}`", in_one_line(key)));
        let text = String::from_utf8_lossy(&request.payload.body);
        let begin: String = text.chars().take(SHOWN_PAYLOAD).collect();
        let cut = if begin.len() < text.len() { "…" } else { "" };
        Self {
            envelope: EnqueuedView::new(enqueued, &request.task),
            said: format!(
                "would enqueue `{}`{} to `{}`: {}{cut}",
                request.task,
                named.unwrap_or_default(),
                enqueued.queue,
                in_one_line(&begin)
            ),
            payload: payload_value(&request.payload),
            headers: request.headers,
            key,
        }
    }

    /// Tells a person.
    pub(super) fn note(plans: &[Self], output: &Output) {
        for plan in plans.iter().take(SHOWN) {
            output.note(&plan.said);
        }
        if plans.len() > SHOWN {
            let more = plans.len() - SHOWN;
            output.note(format!("and {more} more: --json lists them all"));
        }
    }
}
