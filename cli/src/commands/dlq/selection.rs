//! Which dead letters a command means: by id, or by filter.

use anyhow::Result;
use stem_core::clock::Timestamp;
use stem_core::dead_letters::{DeadFilter, Page};
use stem_core::ids::EnvelopeId;
use stem_core::names::{QueueName, TaskName, nearest};
use stem_core::outcome::DeadReason;
use stem_core::stores::Stores;

use crate::arguments::{self, Ids, Since};
use crate::errors::Failure;

/// Dead letters that are read in one step.
const PAGE: usize = 500;

/// Which dead letters are let through
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Those of this queue
    #[arg(long)]
    queue: Option<QueueName>,
    /// Those of this task
    #[arg(long)]
    task: Option<TaskName>,
    /// Those with this reason: attempts-exhausted, rejected, poison, …
    #[arg(long, value_parser = reason)]
    reason: Option<DeadReason>,
    /// Those that died since then: 1h, 7d or 2026-11-20T08:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = arguments::since)]
    since: Option<Since>,
}

/// Which part of a list
#[derive(Debug, Clone, clap::Args)]
pub struct Paging {
    /// No more than this
    #[arg(long, value_name = "N", value_parser = limit)]
    pub limit: Option<usize>,
    /// Only what comes after this id in the list
    #[arg(long, value_name = "ID")]
    pub cursor: Option<EnvelopeId>,
}

/// Dead letters by id or by filter
#[derive(Debug, Clone, clap::Args)]
pub struct Selection {
    #[command(flatten)]
    ids: Ids,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    paging: Paging,
}

impl Filter {
    /// The filter, seen from now.
    pub fn at(&self, now: Timestamp) -> DeadFilter {
        DeadFilter {
            queue: self.queue.clone(),
            task: self.task.clone(),
            reason: self.reason,
            since: self.since.map(|since| since.time(now)),
        }
    }

    fn is_empty(&self) -> bool {
        self.at(Timestamp::default()) == DeadFilter::default()
    }
}

impl Paging {
    /// Refuses a cursor that stands nowhere: what comes after it is unknown.
    pub async fn check(&self, stores: &Stores, verb: &str) -> Result<()> {
        let Some(cursor) = self.cursor else {
            return Ok(());
        };
        match stores.dead_letters.show(&[cursor]).await?.as_slice() {
            [Some(_)] => Ok(()),
            _ => {
                let problem = format!("there is none with the id {cursor} of --cursor (any more)");
                Err(Failure::not_found(format!("{verb} dead letters"), problem).into())
            }
        }
    }
}

impl Selection {
    /// Whether the ids were named one by one.
    pub fn is_by_id(&self) -> bool {
        !self.ids.all().is_empty()
    }

    /// Whether nothing is said that leaves a dead letter out.
    pub fn is_everything(&self) -> bool {
        !self.is_by_id() && self.is_unfiltered()
    }

    fn is_unfiltered(&self) -> bool {
        self.filter.is_empty() && self.paging.limit.is_none() && self.paging.cursor.is_none()
    }

    /// The one that is meant, where only one can be, and by its id.
    pub fn one(&self, verb: &str) -> Result<EnvelopeId> {
        match self.ids.all().as_slice() {
            [id] if self.is_unfiltered() => Ok(*id),
            _ => {
                let problem = "--local takes one ID, and no filter";
                Err(Failure::usage(format!("{verb} dead letters"), problem).into())
            }
        }
    }

    /// The ids that are meant, oldest first. They are read before anything changes: an envelope that is replayed and
    /// dies again meanwhile is not met twice.
    pub async fn ids(&self, stores: &Stores, verb: &str) -> Result<Vec<EnvelopeId>> {
        if !self.is_by_id() {
            self.paging.check(stores, verb).await?;
            return self.matching(stores).await;
        }
        let attempted = format!("{verb} dead letters");
        if !self.is_unfiltered() {
            let problem = "ids and filters exclude each other";
            return Err(Failure::usage(attempted, problem).into());
        }
        let ids = self.ids.all();
        let shown = stores.dead_letters.show(&ids).await?;
        let missing = ids.iter().zip(&shown).find(|(_, letter)| letter.is_none());
        match missing {
            Some((id, _)) => Err(not_dead(*id, verb)),
            None => Ok(ids),
        }
    }

    async fn matching(&self, stores: &Stores) -> Result<Vec<EnvelopeId>> {
        let filter = self.filter.at(stores.clock.now());
        let limit = self.paging.limit.unwrap_or(usize::MAX);
        let mut ids: Vec<EnvelopeId> = Vec::new();
        while ids.len() < limit {
            let page = Page {
                after: ids.last().copied().or(self.paging.cursor),
                limit: PAGE.min(limit - ids.len()),
                is_oldest_first: true,
            };
            let letters = stores.dead_letters.list_heads(&filter, &page).await?;
            let is_last = letters.len() < page.limit;
            ids.extend(letters.into_iter().map(|letter| letter.id));
            if is_last {
                break;
            }
        }
        Ok(ids)
    }
}

/// No dead letter has this id.
pub fn not_dead(id: EnvelopeId, verb: &str) -> anyhow::Error {
    Failure::not_found(format!("{verb} {id}"), "it is no dead letter")
        .hint(format!("see what it is with `stem-host result {id}`"))
        .into()
}

fn reason(word: &str) -> Result<DeadReason, String> {
    DeadReason::parse(word).ok_or_else(|| {
        let words = DeadReason::ALL.map(DeadReason::as_str);
        match nearest(word, words) {
            Some(near) => format!("`{word}` is no reason; did you mean `{near}`?"),
            None => format!("`{word}` is no reason: use one of {}", words.join(", ")),
        }
    })
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is no number from 1 up")),
        Ok(limit) => Ok(limit),
    }
}
