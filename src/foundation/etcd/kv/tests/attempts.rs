//! What a handle asks of its member, and when: the member is one that does as each test says.

use crate::api::{Error, PutRequest, RangeRequest, RequestOp, TxnRequest};
use crate::command::Command;
use crate::kv::Kv;
use crate::lease::Moment;
use crate::machine::{Applied, Outcome, Shared};
use crate::member::{Backend, IN_FLIGHT_MAX, Pending, Status};
use crate::question::Question;
use bytes::Bytes;
use parking_lot::Mutex;
use rng::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Counts what it is asked. Reads are never answered; writes are, as soon as a leader takes
/// proposals.
struct Fake {
    reads: AtomicUsize,
    writes: AtomicUsize,
    unanswered: Mutex<Vec<oneshot::Sender<Result<(), Error>>>>,
    stuck: Mutex<Vec<oneshot::Sender<Result<Outcome, Error>>>>,
    /// Who takes proposals.
    takes: watch::Sender<u64>,
    /// Else writes are never answered either.
    answers_writes: bool,
}

impl Backend for Fake {
    fn propose(&self, _: &Command) -> Result<Pending<Outcome>, Error> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let (answer, pending) = oneshot::channel();
        match (self.answers_writes, *self.takes.borrow()) {
            (false, _) => self.stuck.lock().push(answer),
            (true, 0) => drop(answer.send(Err(Error::NoLeader))),
            (true, _) => drop(answer.send(Ok(Outcome::Done))),
        }
        Ok(pending)
    }
    fn read_barrier(&self) -> Result<Option<Pending<()>>, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let (answer, pending) = oneshot::channel();
        self.unanswered.lock().push(answer);
        Ok(Some(pending))
    }
    fn ask(&self, _: &Question) -> Result<Pending<Option<Bytes>>, Error> {
        Ok(oneshot::channel().1)
    }
    fn leader(&self) -> Option<watch::Receiver<u64>> {
        Some(watch::channel(1).1)
    }
    fn takes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.takes.subscribe())
    }
    fn local_reads(&self) -> bool {
        false
    }
    fn status(&self) -> Status {
        Status::default()
    }
}

fn fake(answers_writes: bool, quota: u64) -> (Kv, Arc<Fake>, Arc<Shared>) {
    let fake = Arc::new(Fake {
        reads: AtomicUsize::new(0),
        writes: AtomicUsize::new(0),
        unanswered: Mutex::default(),
        stuck: Mutex::default(),
        takes: watch::Sender::new(1),
        answers_writes,
    });
    let shared = Arc::new(Shared::new());
    (Kv::new(shared.clone(), fake.clone(), Rng::seeded(1), quota), fake, shared)
}

fn get(serializable: bool) -> RangeRequest {
    RangeRequest { key: "a".into(), serializable, ..RangeRequest::default() }
}

async fn settled() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn reads_wait_for_a_place_before_they_are_asked_and_not_behind_writes() {
    let (kv, fake, _) = fake(false, u64::MAX);
    for _ in 0..IN_FLIGHT_MAX + 100 {
        let (reader, writer) = (kv.clone(), kv.clone());
        tokio::spawn(async move { writer.compact(1).await });
        tokio::spawn(async move { reader.range(get(false)).await });
    }
    settled().await;
    assert_eq!(fake.writes.load(Ordering::Relaxed), IN_FLIGHT_MAX);
    assert_eq!(fake.reads.load(Ordering::Relaxed), IN_FLIGHT_MAX, "writes have places of their own");
    fake.unanswered.lock().drain(..7).for_each(|answer| drop(answer.send(Ok(()))));
    settled().await;
    assert_eq!(fake.reads.load(Ordering::Relaxed), IN_FLIGHT_MAX + 7);
}

/// This member has applied nothing yet; the revision exists elsewhere.
#[tokio::test]
async fn a_compaction_is_decided_where_it_is_applied() {
    let (kv, ..) = fake(true, u64::MAX);
    assert_eq!(kv.compact(100).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn while_a_leader_hands_over_writes_wait_and_do_not_ask_in_a_circle() {
    let (kv, fake, _) = fake(true, u64::MAX);
    fake.takes.send_replace(0);
    let waiting = tokio::spawn(async move { kv.compact(1).await });
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fake.writes.load(Ordering::Relaxed), 1);
    fake.takes.send_replace(2);
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(fake.writes.load(Ordering::Relaxed), 2);
}

/// As with etcd: a member that is cut off answers it.
#[tokio::test(start_paused = true)]
async fn a_transaction_of_serializable_ranges_asks_no_leader() {
    let (kv, fake, _) = fake(true, u64::MAX);
    let txn = |serializable| TxnRequest {
        success: vec![RequestOp::Range(get(serializable))],
        ..Default::default()
    };
    assert!(kv.txn(txn(true)).await.is_ok());
    assert_eq!(fake.reads.load(Ordering::Relaxed), 0);
    assert_eq!(kv.txn(txn(false)).await.err(), Some(Error::Timeout));
    let within = TxnRequest { success: vec![RequestOp::Txn(txn(true))], ..Default::default() };
    let _ = kv.txn(within).await; // this member has no outcome for a transaction
    let asked = (fake.reads.load(Ordering::Relaxed), fake.writes.load(Ordering::Relaxed));
    assert_eq!(asked, (1, 1), "one inside another goes through the log");
}

/// As with etcd: each member lists the leases that it knows.
#[tokio::test(start_paused = true)]
async fn a_list_of_leases_asks_no_leader() {
    let (kv, fake, shared) = fake(true, u64::MAX);
    for (index, ttl) in [(1, 60), (2, 10), (3, 30)] {
        let (grant, at) = (Command::LeaseGrant { id: ttl, ttl }, Applied { index, term: 1 });
        shared.apply(&grant, at, Moment::ZERO, &mut vec![]).unwrap();
    }
    assert_eq!(kv.leases(), [10, 30, 60]);
    assert_eq!(fake.reads.load(Ordering::Relaxed), 0);
}

/// Why the write is refused matters more than what became of the alarm.
#[tokio::test(start_paused = true)]
async fn a_full_store_says_so_also_if_no_alarm_can_be_raised() {
    let (kv, fake, _) = fake(true, 10);
    fake.takes.send_replace(0); // no member takes proposals
    let put = kv.put(PutRequest { key: "longer than the quota".into(), ..Default::default() }).await;
    assert_eq!(put.err(), Some(Error::NoSpace));
    assert_eq!(fake.writes.load(Ordering::Relaxed), 1);
}

/// They take memory and room in every snapshot, as keys do.
#[tokio::test]
async fn leases_count_for_the_quota() {
    let kv = Kv::in_memory(Rng::seeded(1));
    let before = kv.status().db_size;
    kv.lease_grant(60, 0).await.unwrap();
    assert!(kv.status().db_size >= before + 64);
    let (full, ..) = fake(true, 10);
    assert_eq!(full.lease_grant(60, 0).await, Err(Error::NoSpace));
    assert_eq!(
        full.put(PutRequest { key: "longer than the quota".into(), ..Default::default() }).await.err(),
        Some(Error::NoSpace)
    );
}

/// Neither requests nor the member wait for work on all keys, and no two copies are made at once.
#[tokio::test]
async fn checksums_and_databases_are_made_elsewhere_and_one_at_a_time() {
    let kv = Kv::in_memory(Rng::seeded(1));
    kv.put(PutRequest { key: "a".into(), ..Default::default() }).await.unwrap();
    let (mut hash, mut file) = (Box::pin(kv.hash(0)), Box::pin(kv.database(vec![])));
    assert!(futures::poll!(&mut hash).is_pending() && futures::poll!(&mut file).is_pending());
    let hash = hash.await.unwrap();
    assert_eq!(hash.revision, 2);
    assert!(crate::database::summary(&file.await.unwrap()).unwrap().revision == 2);
    assert_eq!(kv.hash(9).await, Err(Error::FutureRevision { current: 2 }));
}
