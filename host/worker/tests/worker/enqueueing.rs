//! What a running attempt enqueues: once where it has a key, in one step, and not without its lease.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stem_core::broker::Claim;
use stem_core::children::{Child, Draft, Refusal};
use stem_core::envelope::Envelope;
use stem_core::executor::{Execution, Run};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{Disruption, Outcome};
use stem_core::payload::Payload;
use stem_core::store_error::StoreErrorKind;
use stem_testkit::builders::{activation, queue_name, worker_name};
use stem_testkit::executor::{Gate, Step};

use crate::bench::{Bench, script};
use crate::rig::{Call, Rig};

type Answer = Result<EnvelopeId, Refusal>;
type Answers = Arc<Mutex<Vec<Answer>>>;

/// A child of a task that is deployed; it goes to a queue that no worker takes from.
fn child(key: Option<&str>) -> Child {
    child_of("kid", key, "{}")
}

fn child_of(task: &str, key: Option<&str>, body: &str) -> Child {
    let draft = Draft {
        task: task.to_owned(),
        payload: Payload::new("application/json", body.to_owned()),
        key: key.map(str::to_owned),
        headers: Vec::new(),
        options: vec![("queue".to_owned(), "kids".to_owned())],
    };
    draft.check().expect("a good child")
}

/// Enqueues these, and ends so.
fn enqueueing(children: Vec<Child>, end: Outcome) -> (Step, Answers) {
    let answers = Answers::default();
    let told = Arc::clone(&answers);
    let step = Step::call(move |run: Run| {
        let (children, end, told) = (children.clone(), end.clone(), Arc::clone(&told));
        async move {
            let answers = run.context.enqueue(children).await;
            told.lock().expect("not poisoned").extend(answers);
            Ok(Execution::ended(end))
        }
    });
    (step, answers)
}

/// What was answered so far.
fn told(answers: &Answers) -> Vec<Answer> {
    answers.lock().expect("not poisoned").clone()
}

fn done() -> Outcome {
    Outcome::Succeeded(Payload::new("application/json", "1"))
}

/// A worker on a broker with this task deployed.
async fn bench(rig: Rig, steps: Vec<Step>) -> Bench {
    let bench = Bench::start_rigged(rig, script(steps), |_| {}).await;
    let mut deployed = activation("kids", b"kids", &["kid"]);
    deployed.manifest.tasks[0].payload_schema = Some(r#"{"type":"object"}"#.to_owned());
    deployed.sealed = deployed.manifest.seal(None);
    let activated = bench.stores.modules.activate(&deployed).await;
    activated.expect("the store answers");
    bench
}

/// The children that were enqueued, by what they are stored as.
async fn kids(bench: &Bench) -> Vec<Envelope> {
    let queues = &bench.stores.queues;
    let ids = queues.waiting(&queue_name("kids"), 100).await;
    let found = queues.find(&ids.expect("the store answers")).await;
    let found = found.expect("the store answers").into_iter().flatten();
    let decode = |status: stem_core::queues::EnvelopeStatus| Envelope::decode(&status.bytes);
    found.map(|one| decode(one).expect("an envelope")).collect()
}

/// B15: released after it has enqueued, an attempt comes again with the same number.
#[tokio::test]
async fn a_repeated_attempt_enqueues_a_child_with_a_key_once_and_others_each_time() {
    let twice = || vec![child(Some("a")), child(None)];
    let released = Outcome::Interrupted(Disruption::Shutdown);
    let (first, answers) = enqueueing(twice(), released);
    let (second, again) = enqueueing(twice(), done());
    let bench = bench(Rig::default(), vec![first, second]).await;
    let parent = bench.enqueue(1).await[0];
    bench.end(parent).await;
    let (first, second) = (told(&answers), told(&again));
    assert_eq!(first[0], Ok(EnvelopeId::derived(parent, "a")));
    assert_eq!(first[0], second[0]);
    assert_ne!(first[1], second[1]);
    assert_eq!(kids(&bench).await.len(), 3);
}

/// B15
#[tokio::test]
async fn a_child_is_stored_with_where_it_comes_from() {
    let (step, _) = enqueueing(vec![child(None)], done());
    let bench = bench(Rig::default(), vec![step]).await;
    let parent = bench.enqueue(1).await[0];
    bench.end(parent).await;
    let kid = kids(&bench).await.remove(0);
    let lineage = kid.lineage.expect("it has a parent");
    assert_eq!((lineage.parent, lineage.root), (parent, parent));
}

/// E3, E6: checked like any other, each by itself, and told no names of other tasks.
#[tokio::test]
async fn a_child_that_cannot_be_enqueued_is_refused_in_its_place() {
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    let bad = [("kit", "{}"), ("kid", "1"), ("kid", "{"), ("kid", &large)];
    let bad = bad.map(|(task, body)| child_of(task, None, body));
    let (step, answers) = enqueueing([&bad[..], &[child(None)]].concat(), done());
    let bench = bench(Rig::default(), vec![step]).await;
    bench.end(bench.enqueue(1).await[0]).await;
    let answers = told(&answers);
    let unknown = "no task named `kit` is deployed".to_owned();
    assert_eq!(answers[0], Err(Refusal::Invalid(unknown)));
    let is_invalid = |answer: &Answer| matches!(answer, Err(Refusal::Invalid(_)));
    assert!(answers[..4].iter().all(is_invalid), "{answers:?}");
    assert_eq!(answers[4], Ok(kids(&bench).await[0].id));
}

/// Leases what another worker has held for too long.
async fn take_over(bench: &Bench) -> EnvelopeId {
    let hour = Duration::from_secs(3_600);
    bench.clock.advance(hour);
    let claim = Claim {
        worker: worker_name("other"),
        queues: vec![queue_name("q")],
        limit: 1,
        lease: hour,
    };
    let claimed = bench.stores.broker.claim(&claim).await;
    claimed.expect("the store answers")[0].receipt.id
}

/// R1, B4: another worker has the envelope by now.
#[tokio::test]
async fn an_attempt_that_has_lost_its_lease_enqueues_nothing() {
    let gate = Gate::closed();
    let (step, answers) = enqueueing(vec![child(Some("a"))], done());
    let bench = bench(Rig::default(), vec![step.after(&gate)]).await;
    let parent = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    assert_eq!(take_over(&bench).await, parent);
    gate.open();
    bench.stop(stem_worker::Shutdown::Graceful).await;
    let lost = "the attempt no longer holds its lease".to_owned();
    assert_eq!(told(&answers), [Err(Refusal::Other(lost))]);
}

/// A broker that fails to publish when it is told to.
fn breaking(kind: StoreErrorKind) -> (Rig, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let rig = Rig::failing(move |call| match call {
        Call::Publish => broken.load(SeqCst).then_some(kind),
        Call::Renew | Call::Settle(_) => None,
    });
    (rig, is_broken)
}

/// B9: what the store says, and where it lies, is not for the guest.
#[tokio::test]
async fn a_store_that_is_full_or_away_is_worth_a_retry() {
    for kind in [StoreErrorKind::Full, StoreErrorKind::Unavailable] {
        let (rig, is_broken) = breaking(kind);
        let (step, answers) = enqueueing(vec![child(None), child(None)], done());
        let gate = Gate::closed();
        let bench = bench(rig, vec![step.after(&gate)]).await;
        let parent = bench.enqueue(1).await[0];
        is_broken.store(true, SeqCst);
        gate.open();
        bench.end(parent).await;
        let again = Err(Refusal::Unavailable("try again later".to_owned()));
        assert_eq!(told(&answers), [again.clone(), again]);
    }
}
