//! Which versions of objects are kept, and what is known to be gone.

use super::{Key, Recorder};
use crate::cel::version::Version;
use std::sync::Arc;

/// Versions that are kept of all objects together, and of one. At the bound the oldest go, except
/// those that were current when the lesson and the step began: a check compares with them. What is
/// asked of a history of which something since the step began is gone cannot be known, and is not
/// answered.
const VERSIONS_MAX: usize = 5_000;
/// Versions that are kept beyond that bound, because they were current when the lesson or the step
/// began.
const PINNED_MAX: usize = 5_000;
const VERSIONS_OF_ONE: usize = 500;
/// Bytes of the objects in all versions that are kept, and with those that are kept beyond that
/// bound. The tap lets go of its own much sooner.
const BODIES_MAX: usize = 32 << 20;
const PINNED_BODIES_MAX: usize = 64 << 20;
/// Heartbeats would push everything else out.
const VERSIONS_OF_HEARTBEATS: usize = 20;

impl Recorder {
    /// From now on what was current at these revisions is kept: when the lesson began, and when the
    /// step did.
    pub fn keep_from(&mut self, lesson: i64, step: i64) {
        self.keep = [lesson, step];
        while let Some(key) = self.pinned.pop_back() {
            self.order.push_front(key);
        }
        Arc::make_mut(&mut self.forgotten).retain(step);
        // What expressions have seen of versions was for the step before: each takes ten times the
        // room of its body.
        for of_one in Arc::make_mut(&mut self.versions).values_mut() {
            if of_one.iter().any(|version| version.is_seen()) {
                for version in Arc::make_mut(of_one).iter_mut().filter(|version| version.is_seen()) {
                    *version = Arc::new(version.numbered(version.number));
                }
            }
        }
        self.make_room();
    }

    /// Takes a version. Records do not always come in the order of the store: an undo tells its
    /// commits when its cache has shown them, and others may have written by then. What is known
    /// already is not taken twice.
    pub(super) fn add(&mut self, key: Key, mut version: Version) {
        let versions = Arc::make_mut(&mut self.versions);
        let of_one = Arc::make_mut(versions.entry(key.clone()).or_default());
        let at = of_one.partition_point(|v| v.revision < version.revision);
        let known = of_one.get(at).filter(|v| v.revision == version.revision);
        if known.is_some_and(|known| version.user.is_empty() || !known.user.is_empty()) {
            return;
        }
        let replaced = known.is_some();
        if replaced {
            self.bodies -= of_one.remove(at).body.len();
        }
        self.bodies += version.body.len();
        self.taken += 1;
        version.number = self.taken;
        of_one.insert(at, Arc::new(version));
        if replaced || at + 1 < of_one.len() {
            // Renumbered in their order: what was found out by their numbers is forgotten with the
            // epoch.
            self.epoch += 1;
            for later in &mut of_one[at + 1..] {
                self.taken += 1;
                *later = Arc::new(later.numbered(self.taken));
            }
        }
        if replaced {
            return;
        }
        let most = if key.0 == "leases" { VERSIONS_OF_HEARTBEATS } else { VERSIONS_OF_ONE };
        if of_one.len() > most {
            self.forget_one(&key);
        } else {
            self.order.push_back(key);
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        while (self.order.len() > VERSIONS_MAX || self.bodies > BODIES_MAX)
            && let Some(key) = self.order.pop_front()
        {
            if !self.forget_one(&key) {
                self.pinned.push_back(key);
            }
        }
        while (self.pinned.len() > PINNED_MAX || self.bodies > PINNED_BODIES_MAX)
            && let Some(key) = self.pinned.pop_front()
        {
            let versions = Arc::make_mut(&mut self.versions);
            let Some(of_one) = versions.get_mut(&key).map(Arc::make_mut) else { continue };
            let oldest = of_one.drain(..1.min(of_one.len()));
            self.bodies -= oldest.map(|version| version.body.len()).sum::<usize>();
            if of_one.is_empty() {
                versions.remove(&key);
            }
            // What it was when the step began is gone for good.
            Arc::make_mut(&mut self.forgotten).note(key, i64::MAX);
        }
    }

    /// Forgets an object's oldest version that need not be kept; false if all have to be.
    fn forget_one(&mut self, key: &Key) -> bool {
        let versions = Arc::make_mut(&mut self.versions);
        let Some(of_one) = versions.get_mut(key).map(Arc::make_mut) else { return true };
        let current = |at: i64| of_one.partition_point(|v| v.revision <= at).checked_sub(1);
        let kept = self.keep.map(current);
        let Some(oldest) = (0..of_one.len()).find(|n| !kept.contains(&Some(*n))) else { return false };
        let gone = of_one.remove(oldest);
        self.bodies -= gone.body.len();
        if of_one.is_empty() {
            versions.remove(key);
        }
        // Heartbeats are known to be many, and no check counts them.
        if gone.revision > self.keep[1] && self.keep[1] > 0 && key.0 != "leases" {
            Arc::make_mut(&mut self.forgotten).note(key.clone(), gone.revision);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded_and_keeps_the_newest() {
        let mut recorder = Recorder::default();
        for n in 0..VERSIONS_MAX + 50 {
            let key = ("pods".to_string(), String::new(), format!("p{}", n % 100));
            recorder.add(key, Version::new(n as i64, None, "MODIFIED", "null".into()));
        }
        let kept: usize = recorder.versions.values().map(|v| v.len()).sum();
        assert_eq!(kept, VERSIONS_MAX);
        let newest =
            recorder.versions[&("pods".into(), String::new(), "p49".into())].last().map(|v| v.revision);
        assert_eq!(newest, Some(VERSIONS_MAX as i64 + 49));
    }

    /// Five hundred changes after the act: what the object was when the step began is still there,
    /// and what went is missed.
    #[test]
    fn what_a_check_compares_with_is_not_pushed_out() {
        let key = |name: &str| ("services".to_string(), "shop".to_string(), name.to_string());
        let mut recorder = Recorder::default();
        let version = |n: i64, verb| Version::new(n, None, verb, format!("{{\"n\":{n}}}").into());
        for n in 1..=9 {
            recorder.add(key("web"), version(n, "MODIFIED"));
        }
        recorder.keep_from(4, 7);
        for n in 10..10 + 2 * VERSIONS_OF_ONE as i64 {
            recorder.add(key("web"), version(n, "MODIFIED"));
        }
        let revisions: Vec<i64> = recorder.versions[&key("web")].iter().map(|v| v.revision).collect();
        assert_eq!((revisions.len(), &revisions[..2]), (VERSIONS_OF_ONE, &[4, 7][..]));
        assert!(recorder.forgotten.since(&key("web"), 7), "versions of the step are gone");
        assert!(!recorder.forgotten.since(&key("other"), 7));

        // The same by changes of other objects.
        let mut recorder = Recorder::default();
        recorder.add(key("web"), version(1, "ADDED"));
        recorder.keep_from(5, 5);
        let others = 2 * VERSIONS_MAX as i64;
        (0..others).for_each(|n| recorder.add(key(&format!("s{}", n % 50)), version(10 + n, "MODIFIED")));
        assert_eq!(recorder.versions[&key("web")][0].revision, 1);
        assert!(!recorder.forgotten.since(&key("web"), 5) && recorder.forgotten.since(&key("s1"), 5));
        // The next step compares with something else.
        let now = 10 + others;
        recorder.keep_from(now, now);
        assert!(!recorder.forgotten.since(&key("s1"), now));
        let kept: usize = recorder.versions.values().map(|v| v.len()).sum();
        assert_eq!(kept, recorder.order.len() + recorder.pinned.len());
    }

    /// A ConfigMap of 1 MiB is written a hundred times: its versions take no more than their bytes
    /// may, and what the step began with stays.
    #[test]
    fn history_is_bounded_in_bytes() {
        let key = |name: &str| ("configmaps".to_string(), "d".to_string(), name.to_string());
        let mut recorder = Recorder::default();
        let version = |n: i64| Version::new(n, None, "MODIFIED", vec![b' '; 1 << 20].into());
        recorder.add(key("a"), version(1));
        recorder.keep_from(1, 1);
        (2..=100).for_each(|n| recorder.add(key("a"), version(n)));
        let bytes = |recorder: &Recorder| -> usize {
            recorder.versions.values().flat_map(|all| all.iter()).map(|v| v.body.len()).sum()
        };
        let revisions: Vec<i64> = recorder.versions[&key("a")].iter().map(|v| v.revision).collect();
        assert_eq!((revisions.len(), revisions[0], revisions.last()), (BODIES_MAX >> 20, 1, Some(&100)));
        assert!(recorder.forgotten.since(&key("a"), 1));
        assert_eq!(recorder.bodies, bytes(&recorder));
        // Many objects that were there when the step began have a bound, too.
        (101..=300).for_each(|n| recorder.add(key(&n.to_string()), version(n)));
        recorder.keep_from(300, 300);
        (301..=500).for_each(|n| recorder.add(key(&(n - 200).to_string()), version(n)));
        assert_eq!(recorder.bodies, bytes(&recorder));
        assert!(recorder.bodies <= PINNED_BODIES_MAX);
    }

    #[test]
    fn what_the_step_before_has_looked_at_is_let_go() {
        let key = || ("pods".to_string(), "d".to_string(), "p".to_string());
        let mut recorder = Recorder::default();
        recorder.add(key(), Version::new(1, None, "ADDED", "{}".into()).by("kim"));
        recorder.versions[&key()][0].value();
        recorder.keep_from(2, 2);
        let kept = &recorder.versions[&key()][0];
        assert_eq!((kept.is_seen(), kept.number, kept.user.as_str()), (false, 1, "kim"));
    }

    #[test]
    fn versions_are_in_the_order_of_the_store_whenever_they_are_told() {
        let key = || ("services".to_string(), "shop".to_string(), "web".to_string());
        let version = |n: i64, user: &str| Version::new(n, None, "MODIFIED", "null".into()).by(user);
        let mut recorder = Recorder::default();
        [3, 9, 5].into_iter().for_each(|n| recorder.add(key(), version(n, "kim")));
        let epoch = recorder.epoch;
        recorder.add(key(), version(9, ""));
        assert_eq!(recorder.epoch, epoch, "nothing new");
        recorder.add(key(), version(12, ""));
        recorder.add(key(), version(12, "park"));
        let told: Vec<(i64, &str)> =
            recorder.versions[&key()].iter().map(|v| (v.revision, v.user.as_str())).collect();
        assert_eq!(told, [(3, "kim"), (5, "kim"), (9, "kim"), (12, "park")]);
        assert!(recorder.versions[&key()].is_sorted_by(|a, b| a.number < b.number));
        assert_eq!((recorder.order.len(), recorder.epoch), (4, epoch + 1));
    }

    #[test]
    fn more_objects_than_can_be_kept_are_not_known() {
        let mut recorder = Recorder::default();
        let key = |n: i64| ("pods".to_string(), "d".to_string(), format!("p{n}"));
        let most = (VERSIONS_MAX + PINNED_MAX) as i64;
        recorder.keep_from(i64::MAX - 1, i64::MAX - 1);
        (1..=most + 1).for_each(|n| recorder.add(key(n), Version::new(n, None, "ADDED", "null".into())));
        assert!(!recorder.versions.contains_key(&key(1)));
        assert!(
            recorder.forgotten.since(&key(1), i64::MAX - 1)
                && !recorder.forgotten.since(&key(2), i64::MAX - 1)
        );
    }
}
