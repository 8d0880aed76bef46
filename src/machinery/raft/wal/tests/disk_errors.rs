//! Disks without room, disks that fail a sync, and files that are gone or belong to others.

use super::*;

#[test]
fn a_log_goes_on_when_there_is_room_again() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    let mut last = 0;
    for round in 1..5 {
        disk.set_room(Some(0));
        let full = loop {
            let batch = [records(round, last + 1..=last + 2, 500)];
            match wal.append(&batch) {
                Ok(()) => last += 2,
                Err(e) => break e,
            }
        };
        assert!(full.no_space() && wal.sound(), "{full}");
        disk.set_room(None);
        // the same batches again, and a large one
        wal.append(&[records(round, last + 1..=last + 2, 500)]).unwrap();
        wal.append(&[records(round, last + 3..=last + 3, 9000)]).unwrap();
        last += 3;
    }
    drop(wal);
    disk.crash(&Rng::seeded(1));
    let (_, found) = open(&disk).unwrap();
    assert_eq!(indexes(&found), (1..=last).collect::<Vec<_>>());
}

/// A log does not end because room, memory or descriptors are used up: what could not be written is
/// written when there are some again.
#[test]
fn a_log_goes_on_when_something_can_be_opened_again() {
    use nix::libc;
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN, libc::EINTR, libc::EACCES] {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        let mut last = 0;
        for round in 1..4 {
            disk.set_scarce(Some(errno));
            let refused = loop {
                match wal.append(&[records(round, last + 1..=last + 2, 500)]) {
                    Ok(()) => last += 2,
                    Err(e) => break e,
                }
            };
            assert!(wal.may_retry(&refused) && wal.sound(), "{refused}");
            assert!(wal.release(0).is_err() && wal.sound(), "what cannot be looked at stays");
            disk.set_scarce(None);
            wal.append(&[records(round, last + 1..=last + 2, 500)]).unwrap();
            last += 2;
        }
        drop(wal);
        disk.crash(&Rng::seeded(1));
        let (_, found) = open(&disk).unwrap();
        assert_eq!(found.stored.end().0, last);
    }
}

/// A disk that fails to sync is not tried again, be it the open segment or the next one.
#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[records(1, 1..=1, 500)]).unwrap();
    disk.break_sync();
    let refused = wal.append(&[records(1, 2..=2, 9000)]).unwrap_err();
    assert!(!wal.may_retry(&refused), "{refused}");
}

/// The disk's first warning counts, though nothing of the log stood in that segment.
#[test]
fn a_failed_sync_of_a_segment_that_was_made_ahead_of_time_is_final() {
    let disk = SimDisk::default();
    let options = WalOptions { prepare: true, ..OPTIONS };
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let next = segment(2).with_extension("tmp");
    disk.break_sync_of(Some(&next));
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), Path::new(DIR), &initial, options).unwrap();
    wal.wait_for_prepared();
    disk.break_sync_of(None);
    wal.append(&[records(1, 1..=2, 400)]).unwrap();
    let refused = wal.append(&[records(1, 3..=10, 400)]).unwrap_err();
    assert!(!wal.sound() && !wal.may_retry(&refused), "{refused}");
}

/// The log's thread tries the snapshot and its batch together.
#[test]
fn a_retry_of_a_leader_s_snapshot_needs_no_room_for_a_second_copy() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[records(1, 1..=1, 10)]).unwrap();
    let data = Bytes::from(vec![7; 10_000]);
    let snapshot = SnapshotRef { index: 9, term: 1, conf: ConfState::of([1]), data };
    disk.fill(11_000);
    wal.save_snapshot(&snapshot).unwrap();
    let batch = [records(1, 10..=10, 2000)];
    let refused = wal.append(&batch).unwrap_err();
    assert!(refused.no_space() && wal.may_retry(&refused), "{refused}");
    disk.fill(5000);
    wal.save_snapshot(&snapshot).unwrap_or_else(|e| panic!("there is a copy already: {e}"));
    wal.append(&batch).unwrap();
    let newer = SnapshotRef { index: 20, ..snapshot.clone() };
    assert!(wal.save_snapshot(&newer).unwrap_err().no_space(), "another one needs its room");
    disk.set_room(None);
    wal.save_snapshot(&newer).unwrap();
}

#[test]
fn a_failed_sync_of_a_leader_s_snapshot_is_final() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    let snapshot = SnapshotRef { index: 9, term: 1, conf: ConfState::of([1]), data: "state".into() };
    disk.break_sync();
    let refused = wal.save_snapshot(&snapshot).unwrap_err();
    assert!(!wal.sound() && !wal.may_retry(&refused), "{refused}");
}

/// The thread that writes snapshots and the one that deletes old ones share a directory.
#[test]
fn what_is_being_written_is_not_cleaned_away() {
    let (disk, dir) = (SimDisk::default(), Path::new("/member/snap"));
    let (mut wal, _) = open(&disk).unwrap();
    let half = dir.join("0000000000000009-0000000000000001.snap.tmp");
    disk.create(&half, 0).unwrap();
    wal.release(9).unwrap();
    assert!(disk.files().contains(&half));
    drop(wal);
    open(&disk).unwrap();
    assert!(!disk.files().contains(&half), "the process that opens the directory is alone in it");
}

/// A disk that fails a sync takes what it did not write for clean: the next start still reads it,
/// and must not count on it before it is written again.
#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_written_again_before_it_counts() {
    for seed in 0..40 {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(1, 1..=2, 300)]).unwrap();
        disk.break_writeback();
        assert!(wal.append(&[records(1, 3..=4, 300)]).is_err());
        drop(wal); // the member ends, and is started again
        disk.mend_sync();
        let (wal, found) = open(&disk).unwrap();
        let promised = indexes(&found);
        assert_eq!(promised, [1, 2, 3, 4], "the page cache has it");
        drop(wal);
        disk.crash(&Rng::seeded(seed));
        let (_, found) = open(&disk).unwrap();
        assert_eq!(indexes(&found), promised, "seed {seed}: a member may have acknowledged them");
    }
}

/// A power cut while it is written again leaves a torn tail, or nothing, and never damage.
#[test]
fn a_power_cut_while_the_tail_is_written_again_is_no_damage() {
    for seed in 0..200 {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(1, 1..=2, 300)]).unwrap();
        disk.break_writeback();
        assert!(wal.append(&[records(1, 3..=4, 700), records(1, 5..=5, 9)]).is_err());
        drop(wal);
        disk.mend_sync();
        disk.break_sync(); // it ends in the middle
        assert!(open(&disk).is_err());
        disk.crash(&Rng::seeded(seed));
        disk.mend_sync();
        let (_, found) = open(&disk).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!(indexes(&found).starts_with(&[1, 2]), "seed {seed}");
    }
}

/// A crash right after the log began a segment: what comes next there begins with the hard state,
/// which needs room, too.
#[test]
fn the_first_batch_of_a_segment_fits_with_its_hard_state() {
    for size in 3800..4096 {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(1, 1..=1, 100)]).unwrap();
        drop(wal);
        let header = crate::segment::header(2, OPTIONS.segment_bytes);
        let mut file = disk.create(&segment(2), OPTIONS.segment_bytes).unwrap();
        file.write_at(&header, 0).unwrap();
        file.sync().unwrap();
        let (mut wal, _) = open(&disk).unwrap();
        wal.append(&[records(1, 2..=2, size)]).unwrap();
        drop(wal);
        let (_, found) = open(&disk).unwrap_or_else(|e| panic!("{size}: {e}"));
        assert_eq!(indexes(&found), [1, 2], "{size}");
    }
}

/// What an operator put beside the log is neither deleted nor read.
#[test]
fn files_of_others_are_left_alone() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    let data = Bytes::from_static(b"state");
    let snapshot = SnapshotRef { index: 1, term: 1, conf: ConfState::of([1]), data };
    wal.append(&[records(1, 1..=2, 10)]).unwrap();
    wal.save_snapshot(&snapshot).unwrap();
    drop(wal);
    let dir = Path::new(DIR);
    let theirs = [
        "wal/0000000000000001.wal.bak",
        "wal/lost+found",
        "wal/1.wal",
        "snap/x.snap",
        "snap/zzzzzzzzzzzzzzzz-0000000000000001.snap",
        "snap/notes.tmp",
    ]
    .map(|name| dir.join(name));
    for path in &theirs {
        disk.create(path, 3).unwrap();
    }
    let ours =
        [dir.join("wal/0000000000000007.tmp"), dir.join("snap/0000000000000009-0000000000000001.snap.tmp")];
    for path in &ours {
        disk.create(path, 3).unwrap();
    }
    let (mut wal, found) = open(&disk).unwrap();
    assert_eq!((found.stored.snapshot.index, indexes(&found)), (1, vec![2]));
    wal.release(1).unwrap();
    let files = disk.files();
    assert!(theirs.iter().all(|path| files.contains(path)), "{files:?}");
    assert!(!ours.iter().any(|path| files.contains(path)), "{files:?}");
}

/// The program ends between the renaming of a snapshot and the sync of its directory, and the power
/// goes after the next start: the older snapshot was deleted for a name that was not durable.
#[test]
fn a_name_that_was_found_is_durable_before_older_files_go() {
    for seed in 0..40 {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        let snap = |index| SnapshotRef { index, term: 1, conf: ConfState::of([1]), data: "state".into() };
        wal.append(&[records(1, 1..=9, 10)]).unwrap();
        wal.save_snapshot(&snap(4)).unwrap();
        snapfile::write(&disk, &Path::new(DIR).join("snap"), &snap(8)).unwrap(); // and it ends
        drop(wal);
        let log = Path::new(DIR).join("wal");
        disk.break_sync_of(Some(&log)); // the next start ends early, too
        let _ = open(&disk);
        disk.break_sync_of(None);
        disk.crash(&Rng::seeded(seed));
        let (_, found) = open(&disk).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!([4, 8].contains(&found.stored.snapshot.index), "seed {seed}: no snapshot is left");
    }
}

/// The next snapshot is renamed on a thread of its own, and its directory not yet synced, when the
/// log of the one before is released; the power goes.
#[test]
fn a_durable_snapshot_does_not_go_for_one_that_is_not() {
    for seed in 0..40 {
        let disk = SimDisk::default();
        let (mut wal, _) = open(&disk).unwrap();
        let snap = |index| SnapshotRef { index, term: 1, conf: ConfState::of([1]), data: "state".into() };
        for index in 1..=20 {
            wal.append(&[records(1, index..=index, 600)]).unwrap();
        }
        let dir = Path::new(DIR).join("snap");
        for index in [2, 8] {
            snapfile::save(&disk, &dir, &snap(index)).unwrap();
        }
        snapfile::write(&disk, &dir, &snap(16)).unwrap();
        wal.release(8).unwrap();
        assert_eq!(disk.list(&dir).unwrap().len(), 2, "the older one is gone");
        drop(wal);
        disk.crash(&Rng::seeded(seed));
        let (_, found) = open(&disk).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!([8, 16].contains(&found.stored.snapshot.index), "seed {seed}: no snapshot is left");
    }
}

/// What there was no room for some time ago may fit by now, and an error of then says nothing.
#[test]
fn a_segment_that_could_not_be_made_ahead_of_time_is_made_when_it_is_needed() {
    let disk = SimDisk::default();
    let options = WalOptions { prepare: true, ..OPTIONS };
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    disk.set_room(Some(options.segment_bytes as usize)); // one segment
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), Path::new(DIR), &initial, options).unwrap();
    wal.wait_for_prepared();
    disk.set_room(None);
    for index in 1..=20 {
        wal.append(&[records(1, index..=index, 400)]).unwrap();
    }
    assert!(wal.segments() > 1 && wal.sound());
    drop(wal);
    assert_eq!(indexes(&open(&disk).unwrap().1), (1..=20).collect::<Vec<u64>>());
}

/// The snapshot's thread and the log's tidy the same directory.
#[test]
fn a_file_that_is_gone_needs_no_deleting() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    for index in 1..=20 {
        wal.append(&[records(1, index..=index, 400)]).unwrap();
    }
    let conf = ConfState::of([1]);
    let snapshot = SnapshotRef { index: 15, term: 1, conf, data: Bytes::from_static(b"state") };
    snapfile::save(&disk, &Path::new(DIR).join("snap"), &snapshot).unwrap();
    let before = wal.segments();
    disk.remove(&segment(1)).unwrap();
    wal.release(15).unwrap();
    assert!(wal.segments() < before && wal.sound());
}

/// The first write into a new segment waits for room, and a snapshot stands for all that the closed
/// ones have. Without one of them the next start would find a log without a batch.
#[test]
fn the_last_batch_of_the_log_stays_until_the_open_segment_has_one() {
    let disk = SimDisk::default();
    let options = WalOptions { prepare: true, ..OPTIONS };
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), Path::new(DIR), &initial, options).unwrap();
    let last = (1..100).find(|index| {
        wal.wait_for_prepared();
        let segments = wal.segments();
        disk.fill(0);
        assert!(wal.append(&[records(1, *index..=*index, 400)]).is_err());
        disk.set_room(None);
        let rolled = wal.segments() > segments;
        if !rolled {
            wal.append(&[records(1, *index..=*index, 400)]).unwrap();
        }
        rolled
    });
    let last = last.expect("a write into a new segment that found no room") - 1;
    let conf = ConfState::of([1]);
    let snapshot = SnapshotRef { index: last, term: 1, conf, data: Bytes::from_static(b"state") };
    snapfile::save(&disk, &Path::new(DIR).join("snap"), &snapshot).unwrap();
    wal.release(last).unwrap();
    drop(wal);
    let (mut wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.stored.hard.term, 1, "the last batch has the term");

    // The next group is larger than the empty segment, which is closed without a batch.
    let segments = wal.segments();
    disk.fill(140 << 10);
    let large = records(1, last + 1..=last + 1, 128 << 10);
    assert!(wal.append(&[large]).is_err());
    disk.set_room(None);
    assert_eq!(wal.segments(), segments + 1, "there was room for the segment, and none for the write");
    wal.release(last).unwrap();
    drop(wal);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.stored.hard.term, 1, "the last batch has the term");
}

/// The segment that is made ahead of time could take the last room of the snapshot that would free
/// the old ones.
#[test]
fn nothing_is_left_of_a_segment_that_does_not_fit() {
    let disk = SimDisk::default();
    let options = WalOptions { prepare: true, ..OPTIONS };
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    disk.set_room(Some(options.segment_bytes as usize + 3000)); // one segment, most of another
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), Path::new(DIR), &initial, options).unwrap();
    wal.wait_for_prepared();
    wal.append(&[records(1, 1..=3, 400)]).unwrap();
    let snapshot = |index| {
        let data = Bytes::from(vec![7; 2000]);
        SnapshotRef { index, term: 1, conf: ConfState::of([1]), data }
    };
    snapfile::save(&disk, &Path::new(DIR).join("snap"), &snapshot(2)).unwrap();
    let full = wal.append(&[records(1, 4..=20, 400)]).unwrap_err();
    assert!(full.no_space() && wal.may_retry(&full), "{full}");
    let is_half = |path: &PathBuf| path.extension().is_some_and(|e| e == "tmp");
    assert!(!disk.files().iter().any(is_half), "{:?}", disk.files());
}

/// Half of a snapshot would take the room that is missing, until the next start.
#[test]
fn nothing_is_left_of_a_snapshot_that_does_not_fit() {
    let disk = SimDisk::default();
    let (mut wal, _) = open(&disk).unwrap();
    wal.append(&[records(1, 1..=3, 10)]).unwrap();
    let before = disk.files();
    let data = Bytes::from(vec![7; 10_000]);
    let snapshot = SnapshotRef { index: 2, term: 1, conf: ConfState::of([1]), data };
    let dir = Path::new(DIR).join("snap");
    disk.set_room(Some(5000));
    let failed = snapfile::save(&disk, &dir, &snapshot).unwrap_err();
    assert!(failed.is_scarcity(), "{failed}");
    assert_eq!(disk.files(), before);
    assert_eq!(disk.least_room(), Some(5000), "the log could not write meanwhile");
    disk.set_room(None);
    snapfile::save(&disk, &dir, &snapshot).unwrap();
    assert_eq!(disk.files().len(), before.len() + 1);
}
