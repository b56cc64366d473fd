//! What a guest may write about a child, what is refused, and what a child takes after its parent.

use super::*;
use crate::payload::{Payload, StoredPayload};

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    given.iter().map(owned).collect()
}

fn draft() -> Draft {
    Draft {
        task: "t".to_owned(),
        payload: Payload::new("application/json", "{}"),
        key: None,
        headers: Vec::new(),
        options: Vec::new(),
    }
}

fn with_options(options: &[(&str, &str)]) -> Result<Request, String> {
    let draft = Draft {
        options: pairs(options),
        ..draft()
    };
    let child = draft.check().map_err(|refusal| refusal.to_string())?;
    Ok(child.request)
}

/// E4
#[test]
fn options_say_what_the_flags_of_enqueue_say() {
    let all = [("queue", "slow"), ("priority", "9"), ("max-attempts", "3")];
    let request = with_options(&all).expect("good options");
    assert_eq!(request.queue, Some(QueueName::new("slow").expect("a name")));
    assert_eq!((request.priority, request.max_attempts), (Some(9), Some(3)));
    let none = with_options(&[]).expect("no options");
    assert_eq!(
        (none.queue, none.priority, none.due),
        (None, None, Due::Now)
    );
}

#[test]
fn a_child_waits_as_its_options_say() {
    for (name, value, due) in [
        ("delay", "1m", Due::After(Duration::from_secs(60))),
        ("delay", "0s", Due::Now),
        (
            "at",
            "1970-01-01T00:00:01Z",
            Due::At(Timestamp::from_millis(1_000)),
        ),
    ] {
        let request = with_options(&[(name, value)]).expect("a good option");
        assert_eq!(request.due, due);
    }
}

fn refused_option(name: &str, value: &str) -> String {
    with_options(&[(name, value)]).expect_err("refused")
}

#[test]
fn an_unknown_option_is_refused_with_the_nearest() {
    let near = "unknown option `prioriti`; did you mean `priority`?";
    assert_eq!(refused_option("prioriti", "1"), near);
    let none = "unknown option `unchecked`; there are queue, delay, at, priority, max-attempts";
    assert_eq!(refused_option("unchecked", "true"), none);
}

/// E5
#[test]
fn a_value_that_an_option_cannot_take_is_refused_by_name() {
    for (name, value, said) in [
        ("priority", "10", "`10` is no number from 0 to 9"),
        ("max-attempts", "0", "`0` is no number from 1 to 1000"),
        ("delay", "soon", "`soon` is no duration"),
        ("at", "soon", "`soon` is no time"),
        ("queue", "two words", "`two words` is no queue name"),
    ] {
        let error = refused_option(name, value);
        let begin = format!("bad value for the option `{name}`: {said}");
        assert!(error.starts_with(&begin), "{error}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let both = [("delay", "1s"), ("at", "2026-11-20T08:00:00Z")];
    let error = with_options(&both).expect_err("refused");
    assert!(error.ends_with("`delay` and `at` say two things: give one"));
    let twice = [("queue", "a"), ("queue", "b")];
    let error = with_options(&twice).expect_err("refused");
    assert_eq!(error, "the option `queue` is given twice");
}

/// E3, E5
#[test]
fn what_no_producer_could_say_is_refused() {
    let is_refused = |spoil: fn(&mut Draft)| {
        let mut draft = draft();
        spoil(&mut draft);
        matches!(draft.check(), Err(Refusal::Invalid(_)))
    };
    assert!(is_refused(|draft| draft.task = "two words".to_owned()));
    assert!(is_refused(|draft| draft.key = Some(String::new())));
    assert!(is_refused(|draft| draft.headers = pairs(&[("a b", "1")])));
    assert!(is_refused(|draft| {
        draft.headers = pairs(&[("a", "1"); MAX_HEADERS + 1]);
    }));
    assert!(is_refused(|draft| draft.payload = Payload::new("\n", "")));
    assert!(!is_refused(|_| {}));
}

#[test]
fn a_draft_weighs_what_it_holds() {
    let draft = Draft {
        task: "four".to_owned(),
        payload: Payload::new("a/b", "12345"),
        key: Some("key".to_owned()),
        headers: pairs(&[("a", "bc")]),
        options: pairs(&[("queue", "q")]),
    };
    assert_eq!(draft.size(), 4 + 3 + 5 + 3 + 3 + 6);
}

fn parent(headers: &[(&str, &str)]) -> Envelope {
    let name = TaskName::new("p").expect("a name");
    let queue = QueueName::new("q").expect("a name");
    let payload = StoredPayload::pack(Payload::new("a/b", ""));
    let mut envelope = Envelope::new(name, queue, payload, Timestamp::default());
    envelope.headers = super::headers(pairs(headers)).expect("good headers");
    envelope
}

fn adopted(parent: &Envelope, headers: &[(&str, &str)]) -> Result<Request, Refusal> {
    let draft = Draft {
        key: Some("k".to_owned()),
        headers: pairs(headers),
        ..draft()
    };
    Parent::of(parent).adopt(draft.check().expect("a good child"))
}

/// B15
#[test]
fn a_child_has_the_id_of_its_key() {
    let parent = parent(&[]);
    let child = adopted(&parent, &[]).expect("adopted");
    assert_eq!(child.id, Some(EnvelopeId::derived(parent.id, "k")));
}

#[test]
fn a_child_knows_its_parent_and_the_first_of_its_line() {
    let mut parent = parent(&[]);
    let lineage = |parent: &Envelope| adopted(parent, &[]).expect("adopted").lineage;
    let line = |parent, root| Some(Lineage { parent, root });
    assert_eq!(lineage(&parent), line(parent.id, parent.id));
    let first = EnvelopeId::new();
    parent.lineage = line(EnvelopeId::new(), first);
    assert_eq!(lineage(&parent), line(parent.id, first));
}

fn shown(adopted: Result<Request, Refusal>) -> String {
    let headers = adopted.expect("adopted").headers;
    let pair = |(name, value): (&HeaderName, &String)| format!("{name}={value}");
    headers.iter().map(pair).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_child_inherits_its_trace_and_its_tenant_and_nothing_else() {
    let trace = [("traceparent", "p"), ("tracestate", "s")];
    let parent = parent(&[&trace[..], &[("tenant", "t"), ("other", "o")]].concat());
    let all = "tenant=t traceparent=p tracestate=s";
    assert_eq!(shown(adopted(&parent, &[])), all);
    let own = [("traceparent", "mine"), ("a", "b")];
    let mixed = "a=b tenant=t traceparent=mine";
    assert_eq!(shown(adopted(&parent, &own)), mixed);
}

/// Whoever bills or limits tenants relies on it.
#[test]
fn a_task_of_one_tenant_cannot_enqueue_for_another() {
    let of_one = parent(&[("tenant", "one")]);
    assert_eq!(shown(adopted(&of_one, &[("tenant", "one")])), "tenant=one");
    let other = adopted(&of_one, &[("tenant", "two")]);
    assert!(matches!(other, Err(Refusal::Invalid(_))), "{other:?}");
    let of_none = parent(&[]);
    assert_eq!(shown(adopted(&of_none, &[("tenant", "two")])), "tenant=two");
}
