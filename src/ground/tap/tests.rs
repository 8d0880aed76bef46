use super::ring::{RING, RING_BYTES};
use super::*;
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;

fn write(tap: &Tap, id: &str, revision: u64, cause: Option<Cause>) {
    let mut record = Record::new(Event::Commit(Write::UPDATED)).revision(revision).cause(cause);
    record.request = Some(Request { id: id.into(), ..Request::default() });
    tap.emit(record);
}

/// Returns the numbers of the records that followed from one request.
fn chain_of(tap: &Tap, request: &str) -> Vec<u64> {
    follow(&tap.since(0), &[request.into()]).iter().map(|record| record.seq).collect()
}

#[test]
fn a_chain_follows_causes_and_leaves_strangers_out() {
    let tap = Tap::new().at("n1", Component::Kubelet);
    write(&tap, "kubectl", 10, None);
    write(&tap, "stranger", 11, None);
    write(&tap, "controller", 12, Some(Cause::Revision(10)));
    tap.emit(Record::new(Event::Register).cause(Some(Cause::Revision(12))));
    tap.emit(Record::new(Event::Register).cause(Some(Cause::Revision(11))));
    assert_eq!(chain_of(&tap, "kubectl"), [1, 3, 4]);
}

#[test]
fn an_effect_that_is_recorded_before_its_cause_is_in_the_chain() {
    let tap = Tap::new();
    tap.emit(Record::new(Event::Register).cause(Some(Cause::Revision(12))));
    write(&tap, "controller", 12, Some(Cause::Revision(10)));
    write(&tap, "kubectl", 10, None);
    write(&tap, "stranger", 11, None);
    assert_eq!(chain_of(&tap, "kubectl"), [1, 2, 3]);
    assert!(tap.since(0).is_sorted_by_key(|record| record.at));
}

#[test]
fn the_ring_keeps_the_newest() {
    let tap = Tap::new();
    for _ in 0..RING + 10 {
        tap.emit(Record::new(Event::Now));
    }
    let kept = tap.since(0);
    assert_eq!((kept.len(), kept[0].seq), (RING, 11));
    assert_eq!(tap.since(tap.last() - 2).len(), 2);
    // Large objects push others out earlier.
    for _ in 0..100 {
        tap.emit(Record { body: Some(Bytes::from(vec![0; 1 << 20])), ..Record::new(Event::Now) });
    }
    assert_eq!(tap.since(0).len(), (RING_BYTES >> 20) - 1, "a record holds a little more than its object");
}

/// A request of 3 MB may hold a list of a million numbers, each of which takes 32 bytes in memory.
#[tokio::test]
async fn a_record_that_is_larger_than_all_that_is_kept_takes_no_other_s_place() {
    let tap = Tap::new();
    let mut live = tap.subscribe();
    let huge =
        || Record { body: Some(Bytes::from(vec![0; RING_BYTES + 1])), ..Record::new(Event::Authorize) };
    let emits = [Tap::emit, Tap::emit_read, Tap::emit_guest];
    for emit in emits {
        emit(&tap, Record::new(Event::Authorize));
        emit(&tap, huge());
    }
    assert_eq!(tap.since(0).iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(live.recv().await.map(|r| r.seq), Ok(1));
    assert_eq!(live.recv().await.map(|r| r.seq), Err(RecvError::Lagged(1)), "a viewer learns of it");
}

#[test]
fn a_flood_of_guests_takes_no_records_of_others() {
    let tap = Tap::new();
    let of = |user: &str, text: &str| Record {
        request: Some(Request { user: user.into(), command: text.into(), ..Request::default() }),
        ..Record::new(Event::Authorize)
    };
    write(&tap, "kubectl", 10, None);
    for _ in 0..3 {
        tap.emit_guest(of(LEARNER, "kubectl get secrets"));
    }
    for _ in 0..2 * RING {
        tap.emit_guest(of("system:anonymous", ""));
    }
    let kept = tap.since(0);
    assert_eq!((kept.len(), kept[0].seq, kept[1].seq, kept[3].seq), (1 + GUESTS.records, 1, 2, 4));
    assert!(kept.is_sorted_by_key(|r| r.seq));
    assert_eq!(tap.since(tap.last() - 2).len(), 2);
    // Long texts push others of the same account out earlier.
    for _ in 0..100 {
        tap.emit_guest(of("eve", &"x".repeat(1 << 20)));
    }
    let learners = |r: &&Arc<Record>| r.request.as_ref().is_some_and(|r| r.user == LEARNER);
    let kept = tap.since(0);
    assert_eq!(kept.iter().filter(learners).count(), 3);
    let of_eve = |r: &&Arc<Record>| r.request.as_ref().is_some_and(|r| r.user == "eve");
    assert_eq!(kept.iter().filter(of_eve).count(), 3, "few records are not the first to go for being long");
    assert!(kept.iter().map(|r| size(r)).sum::<usize>() < GUESTS.bytes + 1024);
}

#[test]
fn a_flood_of_reads_takes_no_records_of_writes_and_none_of_the_few_reads_of_others() {
    let tap = Tap::new();
    let of = |user: &str| Record {
        request: Some(Request { user: user.into(), ..Request::default() }),
        ..Record::new(Event::Authorize)
    };
    write(&tap, "kubectl", 10, None);
    for _ in 0..3 {
        tap.emit_read(of(LEARNER));
    }
    tap.emit_guest(of("system:anonymous"));
    for _ in 0..2 * RING {
        tap.emit_read(of("eve"));
    }
    let kept = tap.since(0);
    assert_eq!(kept.len(), 2 + READS.records);
    assert_eq!(kept.iter().take(5).map(|r| r.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(kept.is_sorted_by_key(|r| r.seq));
}

#[test]
fn a_pod_that_asks_for_names_without_end_takes_no_records_of_other_pods_and_of_the_store_s_clients() {
    let tap = Tap::new();
    let lookup = |from: &str| Record::new(Event::Lookup(Lookup { from: from.into(), ..Lookup::default() }));
    for _ in 0..3 {
        tap.emit_read(lookup("10.244.1.2"));
    }
    tap.emit_read(Record::new(Event::Call(Call::default())));
    for _ in 0..2 * READS.records {
        tap.emit_read(lookup("10.244.1.3"));
    }
    let kept = tap.since(0);
    assert_eq!(kept.len(), READS.records);
    assert_eq!(kept.iter().take(4).map(|r| r.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_viewer_gets_records_that_come_while_it_reads_in_their_order() {
    let tap = Tap::new();
    let mut live = tap.subscribe();
    let writer = {
        let tap = tap.clone();
        std::thread::spawn(move || {
            for _ in 0..20_000 {
                tap.emit_read(Record::new(Event::Authorize));
                tap.emit(Record::new(Event::Now));
            }
        })
    };
    drop(tap); // the stream ends with the writer
    let mut before = 0;
    loop {
        match live.recv().await {
            Ok(record) => {
                assert!(record.seq > before, "{} after {before}", record.seq);
                before = record.seq;
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => break,
        }
    }
    writer.join().unwrap();
    assert!(before > 0);
}

/// A viewer that reads nothing for a while gets each record of the cluster's work later, in its
/// place.
#[tokio::test]
async fn a_flood_of_guests_and_reads_makes_no_viewer_lose_other_records() {
    let tap = Tap::new();
    let mut live = tap.subscribe();
    let first = tap.emit(Record::new(Event::Now));
    let most = 2 * LIVE as u64;
    for _ in 0..most / 2 {
        tap.emit_guest(Record::new(Event::Authorize));
        tap.emit_read(Record::new(Event::Authorize));
    }
    let last = tap.emit(Record::new(Event::Now));
    assert_eq!(
        live.recv().await.map(|r| r.seq),
        Err(RecvError::Lagged(most - LIVE_ASIDE as u64)),
        "of the others some are lost"
    );
    let mut received = vec![];
    while received.last() != Some(&last) {
        received.push(live.recv().await.unwrap().seq);
    }
    assert_eq!((received.len(), received[0]), (LIVE_ASIDE + 2, first));
    assert!(received.is_sorted());
    tap.emit_read(Record::new(Event::Authorize));
    assert_eq!(live.recv().await.map(|r| r.seq), Ok(last + 1));
    drop(tap);
    assert_eq!(live.recv().await.map(|r| r.seq), Err(RecvError::Closed));
}

#[test]
fn all_that_a_record_holds_counts() {
    let long = "x".repeat(1 << 20);
    let request = Some(Request { user_agent: long.clone(), ..Request::default() });
    let tried = Some(serde_json::json!([{ "a": long.clone() }]));
    let words = Answer { argv: vec![long.clone()], ..Answer::default() };
    let makes: [Record; 6] = [
        Record { request, ..Record::new(Event::Now) },
        Record::new(Event::Now).object("pods", "d", &long),
        Record::new(Event::Answer(Box::new(Answer { tried, ..Answer::default() }))),
        Record::new(Event::Answer(words.into())),
        Record::new(Event::Pull { image: long.clone(), error: None }),
        Record::new(Event::Now).cause(Some(Cause::Request(long))),
    ];
    for record in makes {
        let tap = Tap::new();
        for _ in 0..40 {
            tap.emit(record.clone());
        }
        assert_eq!(tap.since(0).len(), (RING_BYTES >> 20) - 1, "{}", record.event.verb());
    }
}

#[test]
fn the_use_of_a_quota_counts_as_it_lies_in_memory() {
    let used = serde_json::json!({"pods": "3"});
    let size_of = |event: Event| size(&Record::new(event));
    assert_eq!(size_of(Event::ReconcileQuota { used: used.clone() }), size_of(Event::Admit(used)));
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_holds_no_more_than_the_ring() {
    let tap = Tap::new();
    let mut live = tap.subscribe();
    for _ in 0..100 {
        tap.emit(Record { body: Some(Bytes::from(vec![0; 1 << 20])), ..Record::new(Event::Now) });
    }
    let kept = tap.since(0);
    assert!(kept.len() < 100);
    let lost = 100 - kept.len() as u64;
    assert_eq!(live.recv().await.map(|r| r.seq), Err(RecvError::Lagged(lost)));
    for record in kept {
        assert_eq!(live.recv().await.map(|r| r.seq), Ok(record.seq));
    }
    tap.emit(Record::new(Event::Now));
    assert_eq!(live.recv().await.map(|r| r.seq), Ok(101));
    drop(tap);
    assert_eq!(live.recv().await.map(|r| r.seq), Err(RecvError::Closed));
}

#[test]
fn a_cause_survives_its_header() {
    for cause in [Cause::Revision(7), Cause::Request("a-b".into())] {
        assert_eq!(cause.to_string().parse(), Ok(cause));
    }
    assert_eq!("nonsense".parse::<Cause>(), Err(()));
}
