//! What the log promises: whole batches, in order, up to the last sync; damage is told, never guessed over.

use super::message::{ConfState, Entry, HardState, Payload, SnapshotRef};
use super::sim::disk::SimDisk;
use super::wal::{Records, Recovered, Wal, WalError, WalOptions};
use super::{Ready, snapfile};
use crate::rng::Rng;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIR: &str = "/member";
const OPTIONS: WalOptions = WalOptions { segment_bytes: 4096, prepare: false };

fn open(disk: &SimDisk) -> Result<(Wal, Recovered), WalError> {
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    Wal::open(Arc::new(disk.clone()), Path::new(DIR), &initial, OPTIONS)
}

fn entry(term: u64, index: u64, size: usize) -> Entry {
    Entry { term, index, payload: Payload::Normal(Bytes::from(vec![index as u8; size])) }
}

fn records(term: u64, indexes: std::ops::RangeInclusive<u64>, size: usize) -> Records {
    let (hard, append) =
        (HardState { term, vote: 1, commit: 0 }, indexes.map(|i| entry(term, i, size)).collect());
    Records::of(&Ready { hard: Some(hard), append, ..Ready::default() })
}

fn indexes(r: &Recovered) -> Vec<u64> {
    r.stored.entries.iter().map(|e| e.index).collect()
}

fn segment(number: u64) -> PathBuf {
    Path::new(DIR).join("wal").join(format!("{number:016x}.wal"))
}

#[test]
fn what_was_appended_is_found_again() {
    let disk = SimDisk::default();
    let (mut wal, first) = open(&disk).unwrap();
    assert!(first.fresh);
    wal.append(&[records(1, 1..=3, 10), records(2, 4..=4, 10)]).unwrap();
    let truncate = Ready { truncate_from: Some(3), append: vec![entry(3, 3, 5)], ..Ready::default() };
    wal.append(&[Records::of(&truncate)]).unwrap();
    let (_, found) = open(&disk).unwrap();
    assert!(!found.fresh && found.torn.is_none());
    assert_eq!(found.stored.entries, [entry(1, 1, 10), entry(1, 2, 10), entry(3, 3, 5)]);
    assert_eq!(found.stored.hard, HardState { term: 2, vote: 1, commit: 0 });
    assert_eq!(found.stored.snapshot.conf, ConfState::of([1]));
}

#[test]
fn a_torn_tail_is_cut_and_nothing_synced_is_lost() {
    let mut torn = 0;
    for seed in 0..300 {
        let (disk, rng) = (SimDisk::default(), Rng::seeded(seed));
        let mut synced = 0;
        for _round in 0..4 {
            let (mut wal, found) = open(&disk).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            torn += u32::from(found.torn.is_some());
            let have = found.stored.entries.len() as u64;
            assert!(have >= synced, "seed {seed}: {have} of {synced} synced entries left");
            assert_eq!(indexes(&found), (1..=have).collect::<Vec<_>>(), "seed {seed}");
            let mut next = have + 1;
            for _ in 0..rng.range(0, 12) {
                let last = next + rng.range(0, 4);
                wal.append(&[records(1, next..=last, 200), records(1, last + 1..=last + 1, 50)]).unwrap();
                (synced, next) = (last + 1, last + 2);
            }
            // one more that the power cut interrupts
            disk.break_sync();
            assert!(wal.append(&[records(1, next..=next, 600), records(1, next + 1..=next + 1, 9)]).is_err());
            disk.crash(&rng);
            disk.mend_sync();
        }
    }
    assert!(torn > 50, "only {torn} tails were torn");
}

#[test]
fn damage_before_durable_batches_is_refused_and_located() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for i in 1..=5 {
        wal.append(&[records(1, i..=i, 100)]).unwrap();
    }
    drop(wal);
    disk.corrupt(&segment(1), 400);
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("0000000000000001.wal is damaged at byte"), "{refused}");
    assert!(refused.contains("but was durable before") && refused.contains("backup"), "{refused}");
}

#[test]
fn damage_in_an_earlier_segment_is_refused() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for i in 1..=20 {
        wal.append(&[records(1, i..=i, 600)]).unwrap();
    }
    assert!(wal.segments() > 3);
    drop(wal);
    disk.corrupt(&segment(2), 100);
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("some are missing"), "{refused}");
}

#[test]
fn files_of_a_later_version_are_refused() {
    let disk = SimDisk::default();
    drop(open(&disk).unwrap());
    disk.corrupt(&segment(1), 9); // version 1 becomes 0xff01
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("later version (format 65281, this program knows 1)"), "{refused}");
}

#[test]
fn a_snapshot_frees_segments_and_the_log_goes_on_behind_it() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for i in 1..=20 {
        wal.append(&[records(1, i..=i, 600)]).unwrap();
    }
    let snapshot = SnapshotRef { index: 18, term: 1, conf: ConfState::of([1, 2]), data: "state".into() };
    wal.save_snapshot(&snapshot).unwrap();
    wal.release(18).unwrap();
    assert!(wal.segments() <= 2, "{}", wal.segments());
    drop(wal);
    disk.crash(&Rng::seeded(1));
    let (_, found) = open(&disk).unwrap();
    assert_eq!(found.stored.snapshot, snapshot);
    assert_eq!(indexes(&found), [19, 20]);
    assert_eq!(found.stored.hard.term, 1, "the hard state went on into the later segments");

    let path = disk.files().into_iter().find(|p| p.extension().is_some_and(|e| e == "snap")).unwrap();
    disk.corrupt(&path, 20);
    assert!(matches!(open(&disk), Err(WalError::Damaged { .. })));
}

#[test]
fn a_missing_middle_is_refused() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for i in 1..=20 {
        wal.append(&[records(1, i..=i, 600)]).unwrap();
    }
    wal.release(18).unwrap(); // without the snapshot that would justify it
    drop(wal);
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("are missing"), "{refused}");
}

#[test]
fn a_snapshot_from_the_leader_replaces_entries_that_disagree() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[records(1, 1..=9, 10)]).unwrap();
    let snapshot = SnapshotRef { index: 5, term: 3, conf: ConfState::of([1]), data: "new".into() };
    // the crash comes between the file and the batch that tells of it
    snapfile::save(&disk, &Path::new(DIR).join("snap"), &snapshot).unwrap();
    let (_, found) = open(&disk).unwrap();
    assert_eq!((found.stored.snapshot.index, indexes(&found)), (5, vec![]));
}

#[test]
fn a_full_disk_is_told_apart() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    disk.set_room(Some(0));
    let mut i = 0;
    let refused = loop {
        i += 1;
        if let Err(e) = wal.append(&[records(1, i..=i, 600)]) {
            break e;
        }
    };
    assert!(refused.no_space() && i > 1, "{refused}");
    disk.set_room(None);
    let (_, found) = open(&disk).unwrap();
    assert_eq!(indexes(&found), (1..i).collect::<Vec<_>>());
}
