use super::super::api::{DeleteRangeRequest, PutRequest, RangeRequest};
use super::*;

/// Joined spans hold what the spans held, one by one.
#[test]
fn joined_spans_hold_the_same_keys() {
    let rng = rng::Rng::seeded(7);
    let key = |n: u64| Bytes::from(format!("k{n:02}"));
    for round in 0..400 {
        let (mut joined, mut single) = (Spans::default(), vec![]);
        for _ in 0..rng.range(0, 9) {
            let from = rng.range(0, 30);
            let end = match rng.range(0, 12) {
                0 => Bytes::from_static(b"\0"),
                1..4 => Bytes::new(),
                _ => key(rng.range(0, 30)),
            };
            single.push(Span { key: key(from), end });
            joined.insert(&single[single.len() - 1]);
        }
        for n in 0..31 {
            for asked in [key(n), [&key(n)[..], b"\0"].concat().into()] {
                let one_by_one = single.iter().any(|s| s.contains(&asked));
                assert_eq!(joined.contains(&asked), one_by_one, "round {round}: {asked:?} in {single:?}");
            }
        }
    }
}

/// A transaction as large as an undo of everything: compared one by one, 40 000 puts and as
/// many deletes would be 1.6 billion comparisons.
#[test]
fn many_deletes_and_many_puts_are_judged_as_they_grow() {
    let put = |n: usize| put(&format!("a{n:06}"), "v");
    let delete = |n: usize| {
        let key = Bytes::from(format!("b{n:06}"));
        RequestOp::DeleteRange(DeleteRangeRequest { key, ..Default::default() })
    };
    let all = |n: usize| {
        let success: Vec<RequestOp> = (0..n).flat_map(|n| [put(n), delete(n)]).collect();
        TxnRequest { success, ..Default::default() }
    };
    let judge = |txn: TxnRequest| validate(&txn, usize::MAX).unwrap();
    rng::growth::grows_as_its_input("a transaction", 40_000, all, judge);
}

fn put(key: &str, value: &str) -> RequestOp {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    RequestOp::Put(PutRequest { key, value, prev_kv: true, ..Default::default() })
}
fn delete(key: &'static str, end: &'static str) -> RequestOp {
    RequestOp::DeleteRange(DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: true })
}
fn get(key: &'static str) -> RequestOp {
    RequestOp::Range(RangeRequest { key: key.into(), ..Default::default() })
}
fn when(key: &'static str, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { key: key.into(), range_end: Bytes::new(), result, target }
}
fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare, success, failure }
}
fn go(store: &mut Store, t: &TxnRequest) -> (TxnResponse, usize) {
    let (response, events) = execute(store, t, |lease| lease == 7).unwrap();
    (response, events.len())
}

#[test]
fn a_guarded_create_happens_once() {
    let mut s = Store::default();
    let create = txn(
        vec![when("a", CompareResult::Equal, CompareTarget::ModRevision(0))],
        vec![put("a", "1")],
        vec![get("a")],
    );
    let (first, _) = go(&mut s, &create);
    assert!(first.succeeded && first.revision == 2);
    let (second, events) = go(&mut s, &create);
    assert!(!second.succeeded && second.revision == 2 && events == 0);
    let ResponseOp::Range(r) = &second.responses[0] else { panic!("{second:?}") };
    assert_eq!(r.kvs[0].value, "1");
}

#[test]
fn one_revision_for_all_and_reads_see_the_writes() {
    let mut s = Store::default();
    go(&mut s, &txn(vec![], vec![put("z", "0")], vec![]));
    let (r, events) =
        go(&mut s, &txn(vec![], vec![put("a", "1"), get("a"), delete("z", ""), get("z")], vec![]));
    assert_eq!((r.revision, s.revision(), events), (3, 3, 2));
    let counts: Vec<i64> = r
        .responses
        .iter()
        .filter_map(|r| if let ResponseOp::Range(r) = r { Some(r.count) } else { None })
        .collect();
    assert_eq!(counts, [1, 0]);
}

#[test]
fn nested_comparisons_see_the_state_before() {
    let mut s = Store::default();
    let inner = txn(
        vec![when("a", CompareResult::Equal, CompareTarget::Version(0))],
        vec![put("b", "a was absent")],
        vec![put("b", "a was there")],
    );
    let (r, _) = go(&mut s, &txn(vec![], vec![put("a", "1"), RequestOp::Txn(inner)], vec![]));
    let ResponseOp::Txn(inner) = &r.responses[1] else { panic!("{r:?}") };
    assert!(inner.succeeded && inner.revision == 2);
}

#[test]
fn comparisons() {
    let mut s = Store::default();
    go(&mut s, &txn(vec![], vec![put("a", "m")], vec![]));
    let is = |key, result, target| holds(&s, &when(key, result, target));
    use CompareResult::*;
    assert!(is("a", Equal, CompareTarget::Value("m".into())));
    assert!(is("a", Less, CompareTarget::Value("n".into())));
    assert!(is("a", Greater, CompareTarget::CreateRevision(1)));
    assert!(is("a", NotEqual, CompareTarget::Version(2)));
    assert!(is("nobody", Equal, CompareTarget::Version(0)));
    assert!(!is("nobody", NotEqual, CompareTarget::Value("x".into())), "no value compares to nothing");
}

#[test]
fn a_failed_transaction_leaves_no_trace() {
    let mut s = Store::default();
    let leased = |lease| RequestOp::Put(PutRequest { key: "l".into(), lease, ..Default::default() });
    let bad = txn(vec![], vec![put("a", "1"), leased(8)], vec![]);
    assert_eq!(execute(&mut s, &bad, |l| l == 7).unwrap_err(), Error::LeaseNotFound);
    assert_eq!((s.revision(), s.versions().count()), (1, 0));
    go(&mut s, &txn(vec![], vec![put("a", "1"), leased(7)], vec![]));
}

#[test]
fn the_first_operation_that_cannot_run_decides_the_error() {
    let at = |revision| RequestOp::Range(RangeRequest { key: "a".into(), revision, ..Default::default() });
    let op = |lease, ignore_value| {
        RequestOp::Put(PutRequest { key: "p".into(), lease, ignore_value, ..Default::default() })
    };
    let future = Error::FutureRevision { current: 3 };
    let inner = |ops| RequestOp::Txn(txn(vec![], ops, vec![]));
    let mut s = Store::default();
    for value in ["1", "2"] {
        go(&mut s, &txn(vec![], vec![put("a", value)], vec![]));
    }
    for (ops, error) in [
        (vec![at(9), op(8, false)], future.clone()),
        (vec![op(8, false), at(9)], Error::LeaseNotFound),
        (vec![inner(vec![at(9)]), op(8, false)], future.clone()),
        (vec![op(8, true), at(0)], Error::KeyNotFound),
        (vec![op(8, true)], Error::KeyNotFound), // also if it has no other operation
    ] {
        let done = execute(&mut s, &txn(vec![], ops.clone(), vec![]), |_| false).map(|(r, _)| r.revision);
        assert_eq!(done, Err(error), "{ops:?}");
    }
    // A range outside of a transaction reads the present at any negative revision; one in a
    // transaction does not.
    let get = |s: &Store, revision| read(s, &txn(vec![], vec![at(revision)], vec![])).map(drop);
    assert_eq!((get(&s, -1), get(&s, -2)), (Ok(()), Err(Error::Compacted { compact_revision: -1 })));
    s.compact(2).unwrap();
    assert_eq!(get(&s, -1), Err(Error::Compacted { compact_revision: 2 }));
    let write = txn(vec![], vec![put("b", ""), at(-1)], vec![]);
    let done = execute(&mut s, &write, |_| false).map(drop);
    assert_eq!(done, Err(Error::Compacted { compact_revision: 2 }));
}

#[test]
fn shapes_that_are_refused() {
    let check = |ops: Vec<RequestOp>| validate(&txn(vec![], ops, vec![]), 3);
    assert_eq!(check(vec![put("a", ""), put("a", "")]), Err(Error::DuplicateKey));
    assert_eq!(check(vec![delete("a", "c"), put("b", "")]), Err(Error::DuplicateKey));
    assert_eq!(check(vec![put("b", ""), delete("a", "c")]), Err(Error::DuplicateKey));
    assert_eq!(check(vec![put("", "")]), Err(Error::EmptyKey));
    assert_eq!(check(vec![get("a"), get("b"), get("c"), get("d")]), Err(Error::TooManyOps));
    let either = txn(vec![], vec![put("a", "1")], vec![put("a", "2")]);
    assert_eq!(check(vec![RequestOp::Txn(either.clone()), delete("b", "")]), Ok(()));
    assert_eq!(check(vec![RequestOp::Txn(either), put("a", "")]), Err(Error::DuplicateKey));
}
