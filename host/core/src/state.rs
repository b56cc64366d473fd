//! The states of an envelope and the transitions between them: one table, the only source (R1).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an envelope is doing, as a look-up shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for the time of its next attempt after a failed one.
    Retrying,
    /// Ended with a result.
    Succeeded,
    /// Ended without one, and lies in the dead letters.
    Failed,
    /// Ended by request.
    Cancelled,
    /// Ended because it was not started in time.
    Expired,
}

/// How an envelope ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndState {
    /// With a result.
    Succeeded,
    /// Without one, and it lies in the dead letters.
    Failed,
    /// By request.
    Cancelled,
    /// Not started in time.
    Expired,
}

/// What moves an envelope from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its time has come.
    Due,
    /// A worker claimed it.
    Claimed,
    /// Somebody cancelled it, or purged its queue.
    Cancelled,
    /// Its time to start has passed.
    Expired,
    /// It ended without running: poison, undecodable, unknown task, …
    Refused,
    /// Its attempt gave a result.
    Succeeded,
    /// Its last attempt failed, or one that must not be repeated.
    Failed,
    /// Its attempt failed and another follows.
    Retried,
    /// Its task asked to run again later.
    Snoozed,
    /// Its worker gave it back, or was lost.
    Released,
    /// Its host failed: it is tried again after a while.
    Faulted,
    /// Somebody replayed its dead letter: a new generation.
    Replayed,
}

/// Every transition that there is; any other is refused.
pub const TRANSITIONS: [(State, Cause, State); 23] = [
    (State::Scheduled, Cause::Due, State::Queued),
    // A claim puts what is due into its lane, and takes it, in one step.
    (State::Scheduled, Cause::Claimed, State::Running),
    (State::Scheduled, Cause::Cancelled, State::Cancelled),
    (State::Queued, Cause::Claimed, State::Running),
    (State::Queued, Cause::Cancelled, State::Cancelled),
    (State::Queued, Cause::Expired, State::Expired),
    (State::Queued, Cause::Refused, State::Failed),
    (State::Retrying, Cause::Due, State::Queued),
    (State::Retrying, Cause::Claimed, State::Running),
    (State::Retrying, Cause::Cancelled, State::Cancelled),
    (State::Retrying, Cause::Expired, State::Expired),
    (State::Retrying, Cause::Refused, State::Failed),
    (State::Scheduled, Cause::Expired, State::Expired),
    (State::Running, Cause::Succeeded, State::Succeeded),
    (State::Running, Cause::Failed, State::Failed),
    (State::Running, Cause::Cancelled, State::Cancelled),
    (State::Running, Cause::Expired, State::Expired),
    (State::Running, Cause::Retried, State::Retrying),
    (State::Running, Cause::Snoozed, State::Scheduled),
    (State::Running, Cause::Released, State::Queued),
    (State::Running, Cause::Faulted, State::Scheduled),
    (State::Running, Cause::Refused, State::Failed),
    (State::Failed, Cause::Replayed, State::Queued),
];

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Where this cause leads from here; nothing where it may not happen.
    pub fn after(self, cause: Cause) -> Option<Self> {
        TRANSITIONS
            .into_iter()
            .find(|(from, by, _)| *from == self && *by == cause)
            .map(|(.., to)| to)
    }

    /// The end that this state is, if it is one.
    pub fn end(self) -> Option<EndState> {
        match self {
            Self::Succeeded => Some(EndState::Succeeded),
            Self::Failed => Some(EndState::Failed),
            Self::Cancelled => Some(EndState::Cancelled),
            Self::Expired => Some(EndState::Expired),
            Self::Scheduled | Self::Queued | Self::Running | Self::Retrying => None,
        }
    }

    /// The word that commands and JSON use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl From<EndState> for State {
    fn from(end: EndState) -> Self {
        match end {
            EndState::Succeeded => Self::Succeeded,
            EndState::Failed => Self::Failed,
            EndState::Cancelled => Self::Cancelled,
            EndState::Expired => Self::Expired,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The table as Markdown: a row for each state that can be left, with each cause and where it leads.
pub fn render_transitions() -> String {
    let mut table = "| from | by → to |\n|---|---|\n".to_owned();
    for from in State::ALL {
        let ways: Vec<String> = TRANSITIONS
            .iter()
            .filter(|(state, ..)| *state == from)
            .map(|(_, cause, to)| format!("{} → {to}", format!("{cause:?}").to_lowercase()))
            .collect();
        if !ways.is_empty() {
            table.push_str(&format!("| {from} | {} |\n", ways.join(", ")));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R1
    #[test]
    fn an_end_is_left_only_by_a_replay_of_a_failed_envelope() {
        for (from, cause, _) in TRANSITIONS {
            assert!(from.end().is_none() || (from == State::Failed && cause == Cause::Replayed));
        }
    }

    /// R1
    #[test]
    fn no_cause_leads_to_two_states() {
        for (index, (from, cause, _)) in TRANSITIONS.iter().enumerate() {
            let twin = TRANSITIONS[index + 1..]
                .iter()
                .any(|(state, by, _)| state == from && by == cause);
            assert!(!twin, "{from} by {cause:?}");
        }
    }

    /// R1
    #[test]
    fn an_illegal_transition_is_refused() {
        assert_eq!(State::Succeeded.after(Cause::Claimed), None);
        assert_eq!(State::Scheduled.after(Cause::Succeeded), None);
        assert_eq!(State::Queued.after(Cause::Claimed), Some(State::Running));
    }
}
