use super::*;

fn put(store: &mut Store, key: &str, value: &str) -> Revision {
    let mut write = store.write();
    write.put(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()), 0);
    write.commit();
    store.revision()
}

fn delete(store: &mut Store, key: &str, end: &'static str) -> usize {
    let span = Span { key: Bytes::copy_from_slice(key.as_bytes()), end: Bytes::from_static(end.as_bytes()) };
    let mut write = store.write();
    let gone = write.delete_range(&span).len();
    write.commit();
    gone
}

/// `key=value@create.mod.version` of every key at a revision.
fn show(store: &Store, revision: Revision) -> Result<String, Error> {
    let all = Bytes::from_static(b"\0");
    let r =
        store.range(&RangeRequest { key: all.clone(), range_end: all, revision, ..Default::default() })?;
    let one = |kv: &KeyValue| {
        let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
        let (create, modified, version) = (kv.create_revision, kv.mod_revision, kv.version);
        format!("{}={}@{create}.{modified}.{version}", text(&kv.key), text(&kv.value))
    };
    Ok(r.kvs.iter().map(one).collect::<Vec<_>>().join(" "))
}

fn example() -> Store {
    let mut s = Store::default();
    put(&mut s, "a", "1"); // 2
    put(&mut s, "b", "2"); // 3
    put(&mut s, "a", "3"); // 4
    delete(&mut s, "a", ""); // 5
    put(&mut s, "a", "4"); // 6
    s
}

#[test]
fn every_revision_stays_readable() {
    let s = example();
    let at = |r| show(&s, r).unwrap();
    assert_eq!(at(1), "");
    assert_eq!(at(2), "a=1@2.2.1");
    assert_eq!(at(4), "a=3@2.4.2 b=2@3.3.1");
    assert_eq!(at(5), "b=2@3.3.1");
    assert_eq!(at(0), "a=4@6.6.1 b=2@3.3.1"); // a new generation counts from 1 again
    assert_eq!(show(&s, 7), Err(Error::FutureRevision { current: 6 }));
}

/// Whatever was done, and in a restored store as well.
#[test]
fn a_compaction_looks_at_the_keys_that_it_can_change_and_at_no_others() {
    let rng = rng::Rng::seeded(3);
    let mut s = Store::default();
    for step in 0..3000 {
        match rng.range(0, 20) {
            0 => {
                let at = s.compacted() + 1 + rng.range(0, 30) as Revision;
                let _ = s.compact(at); // it may be in the future
            }
            1..5 => _ = delete(&mut s, &format!("k{}", rng.range(0, 40)), ""),
            _ => _ = put(&mut s, &format!("k{}", rng.range(0, 40)), "v"),
        }
        let restored = Store::restore(s.revision(), s.compacted(), s.versions().cloned().collect());
        let right = s.keys.iter().filter(|(_, versions)| can_shrink(versions)).map(|(key, _)| key);
        assert!(s.shrinkable.iter().eq(right), "step {step}: {:?}", s.shrinkable);
        assert_eq!(s.shrinkable, restored.shrinkable, "step {step}");
        assert!(s.keys.values().all(|versions| !versions.is_empty()), "step {step}");
    }
    for n in 0..40 {
        put(&mut s, &format!("new{n}"), "v");
    }
    s.compact(s.revision()).unwrap();
    assert_eq!((s.shrinkable.len(), s.keys.len() >= 40), (0, true));
}

#[test]
fn a_write_that_changes_nothing_is_no_revision() {
    let mut s = example();
    assert_eq!(delete(&mut s, "nobody", ""), 0);
    assert_eq!(s.revision(), 6);
    assert_eq!(delete(&mut s, "a", "\0"), 2);
    assert_eq!(s.revision(), 7);
    assert_eq!(show(&s, 0).unwrap(), "");
}

#[test]
fn spans_read_as_etcd_reads_them() {
    let has = |key: &'static str, end: &'static str, k: &str| {
        Span { key: Bytes::from_static(key.as_bytes()), end: Bytes::from_static(end.as_bytes()) }
            .contains(k.as_bytes())
    };
    assert!(has("a", "", "a") && !has("a", "", "aa"));
    assert!(has("a", "c", "b") && !has("a", "c", "c") && !has("c", "a", "b"));
    assert!(has("b", "\0", "zz") && !has("b", "\0", "a") && has("\0", "\0", "a"));
    let mut s = example();
    assert_eq!(delete(&mut s, "c", "a"), 0);
}

#[test]
fn ranges_sort_and_leave_out_by_revision() {
    let mut s = example(); // a=4@6.6.1 b=2@3.3.1
    put(&mut s, "c", "0"); // 7
    let keys = |r: RangeRequest| -> Vec<Bytes> {
        let all = Bytes::from_static(b"\0");
        let got = s.range(&RangeRequest { key: all.clone(), range_end: all, ..r }).unwrap();
        assert_eq!(got.count, 3, "the count knows no bounds");
        got.kvs.into_iter().map(|kv| kv.key).collect()
    };
    let by = |sort_target, sort_order| RangeRequest { sort_target, sort_order, ..Default::default() };
    assert_eq!(keys(by(SortTarget::ModRevision, SortOrder::Descend)), ["c", "a", "b"]);
    assert_eq!(keys(by(SortTarget::Value, SortOrder::None)), ["c", "b", "a"]);
    let first = RangeRequest { limit: 1, ..by(SortTarget::Value, SortOrder::Ascend) };
    assert_eq!(keys(first), ["c"]);
    let old = RangeRequest { max_mod_revision: 6, min_create_revision: 4, ..Default::default() };
    assert_eq!(keys(old), ["a"]);
}

#[test]
fn a_continued_read_looks_at_no_more_keys_than_it_needs() {
    let mut s = Store::default();
    for key in ["a", "b", "c", "d", "e"] {
        put(&mut s, key, "x");
    }
    let all = RangeRequest {
        key: "a".into(),
        range_end: "z".into(),
        limit: 2,
        continued: true,
        ..Default::default()
    };
    let found = s.range(&all).unwrap();
    assert_eq!((found.kvs.len(), found.more, found.count), (2, true, 3));
    let rest = s.range(&RangeRequest { key: "d".into(), ..all }).unwrap();
    assert_eq!((rest.kvs.len(), rest.more, rest.count), (2, false, 2));
}

#[test]
fn a_limit_still_counts_everything() {
    let mut s = Store::default();
    for key in ["a", "b", "c"] {
        put(&mut s, key, "x");
    }
    let mut r = RangeRequest {
        key: "a".into(),
        range_end: "z".into(),
        limit: 2,
        keys_only: true,
        ..Default::default()
    };
    let got = s.range(&r).unwrap();
    assert_eq!((got.kvs.len(), got.count, got.more), (2, 3, true));
    assert!(got.kvs.iter().all(|kv| kv.value.is_empty() && kv.version == 1));
    r.limit = 3;
    assert!(!s.range(&r).unwrap().more);
    r.count_only = true;
    let got = s.range(&r).unwrap();
    assert_eq!((got.kvs.len(), got.count, got.more), (0, 3, false));
}

#[test]
fn a_store_is_compacted_at_0_once() {
    let mut s = example();
    assert_eq!(s.compact(-1), Err(Error::Compacted { compact_revision: NOT_COMPACTED }));
    let (seen, versions) = (show(&s, 2), s.versions().count());
    assert_eq!(s.compact(0), Ok(()));
    assert_eq!((show(&s, 2), s.versions().count()), (seen, versions));
    assert_eq!(s.compact(0), Err(Error::Compacted { compact_revision: 0 }));
    assert_eq!((s.compact(4), s.compacted()), (Ok(()), 4));
}

#[test]
fn compaction_keeps_the_state_at_its_revision() {
    let mut s = example();
    let before = s.size();
    let seen: Vec<String> = (4..=6).map(|r| show(&s, r).unwrap()).collect();
    s.compact(4).unwrap();
    assert_eq!((4..=6).map(|r| show(&s, r).unwrap()).collect::<Vec<_>>(), seen);
    assert_eq!(show(&s, 3), Err(Error::Compacted { compact_revision: 4 }));
    assert_eq!(s.compact(4), Err(Error::Compacted { compact_revision: 4 }));
    assert_eq!(s.compact(7), Err(Error::FutureRevision { current: 6 }));
    assert!(s.size() < before);
    s.compact(6).unwrap();
    assert_eq!(show(&s, 6).unwrap(), seen[2]);
    assert_eq!(s.versions().count(), 2);
}

#[test]
fn what_a_compaction_frees_is_known_before() {
    let longer = || {
        let mut s = example();
        delete(&mut s, "b", ""); // 7
        put(&mut s, "c", "5"); // 8: a compaction here frees the tombstone of `b`
        put(&mut s, "b", "6"); // 9
        s
    };
    let freed = longer().reclaimable();
    let upto = |revision| freed.range(..=revision).map(|(_, bytes)| bytes).sum::<u64>();
    for revision in 2..=9 {
        let mut s = longer();
        let before = s.size();
        s.compact(revision).unwrap();
        assert_eq!(before - s.size(), upto(revision), "compacted at {revision}");
    }
    assert_eq!(Store::default().reclaimable().len(), 0);
}

#[test]
fn history_tells_what_was_before() {
    let mut s = example();
    let history = |s: &Store, from| -> Vec<(Revision, EventType, Option<Revision>)> {
        let (since, next) = s.events_since(from, usize::MAX).unwrap();
        assert_eq!(next, from.max(7).max(s.revision() + 1));
        let flat = since.iter().flat_map(|e| e.iter());
        flat.map(|e| (e.kv.mod_revision, e.kind, e.prev_kv.as_ref().map(|p| p.mod_revision))).collect()
    };
    use EventType::{Delete, Put};
    let all = [(2, Put, None), (3, Put, None), (4, Put, Some(2)), (5, Delete, Some(4)), (6, Put, None)];
    assert_eq!(history(&s, 0), all);
    assert_eq!(history(&s, 5), all[3..]);
    assert_eq!(history(&s, 7), []);
    s.compact(5).unwrap();
    assert_eq!(history(&s, 5), [(5, Delete, None), (6, Put, None)]);
    assert_eq!(s.events_since(4, 9).unwrap_err(), Error::Compacted { compact_revision: 5 });
}

/// As etcd, which looks the key up at the revision before.
#[test]
fn what_was_before_is_not_what_the_same_write_made() {
    let mut s = example();
    for key in ["new", "a"] {
        let mut write = s.write();
        let old = write.put(key.into(), "1".into(), 0);
        let made = write.delete_range(&Span::new(&key.into(), &Bytes::new()));
        assert_eq!(made.len(), 1);
        let previous: Vec<_> = write.commit().iter().map(|e| e.prev_kv.clone()).collect();
        assert_eq!(previous, [old.clone(), old], "{key}");
    }
    let restored = |s: &Store| Store::restore(s.revision(), s.compacted(), s.versions().cloned().collect());
    assert_eq!(format!("{:?}", restored(&s)), format!("{s:?}"));
    // a watch from the revision of a compaction gets the same from both
    s.compact(s.revision()).unwrap();
    assert_eq!(format!("{:?}", restored(&s)), format!("{s:?}"));
}

#[test]
fn a_long_past_comes_in_portions() {
    let mut s = Store::default();
    (0..10).for_each(|_| {
        put(&mut s, "a", "1");
    }); // 2 to 11
    let read = |from, most| s.events_since(from, most).map(|(events, next)| (events.len(), next)).unwrap();
    assert_eq!((read(0, 4), read(6, 4), read(10, 4)), ((4, 6), (4, 10), (2, 12)));
    assert_eq!((read(12, 4), read(Revision::MAX, 4)), ((0, 12), (0, Revision::MAX)));
}

/// The quota is one of memory.
#[test]
fn the_size_counts_what_a_version_and_its_event_take() {
    let mut s = Store::default();
    (0..100).for_each(|_| {
        put(&mut s, "a", "1");
    });
    let least = 100 * (size_of::<Version>() + size_of::<Event>()) as u64;
    assert!(s.size() > least, "{} of {least}", s.size());
}

#[test]
fn a_restored_store_is_the_same_store() {
    for compact in [0, 1, 3, 5, 6] {
        let mut s = example();
        if compact > 0 {
            s.compact(compact).unwrap();
        }
        let r = Store::restore(s.revision(), s.compacted(), s.versions().cloned().collect());
        let text = |s: &Store| format!("{s:?}");
        assert_eq!(text(&r), text(&s), "compacted at {compact}");
    }
}
