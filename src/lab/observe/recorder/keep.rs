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
/// Bytes of the objects in all versions that are kept, without those that are kept beyond that
/// bound, and with them. The tap lets go of its own much sooner.
const BODIES_MAX: usize = 32 << 20;
const PINNED_BODIES_MAX: usize = 64 << 20;
/// Heartbeats would push everything else out.
const VERSIONS_OF_HEARTBEATS: usize = 20;

impl Recorder {
    /// From now on what was current at these revisions is kept: when the lesson began, and when the
    /// step did.
    pub(crate) fn keep_from(&mut self, lesson: i64, step: i64) {
        self.keep = [lesson, step];
        while let Some((key, _)) = self.pinned.pop_back() {
            self.order.push_front(key);
        }
        self.pinned_bodies = 0;
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
        let is_over = |of: &Recorder| {
            let unpinned = of.bodies.saturating_sub(of.pinned_bodies);
            of.order.len() > VERSIONS_MAX || unpinned > BODIES_MAX
        };
        while is_over(self)
            && let Some(key) = self.order.pop_front()
        {
            if !self.forget_one(&key) {
                let bytes = self.bytes_of_pinned(&key);
                self.pinned_bodies += bytes;
                self.pinned.push_back((key, bytes));
            }
        }
        while (self.pinned.len() > PINNED_MAX || self.bodies > PINNED_BODIES_MAX)
            && let Some((key, bytes)) = self.pinned.pop_front()
        {
            self.pinned_bodies -= bytes;
            let versions = Arc::make_mut(&mut self.versions);
            let Some(of_one) = versions.get_mut(&key).map(Arc::make_mut) else { continue };
            let oldest: Vec<_> = of_one.drain(..1.min(of_one.len())).collect();
            self.bodies -= oldest.iter().map(|version| version.body.len()).sum::<usize>();
            if of_one.is_empty() {
                versions.remove(&key);
            }
            // What it was when the step began is gone for good.
            let number = oldest.first().map_or(0, |version| version.number);
            Arc::make_mut(&mut self.forgotten).note(key, i64::MAX, number);
        }
    }

    /// The bytes of one of an object's versions, all of which are kept: the lesson's and the
    /// step's. Each counts as half of both.
    fn bytes_of_pinned(&self, key: &Key) -> usize {
        let of_one = self.versions.get(key).map_or(&[][..], |all| all.as_slice());
        of_one.iter().map(|version| version.body.len()).sum::<usize>() / of_one.len().max(1)
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
            Arc::make_mut(&mut self.forgotten).note(key.clone(), gone.revision, gone.number);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::facts::Facts;
    use crate::cel::memo::Memo;
    use crate::cel::{Expr, Use};

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

    /// The cluster had 40 MiB of ConfigMaps when the step began: what happens in the step is kept
    /// all the same.
    #[test]
    fn what_is_new_is_kept_beside_much_that_was_there() {
        let key = |name: &str| ("configmaps".to_string(), "d".to_string(), name.to_string());
        let large = |n: i64| Version::new(n, None, "ADDED", vec![b' '; 1 << 20].into());
        let mut recorder = Recorder::default();
        (1..=40).for_each(|n| recorder.add(key(&n.to_string()), large(n)));
        recorder.keep_from(40, 40);
        recorder.add(key("new"), Version::new(41, None, "ADDED", "{}".into()));
        recorder.add(key("new"), Version::new(42, None, "DELETED", "{}".into()));
        let kept: Vec<i64> = recorder.versions[&key("new")].iter().map(|v| v.revision).collect();
        assert_eq!(kept, [41, 42]);
        assert!(!recorder.forgotten.since(&key("new"), 40));
        // Both together have a bound.
        (43..=100).for_each(|n| recorder.add(key("large"), large(n)));
        assert!(recorder.bodies <= PINNED_BODIES_MAX && recorder.pinned_bodies <= recorder.bodies);
        assert_eq!(recorder.versions[&key("large")].last().map(|v| v.revision), Some(100));
    }

    /// A Service is deleted, made again and patched in a loop, all between two judgements: that the
    /// deletion is no longer kept does not make "was never deleted" true.
    #[test]
    fn a_deletion_that_came_and_went_between_two_looks_is_missed() {
        let key = || ("services".to_string(), "shop".to_string(), "web".to_string());
        let mut recorder = Recorder::default();
        let add = |recorder: &mut Recorder, n: i64, verb| {
            recorder.add(key(), Version::new(n, None, verb, "{}".into()));
        };
        let source = "history('Service','shop','web').all(h, h.verb != 'DELETED')";
        let expr = Expr::compile(source, Use::Check, &[]).unwrap();
        let memo: Arc<Memo> = Arc::default();
        let truth = |recorder: &Recorder, memo: &Arc<Memo>| {
            let facts = Facts {
                since_step: 1,
                lesson_began: 1,
                epoch: recorder.epoch,
                versions: recorder.taken,
                history: recorder.versions.clone(),
                objects: [("services".to_string(), Default::default())].into(),
                forgotten: recorder.forgotten.clone(),
                memo: memo.clone(),
                ..Facts::default()
            };
            expr.truth(&Arc::new(facts))
        };
        add(&mut recorder, 1, "ADDED");
        recorder.keep_from(1, 1);
        assert_eq!(truth(&recorder, &memo), Some(true));
        add(&mut recorder, 2, "MODIFIED");
        assert_eq!(truth(&recorder, &memo), Some(true));
        let most = VERSIONS_OF_ONE as i64;
        (3..=most + 1).for_each(|n| add(&mut recorder, n, "MODIFIED"));
        assert_eq!(truth(&recorder, &memo), Some(true), "what went had been looked at");
        assert_eq!(truth(&recorder, &Arc::default()), None);
        add(&mut recorder, most + 2, "DELETED");
        add(&mut recorder, most + 3, "ADDED");
        (1..=most).for_each(|n| add(&mut recorder, most + 3 + n, "MODIFIED"));
        assert_eq!(truth(&recorder, &memo), None);
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
