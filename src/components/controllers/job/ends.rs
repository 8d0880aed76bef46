//! When pods of a Job ended, also those that are gone. The pause before the next pod grows with the
//! failures in a row; a pod that is deleted must not take its failure along. As upstream's
//! `backoffStore` in memory only: after a restart the pods that are still there count.

use client::Key;
use clock::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Ends of a Job's pods that are remembered, at most: the pause is at its longest long before.
const MOST: usize = 16;

/// How a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// It failed, and the Job's status counts it.
    Failed,
    /// It failed, and a rule of `podFailurePolicy` ignores that: the status does not count it. The
    /// next pod has to wait all the same (upstream: `newBackoffRecord`).
    Ignored,
    Succeeded,
}

/// Ends of pods, by uid.
pub(crate) type Ends = BTreeMap<String, (Timestamp, How)>;

/// Pure: what has to be remembered of the ends of pods that are `there` and of earlier ones: the
/// last success and the failures after it. Of pods that are gone there cannot be more failures,
/// ignored ones apart, than the Job's status has `counted`: an undo takes the count back, and with
/// it what was counted. A status that may be older than the ends (`counted` is `None`) proves
/// nothing.
///
/// ```text
/// gone: a failed at 1 s; there: b failed at 15 s       a, b: the next pod comes 20 s after b
/// gone: a failed at 1 s; there: c succeeded at 15 s    c
/// ```
pub(super) fn remembered(earlier: &Ends, there: Ends, counted: Option<usize>) -> Ends {
    let sorted = |ends: Ends| {
        let mut all: Vec<(Timestamp, How, String)> =
            ends.into_iter().map(|(uid, (at, how))| (at, how, uid)).collect();
        all.sort();
        all
    };
    let gone = earlier.iter().filter(|(uid, _)| !there.contains_key(*uid));
    let gone = sorted(gone.map(|(uid, end)| (uid.clone(), *end)).collect());
    let failures = gone.iter().filter(|(_, how, _)| *how == How::Failed).count();
    let mut surplus = counted.map_or(0, |counted| failures.saturating_sub(counted));
    let gone = gone.into_iter().filter(|(_, how, _)| {
        let is_surplus = *how == How::Failed && surplus > 0;
        surplus -= usize::from(is_surplus);
        !is_surplus
    });
    let gone = gone.map(|(at, how, uid)| (uid, (at, how)));
    let all = sorted(there.into_iter().chain(gone).collect());
    let success = all.iter().rposition(|(_, how, _)| *how == How::Succeeded).unwrap_or(0);
    let from = success.max(all.len().saturating_sub(MOST));
    all.into_iter().skip(from).map(|(at, how, uid)| (uid, (at, how))).collect()
}

/// Pure: how many pods have failed since the last success, and when the last pod ended.
pub(super) fn failures(ends: &Ends) -> (i32, Option<Timestamp>) {
    let mut all: Vec<(Timestamp, How)> = ends.values().copied().collect();
    all.sort();
    let failures = all.iter().rev().take_while(|(_, how)| *how != How::Succeeded).count();
    (failures as i32, all.last().map(|(at, _)| *at))
}

/// What was remembered when a Job was last looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered {
    pub ends: Ends,
    /// Resource version of the Job at that look. While the cache still holds this version, the
    /// count that the look itself wrote is not in it: a pod may be counted and gone, and the cached
    /// status does not know.
    pub version: Option<String>,
}

impl Remembered {
    /// Returns whether the status of the Job in this version may be older than the ends.
    pub(super) fn may_be_newer_than(&self, version: &Option<String>) -> bool {
        version.is_some() && self.version == *version
    }
}

/// What is remembered of each Job, with its uid. As many as Jobs that have not finished.
#[derive(Default)]
pub(crate) struct AllEnds(Mutex<BTreeMap<Key, (Option<String>, Remembered)>>);

impl AllEnds {
    /// Returns what is remembered of this Job, not of an earlier one of its name.
    pub(crate) fn of(&self, job: &Key, uid: &Option<String>) -> Remembered {
        let all = self.0.lock();
        all.get(job).filter(|(of, _)| of == uid).map(|(_, known)| known.clone()).unwrap_or_default()
    }

    /// Remembers the ends of this Job's pods in the place of those that it had.
    pub(crate) fn keep(&self, job: &Key, uid: &Option<String>, known: Remembered) {
        match known.ends.is_empty() {
            true => self.forget(job),
            false => drop(self.0.lock().insert(job.clone(), (uid.clone(), known))),
        }
    }

    /// Forgets a Job that is gone.
    pub(crate) fn forget(&self, job: &Key) {
        self.0.lock().remove(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(all: &[(&str, i64, bool)]) -> Ends {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let how = |good: bool| if good { How::Succeeded } else { How::Failed };
        all.iter().map(|(uid, second, good)| (uid.to_string(), (at(*second), how(*good)))).collect()
    }

    #[test]
    fn failures_since_the_last_success_are_remembered() {
        let earlier = ends(&[("a", 1, false), ("b", 2, false)]);
        let names = |there: &[(&str, i64, bool)], counted: usize| -> String {
            remembered(&earlier, ends(there), Some(counted)).into_keys().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[("c", 3, false)], 3), "a b c");
        assert_eq!(names(&[("c", 3, true)], 2), "c");
        assert_eq!(names(&[("b", 2, false), ("c", 3, false)], 2), "a b c", "b is there");
        assert_eq!((names(&[], 1).as_str(), names(&[], 0).as_str()), ("b", ""), "as after an undo");
        let unproved = remembered(&earlier, Ends::default(), None);
        assert_eq!(unproved.len(), 2, "the status may be older");
        let many: Vec<(String, i64)> = (0..40).map(|n| (format!("p{n:02}"), n)).collect();
        let many: Vec<(&str, i64, bool)> = many.iter().map(|(uid, n)| (uid.as_str(), *n, false)).collect();
        let kept = remembered(&Ends::default(), ends(&many), Some(0));
        assert_eq!((kept.len(), kept.contains_key("p39")), (MOST, true));
        assert_eq!(failures(&kept), (MOST as i32, Some(Timestamp::from_second(39).unwrap())));
    }

    #[test]
    fn an_ignored_failure_is_remembered_although_the_status_does_not_count_it() {
        let at = Timestamp::from_second(1).unwrap();
        let earlier = Ends::from([("a".into(), (at, How::Ignored)), ("b".into(), (at, How::Failed))]);
        let kept = remembered(&earlier, Ends::default(), Some(0));
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(failures(&kept), (1, Some(at)));
    }

    #[test]
    fn another_job_of_the_same_name_has_no_ends() {
        let (all, job, uid) = (AllEnds::default(), Key::new("d", "j"), Some("1".to_string()));
        all.keep(&job, &uid, Remembered { ends: ends(&[("a", 1, false)]), version: Some("7".into()) });
        assert_eq!(all.of(&job, &uid).ends.len(), 1);
        assert!(all.of(&job, &Some("2".into())).ends.is_empty());
        all.keep(&job, &uid, Remembered::default());
        assert!(all.0.lock().is_empty());
    }
}
