//! What has to survive `kill -9`: the lab that is open, and what came of those before. One file in
//! the cluster's directory, sealed with the cluster's key.
//!
//! A seal shows that the file was edited, or is another cluster's. That it is not an older copy of
//! itself shows the [`Anchor`]: a key of the store that counts along. Putting that back, too, is
//! one more write, which the store counts.

use super::score::Used;
use super::seal::{Chain, Key, Kind};
use super::view::{GivenUp, Graded};
use crate::error::Error;
use crate::observe::who::Meddling;
use crate::progress;
use api::value::list;
use clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Format 1 had no seal, and that of format 2 did not say what was sealed: neither is believed.
pub(crate) const FORMAT: u32 = 3;
/// Of the anchor. Format 1 was not written down.
const ANCHOR_FORMAT: u32 = 2;

/// Seeds of one lab of which it is known how often each was started; of further ones that is
/// counted for the lab only.
const SEEDS_MAX: usize = 256;

/// The file `labs.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Book {
    pub format: u32,
    /// The directory's name of the cluster that wrote it: a declared cluster seals with the key of
    /// the learner's own. Empty: of a program that did not note it.
    pub cluster: String,
    /// How often it was written.
    pub counter: u64,
    /// The store knows of it since this count; 0: not yet.
    pub anchored: u64,
    pub open: Option<Open>,
    pub best: BTreeMap<String, Best>,
    pub tries: BTreeMap<String, Tries>,
    /// How often all this was edited, deleted or put back, and so began anew.
    pub lost: u32,
    /// How often of these there was no file any more.
    pub deleted: u32,
    /// Names of components that people got hold of, in labs and between them.
    pub borrowed: BTreeSet<String>,
}

/// How often a lab was tried here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Tries {
    pub starts: u32,
    pub seeds: BTreeMap<u64, u32>,
    /// Starts after which the solution was given away.
    pub solves: u32,
    /// Gradings of earlier starts.
    pub gradings: u32,
    /// Starts that were given up.
    pub given_up: u32,
    /// Starts that were left before the end.
    pub left: u32,
    /// Ids of the hints that were shown at earlier starts. They hold for every seed, so they are
    /// not forgotten by a new start.
    pub hints: BTreeSet<String>,
}

/// The open lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Open {
    pub lab: String,
    pub seed: u64,
    /// Store revision before its setup: what `lab start` goes back to.
    pub base: i64,
    /// Store revision and time when the clock started; revision 0: its setup has not come to an
    /// end.
    pub began: i64,
    pub started: Timestamp,
    /// Ids of hints that were shown, in order.
    pub hints: Vec<String>,
    /// What those hints said when they were shown, by "language/id": a hint may name what the
    /// cluster holds, and must not change or get lost when the learner has followed it.
    #[serde(default)]
    pub told: BTreeMap<String, String>,
    pub solve: bool,
    pub undo: u32,
    /// When a person last changed something: milliseconds from the start.
    #[serde(default)]
    pub changed_ms: Option<u64>,
    /// How long it had been open when this was written.
    #[serde(default)]
    pub ran_ms: u64,
    /// Store revision before the judge disturbed what it has not taken back yet.
    #[serde(default)]
    pub disturbed: Option<i64>,
    /// Since when each green task is green: milliseconds from the start, revision.
    pub green: BTreeMap<String, (u64, i64)>,
    pub chain: Chain,
    /// What stood here was edited, deleted or put back: the program did not leave it so.
    #[serde(default)]
    pub tampered: bool,
    /// How often it was graded.
    #[serde(default)]
    pub gradings: u32,
    /// The learner has given up, and has seen all explanations.
    #[serde(default)]
    pub gave_up: bool,
    /// The last grade, and the explanations for a learner who gave up: every session shows them,
    /// also after a restart of the cluster.
    #[serde(default)]
    pub grade: Option<Graded>,
    #[serde(default)]
    pub given_up: Option<GivenUp>,
    /// Starts of this lab and of this seed, this one included, and what was seen of it before.
    #[serde(default)]
    pub before: Before,
    /// What people had written when the time was over: a hash for each object that no controller
    /// made.
    #[serde(default)]
    pub at_limit: Option<BTreeMap<String, String>>,
    /// What people did in the lab that a task may exclude.
    #[serde(default)]
    pub meddling: BTreeSet<Meddling>,
    /// Pods that the judge took away and put back, by their uid now: the uid that they had when the
    /// clock started.
    #[serde(default)]
    pub reborn: BTreeMap<String, String>,
    /// Pods whose containers ended while the cluster ran, by namespace, name and uid.
    #[serde(default)]
    pub restarted: BTreeMap<String, Restarted>,
    /// Not all of them are here.
    #[serde(default)]
    pub restarts_lost: bool,
    /// Faults of the setup that are not mended: see `lasting`.
    #[serde(default)]
    pub broken: Vec<tap::Fault>,
}

/// A version of a pod that tells of a restart. Of what came and went before the program was started
/// anew, history has lost the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restarted {
    pub revision: i64,
    /// Restarts of all its containers and sidecars.
    pub count: i64,
    pub pod: Value,
}

impl Restarted {
    /// Keeps a pod's version if one of its containers was started again because it had ended. One
    /// whose end was not seen went with the whole cluster: the kubelet says
    /// `ContainerStatusUnknown`. Sidecars count, too. Other init containers do not: a run of theirs
    /// ends by itself, and the next one may come with the cluster's restart.
    pub(crate) fn of(revision: i64, body: &[u8]) -> Option<Restarted> {
        let mut pod: Value = serde_json::from_slice(body).ok()?;
        let specs = list(&pod, "spec.initContainers").iter();
        let sidecars: Vec<&Value> =
            specs.filter(|spec| spec["restartPolicy"] == "Always").map(|spec| &spec["name"]).collect();
        let inits = list(&pod, "status.initContainerStatuses").iter();
        let of_sidecars = inits.filter(|status| sidecars.contains(&&status["name"]));
        let statuses: Vec<&Value> =
            list(&pod, "status.containerStatuses").iter().chain(of_sidecars).collect();
        let count: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
        let mut reasons =
            statuses.iter().filter_map(|status| status["lastState"]["terminated"]["reason"].as_str());
        let was_seen = reasons.any(|reason| reason != "ContainerStatusUnknown");
        if count == 0 || !was_seen {
            return None;
        }
        if let Some(metadata) = pod["metadata"].as_object_mut() {
            metadata.remove("managedFields"); // the greater part of it, and no check reads them of a former version
        }
        Some(Restarted { revision, count, pod })
    }
}

/// What a start finds behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Before {
    pub starts: u32,
    pub seed_starts: u32,
    pub solves: u32,
    pub gradings: u32,
    pub given_up: u32,
    pub left: u32,
    pub hints: BTreeSet<String>,
    /// How often these counts began anew because they were edited, deleted or put back, and how
    /// often of these their file was deleted.
    pub lost: u32,
    pub deleted: u32,
}

impl Open {
    /// Notes pods that the judge has put back once more. One that was put back before is still the
    /// one of the beginning.
    pub(crate) fn put_back(&mut self, pods: BTreeMap<String, String>) {
        for (is, was) in pods {
            let first = self.reborn.remove(&was).unwrap_or(was);
            self.reborn.insert(is, first);
        }
    }

    /// A hint counts once, whichever start asked for it.
    pub(crate) fn used(&self) -> Used {
        let hints = self.before.hints.union(&self.hints.iter().cloned().collect()).count();
        Used { hints: hints as u32, undo: self.undo, solve: self.solve }
    }

    /// For the record: how often this lab was tried on this cluster.
    pub(crate) fn attempts(&self) -> Value {
        json!({
            "starts": self.before.starts, "seed_starts": self.before.seed_starts, "gradings": self.gradings,
            "earlier_gradings": self.before.gradings, "earlier_solves": self.before.solves, "lost": self.before.lost,
            "earlier_hints": self.before.hints.len(), "gave_up": self.gave_up, "earlier_gave_up": self.before.given_up,
            "earlier_left": self.before.left, "book_deleted": self.before.deleted,
        })
    }
}

/// The best grade of a lab, in points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Best {
    pub score: u32,
    pub max: u32,
    pub passed: bool,
    pub seed: u64,
    /// At which start of the lab, from 1; 0: it was not noted yet.
    pub attempt: u32,
}

/// The highest count that is believed of a file that was edited; from there on it is counted.
const COUNTER_MAX: u64 = u64::MAX / 2;

/// The name of the directory of the cluster whose book lies at this path.
fn cluster_of(path: &Path) -> String {
    let directory = path.parent().and_then(Path::file_name);
    directory.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

impl Book {
    /// A file that is not there is a beginning; of one that was edited, or copied from another
    /// cluster, only the open lab is left, and that is [tampered](Open::tampered) with.
    ///
    /// # Errors
    /// The file cannot be read, was written by a newer program, or is damaged.
    pub(crate) fn load(path: &Path, key: &Key) -> Result<Book, Error> {
        let Some(kept) = progress::load::<Value>(path, FORMAT)? else { return Ok(Book::default()) };
        let sealed = key.is_sealed(Kind::Book, &kept) && kept["format"] == FORMAT;
        let read = serde_json::from_value(kept);
        let mut book: Book = read.map_err(|e| Error::Damaged { path: path.into(), why: e.to_string() })?;
        let is_own = book.cluster.is_empty() || book.cluster == cluster_of(path);
        if !sealed || !is_own {
            book.distrust();
        }
        Ok(book)
    }

    /// Nothing that stands here can be believed, no number either: one at the end of its type would
    /// begin at 0 with the next step. What people got hold of stays known: that never was to their
    /// advantage.
    pub(crate) fn distrust(&mut self) {
        self.best.clear();
        self.tries.clear();
        self.lost = self.lost.saturating_add(1);
        self.deleted = self.deleted.saturating_add(u32::from(self.counter == 0));
        self.counter = self.counter.min(COUNTER_MAX);
        if let Some(open) = &mut self.open {
            open.tampered = true;
        }
    }

    /// Writes the file, sealed, under the next count.
    ///
    /// # Errors
    /// The file cannot be written; the count is as before.
    pub(crate) fn save(&mut self, path: &Path, key: &Key) -> Result<(), Error> {
        self.format = FORMAT;
        self.cluster = cluster_of(path);
        self.counter += 1;
        let Value::Object(fields) = json!(self) else { return Ok(()) }; // a struct is an object
        progress::keep(path, &key.seal(Kind::Book, fields)).inspect_err(|_| self.counter -= 1)
    }

    /// Notes a grade if it is better than those before; a played solution is no grade of the
    /// learner's. A grade of another maximum cannot be compared and takes the place of the best:
    /// the lab has been reworked since, or is another one by the same id.
    ///
    /// Example: 60 of 60 takes the place of 80 of 100.
    pub(crate) fn note(&mut self, lab: &str, grade: Best, counts: bool) {
        let is_better = |best: &Best| grade.score > best.score || grade.max != best.max;
        if counts && self.best.get(lab).is_none_or(is_better) {
            self.best.insert(lab.into(), grade);
        }
    }

    /// Counts a start; answers what there was before, this one included.
    pub(crate) fn start(&mut self, lab: &str, seed: u64) -> Before {
        let tries = self.tries.entry(lab.into()).or_default();
        tries.starts = tries.starts.saturating_add(1);
        if tries.seeds.len() < SEEDS_MAX || tries.seeds.contains_key(&seed) {
            let starts = tries.seeds.entry(seed).or_default();
            *starts = starts.saturating_add(1);
        }
        let seed_starts = tries.seeds.get(&seed).copied().unwrap_or(1);
        Before {
            starts: tries.starts,
            seed_starts,
            solves: tries.solves,
            gradings: tries.gradings,
            given_up: tries.given_up,
            left: tries.left,
            hints: tries.hints.clone(),
            lost: self.lost,
            deleted: self.deleted,
        }
    }

    /// Leaves the open lab; what it was counts for the starts after it. Only a lab that was never
    /// graded counts as left, and not one whose setup failed: that counts as no start either.
    pub(crate) fn leave(&mut self) {
        if let Some(open) = self.open.as_ref().filter(|open| open.gradings == 0 && open.began > 0) {
            let tries = self.tries.entry(open.lab.clone()).or_default();
            tries.left = tries.left.saturating_add(1);
        }
        self.close();
    }

    /// Closes the open lab; what it was counts for the starts after it.
    pub(crate) fn close(&mut self) {
        if let Some(open) = self.open.take()
            && let Some(tries) = self.tries.get_mut(&open.lab)
        {
            tries.solves = tries.solves.saturating_add(u32::from(open.solve));
            tries.gradings = tries.gradings.saturating_add(open.gradings);
            tries.given_up = tries.given_up.saturating_add(u32::from(open.gave_up));
            tries.hints.extend(open.hints);
        }
    }
}

/// What the store keeps of the book: how often that had been written, and which writing of the key
/// this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchor {
    pub format: u32,
    pub counter: u64,
    /// The key's create revision; 0: this is its first writing.
    pub create: i64,
    /// The key's version with this writing.
    pub version: i64,
}

/// What was found under the anchor's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No lab was ever opened on this cluster.
    Nothing,
    /// No count, or one that has just begun, though a lab was opened.
    Deleted,
    /// Not sealed by this program, or an anchor of its own that was written again.
    Forged,
    Anchor(Anchor),
}

impl Anchor {
    /// The anchor of a book that was written `counter` times; `create` and `version` are those that
    /// the key has once the anchor is written.
    pub(crate) fn new(counter: u64, create: i64, version: i64) -> Anchor {
        Anchor { format: ANCHOR_FORMAT, counter, create, version }
    }

    /// The sealed JSON that the store keeps.
    pub(crate) fn text(&self, key: &Key) -> String {
        match json!(self) {
            Value::Object(fields) => key.seal(Kind::Anchor, fields).to_string(),
            _ => String::new(), // a struct is an object
        }
    }

    /// Reads what the store has, with the revision and the version that it says itself.
    pub(crate) fn read(text: &str, create: i64, version: i64, key: &Key) -> Found {
        let Ok(value) = serde_json::from_str::<Value>(text) else { return Found::Forged };
        let sealed = key.is_sealed(Kind::Anchor, &value);
        match serde_json::from_value::<Anchor>(value) {
            Ok(anchor)
                if sealed
                    && anchor.format == ANCHOR_FORMAT
                    && anchor.version == version
                    && (anchor.create == create || (anchor.create, version) == (0, 1)) =>
            {
                Found::Anchor(anchor)
            }
            _ => Found::Forged,
        }
    }
}

impl Book {
    /// Returns whether this book is the newest of which the store knows.
    pub(crate) fn agrees(&self, found: Found) -> bool {
        match found {
            Found::Nothing => self.anchored == 0,
            Found::Forged | Found::Deleted => false,
            // The first writing says nothing of when it was made.
            Found::Anchor(Anchor { create: 0, .. }) if self.anchored > 0 => false,
            Found::Anchor(anchor) => self.counter >= anchor.counter,
        }
    }

    /// Returns whether what was found is the writing after the one that is `known` (create revision
    /// and version), made by this program. It had no answer to that writing.
    pub(crate) fn is_next(&self, known: (i64, i64), found: Found) -> bool {
        match found {
            Found::Anchor(anchor) => {
                (anchor.create, anchor.version) == (known.0, known.1 + 1) && self.counter >= anchor.counter
            }
            Found::Nothing | Found::Deleted | Found::Forged => false,
        }
    }

    /// The store has gone back to an earlier writing of its count, e.g. because it was restored
    /// from a backup. The book is still the newest, so its counts and grades stay. What the lab is
    /// about may be another state than the one that was judged so far, so an open lab is one that
    /// was [tampered](Open::tampered) with.
    pub(crate) fn outlive_store(&mut self) {
        if let Some(open) = &mut self.open {
            open.tampered = true;
        }
    }
}

impl Found {
    /// Returns whether it is an earlier writing than the one that is `known` (create revision and
    /// version). A key that is written or deleted by a person has another version or create
    /// revision than its text says, so only a store that was restored has it.
    pub(crate) fn is_before(self, known: (i64, i64)) -> bool {
        match self {
            Found::Anchor(anchor) => anchor.create == known.0 && anchor.version < known.1,
            Found::Nothing | Found::Deleted | Found::Forged => false,
        }
    }
}

#[cfg(test)]
mod tests;
