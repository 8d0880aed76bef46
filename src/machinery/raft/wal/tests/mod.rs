//! What the log promises: whole batches, in order, up to the last sync; damage is reported,
//! never guessed over.

mod disk_errors;

use crate::disk::Disk;
use crate::message::{ConfState, Entry, HardState, Payload, SnapshotRef};
use crate::records::Records;
use crate::sim::disk::SimDisk;
use crate::wal::{Recovered, Wal, WalOptions};
use crate::wal_error::WalError;
use crate::{Ready, snapfile};
use bytes::Bytes;
use rng::Rng;
use rng::seeds::sweep;
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
    assert_eq!((first.stored.hard, first.stored.end()), (HardState::default(), (0, 0)));
    wal.append(&[records(1, 1..=3, 10), records(2, 4..=4, 10)]).unwrap();
    let truncate = Ready { truncate_from: Some(3), append: vec![entry(3, 3, 5)], ..Ready::default() };
    wal.append(&[Records::of(&truncate)]).unwrap();
    let (_, found) = open(&disk).unwrap();
    assert_eq!(found.torn, None);
    assert_eq!(found.stored.entries, [entry(1, 1, 10), entry(1, 2, 10), entry(3, 3, 5)]);
    assert_eq!(found.stored.hard, HardState { term: 2, vote: 1, commit: 0 });
    assert_eq!(found.stored.snapshot.conf, ConfState::of([1]));
}

/// A member that was far behind is killed after the leader's snapshot is safe and before its log
/// says so; it goes on behind the snapshot.
#[test]
fn a_snapshot_that_came_just_before_the_end_is_where_the_log_goes_on() {
    // Beyond the log, in conflict with what stands in it, and with its very last entry.
    for (index, term_of_snapshot) in [(20, 1), (5, 2), (9, 2)] {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(1, 1..=9, 10)]).unwrap();
        let data = Bytes::from_static(b"state");
        let snapshot = SnapshotRef { index, term: term_of_snapshot, conf: ConfState::of([1]), data };
        wal.save_snapshot(&snapshot).unwrap();
        drop(wal);
        let (mut wal, found) = open(&disk).unwrap();
        assert_eq!((found.stored.snapshot.index, indexes(&found)), (index, vec![]));
        wal.append(&[records(2, index + 1..=index + 2, 10)]).unwrap();
        drop(wal);
        for _ in 0..2 {
            let (_, found) = open(&disk).unwrap();
            assert_eq!(indexes(&found), [index + 1, index + 2]);
            assert_eq!((found.stored.snapshot.index, found.stored.snapshot.term), (index, term_of_snapshot));
        }
    }
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
    disk.corrupt(&segment(1), 400, 0xff);
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("0000000000000001.wal is damaged at byte"), "{refused}");
    assert!(refused.contains("but was durable before") && refused.contains("backup"), "{refused}");
}

/// A client chooses the bytes of a value. Batches in it say nothing about the batch that holds it.
#[test]
fn batches_inside_of_a_value_are_no_witnesses() {
    let forged = |synced| {
        let mut value = Vec::new();
        // A value may begin anywhere, and a batch only at a multiple of 8. Some sectors get lost.
        for shift in (0..8).cycle().take(24) {
            value.resize(value.len().next_multiple_of(8) + shift, 7);
            for segment in 1..4 {
                crate::segment::frame(&mut value, segment, synced + 1, synced, &[]);
            }
        }
        value
    };
    // A number that is no number of this log, and the right one.
    for (synced, lost) in [(1 << 60, 6), (3, 6), (1 << 60, 1), (1 << 60, 0)] {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(1, 1..=1, 10)]).unwrap();
        let before = whole(&disk);
        let mut value = forged(synced);
        value.resize(3400, 7);
        let payload = Payload::Normal(Bytes::from(value));
        let append = vec![Entry { term: 1, index: 2, payload }];
        wal.append(&[Records::of(&Ready { append, ..Ready::default() })]).unwrap();
        drop(wal);
        // One sector of the write did not arrive: the one with the header, or a later one.
        let content = disk.read(&segment(1)).unwrap();
        let sector = before / 512 + lost;
        let from = (sector * 512).max(before);
        for (i, byte) in content[from..(sector + 1) * 512].iter().enumerate() {
            disk.corrupt(&segment(1), from + i, *byte);
        }
        let found = open(&disk).unwrap_or_else(|e| panic!("{synced} without sector {lost}: {e}")).1;
        assert_eq!(
            (indexes(&found), found.torn.is_some()),
            (vec![1], true),
            "{synced} without sector {lost}"
        );
    }
}

/// Where the batches of the first segment end.
fn whole(disk: &SimDisk) -> usize {
    let content = disk.read(&segment(1)).unwrap();
    let used = content.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    used.next_multiple_of(8)
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
    disk.corrupt(&segment(2), 100, 0xff);
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("no batch here, though a later segment was begun"), "{refused}");
}

#[test]
fn files_of_a_later_version_are_refused() {
    let disk = SimDisk::default();
    drop(open(&disk).unwrap());
    disk.corrupt(&segment(1), 9, 0xff); // version 2 becomes 0xff02
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("later version (format 65282, this program knows 2)"), "{refused}");
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
    disk.corrupt(&path, 20, 0xff);
    assert!(matches!(open(&disk), Err(WalError::Damaged { .. })));
}

#[test]
fn a_missing_beginning_is_refused() {
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
fn a_missing_middle_is_refused() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for i in 1..=20 {
        wal.append(&[records(1, i..=i, 600)]).unwrap();
    }
    assert!(wal.segments() > 3);
    drop(wal);
    disk.remove(&segment(2)).unwrap();
    let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("some are missing"), "{refused}");
}

/// The open segment has no entry, and the earlier ones were released: only the commit index tells
/// that there was something.
#[test]
fn a_snapshot_that_is_gone_is_missed_though_no_entry_follows_it() {
    for gone in [false, true] {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(1, 1..=9, 100)]).unwrap();
        let hard = HardState { term: 1, vote: 1, commit: 9 };
        let only_hard = Records::of(&Ready { hard: Some(hard), ..Ready::default() });
        while wal.segments() == 1 {
            wal.append([&only_hard]).unwrap();
        }
        let snapshot = SnapshotRef { index: 9, term: 1, conf: ConfState::of([1]), data: "state".into() };
        wal.save_snapshot(&snapshot).unwrap();
        wal.release(9).unwrap();
        assert_eq!(wal.segments(), 1);
        drop(wal);
        if gone {
            let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|e| e == "snap");
            disk.remove(&disk.files().into_iter().find(is_snapshot).unwrap()).unwrap();
        }
        let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(refused.contains("entries 1 to 9 were committed, and are missing"), gone, "{refused}");
    }
}

/// Its vote and its term are gone, too: as a new member it could vote twice in one term.
#[test]
fn a_log_that_is_gone_while_its_snapshot_is_not_is_damage() {
    for emptied in [false, true] {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(7, 1..=9, 10)]).unwrap();
        let snapshot = SnapshotRef { index: 5, term: 7, conf: ConfState::of([1]), data: "state".into() };
        wal.save_snapshot(&snapshot).unwrap();
        drop(wal);
        match emptied {
            false => disk.remove(&segment(1)).unwrap(),
            true => {
                let mut file = disk.create(&segment(1), OPTIONS.segment_bytes).unwrap();
                file.write_at(&crate::segment::header(1, OPTIONS.segment_bytes), 0).unwrap();
            }
        }
        for _ in 0..2 {
            let refused = open(&disk).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(refused.contains("the log is gone"), "emptied: {emptied}: {refused}");
        }
    }
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

/// One random log, one random damage. `Some`: it was refused; the log starts with everything that
/// was synced otherwise.
fn damaged(seed: u64) -> Option<String> {
    let (disk, rng) = (SimDisk::default(), Rng::seeded(seed));
    let (mut wal, _) = open(&disk).unwrap();
    let payload =
        |size: u64| Bytes::from((0..size / 8).flat_map(|_| rng.u64().to_le_bytes()).collect::<Vec<_>>());
    let mut last = 0;
    for _ in 0..rng.range(1, 16) {
        let batch = |index| {
            let entry = Entry { term: 1, index, payload: Payload::Normal(payload(rng.range(0, 900))) };
            let hard = HardState { term: 1, vote: 1, commit: index };
            Records::of(&Ready { hard: Some(hard), append: vec![entry], ..Ready::default() })
        };
        let group: Vec<Records> = (last + 1..=last + rng.range(1, 4)).map(batch).collect();
        wal.append(&group).unwrap();
        last += group.len() as u64;
    }
    let mut snapshot = 0;
    if rng.chance(0.4) {
        snapshot = rng.range(1, last + 1);
        let data = payload(rng.range(8, 700));
        wal.save_snapshot(&SnapshotRef { index: snapshot, term: 1, conf: ConfState::of([1]), data }).unwrap();
        wal.release(snapshot).unwrap();
    }
    drop(wal);
    let files: Vec<PathBuf> = disk.files();
    let path = &files[rng.range(0, files.len() as u64) as usize];
    let len = disk.read(path).unwrap().len() as u64;
    let at = rng.range(0, len) as usize;
    let cut = rng.chance(0.3);
    match cut {
        true => disk.truncate(path, at),
        false => disk.corrupt(path, at, rng.range(1, 256) as u8),
    }
    let what = format!("seed {seed}: {} at {at} of {len} (cut: {cut})", path.display());
    match open(&disk) {
        Ok((_, found)) => {
            let all: Vec<u64> = (found.stored.snapshot.index + 1..=last).collect();
            assert_eq!((indexes(&found), found.stored.snapshot.index), (all, snapshot), "{what}");
            assert_eq!(found.stored.hard, HardState { term: 1, vote: 1, commit: last }, "{what}");
            assert!(!cut, "{what}: a file that was cut goes unnoticed");
            None
        }
        Err(e) => {
            let text = e.to_string();
            let helps = ["restore its directory from a backup", "use that version"];
            assert!(helps.iter().any(|h| text.contains(h)) && text.contains("/member"), "{what}: {text}");
            Some(text)
        }
    }
}

#[test]
fn damage_anywhere_is_refused_or_harmless() {
    let (mut refused, mut harmless) = (0, 0);
    let count = |text: Option<String>| match text {
        Some(_) => refused += 1,
        None => harmless += 1,
    };
    let test = "raft::wal::tests::damage_anywhere_is_refused_or_harmless";
    let Some(seeds) = sweep(test, 400, damaged, count) else { return };
    eprintln!("{seeds} logs were damaged: {refused} refused, {harmless} of them harmlessly");
    assert!(refused > seeds / 3 && harmless > seeds / 20, "{refused} refused, {harmless} harmless");
}

/// Builds a segment of format version 1, which has no header checksums and no end marks.
fn version_1(batches: &[Records]) -> Vec<u8> {
    let mut out = b"RWWAL\r\n\x1a".to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out.resize(32, 0);
    for (i, batch) in batches.iter().enumerate() {
        let (sequence, synced, len) = (i as u64 + 1, i as u64, batch.payload.len() as u64);
        let mut sum: Vec<u8> =
            [1, sequence, synced, len].iter().flat_map(|n: &u64| n.to_le_bytes()).collect();
        sum.extend(&batch.payload);
        out.extend(b"RWAL");
        out.extend((len as u32).to_le_bytes());
        out.extend(crc32fast::hash(&sum).to_le_bytes());
        out.extend([0; 4]);
        out.extend(sequence.to_le_bytes());
        out.extend(synced.to_le_bytes());
        out.extend(&batch.payload);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    out.resize(4096, 0);
    out
}

#[test]
fn a_log_of_the_version_before_is_read_and_goes_on() {
    let disk = SimDisk::default();
    let old = version_1(&[records(1, 1..=3, 40), records(1, 4..=4, 100)]);
    disk.create(&segment(1), old.len() as u64).unwrap().write_at(&old, 0).unwrap();
    let (mut wal, found) = open(&disk).unwrap();
    assert_eq!(indexes(&found), [1, 2, 3, 4]);
    wal.append(&[records(2, 5..=6, 40)]).unwrap();
    assert_eq!(wal.segments(), 2, "nothing is added to a segment of another version");
    drop(wal);
    let (_, found) = open(&disk).unwrap();
    assert_eq!((indexes(&found), found.stored.hard.term), (vec![1, 2, 3, 4, 5, 6], 2));
}
