//! What a cluster that a lab declares gets of the learner's own, and what comes back: the key, so
//! that records have one signer, and the counts of attempts, so that they go on.
//!
//! Names of components that people got hold of stay where they are: each cluster has its own
//! authority, so a token or certificate of one is worth nothing in the other.
//!
//! The counts never fall on the way back: of each the higher one is kept. So it changes nothing if
//! the same file is taken in twice, e.g. after a crash.

use super::book::{Book, FORMAT, Tries};
use super::error::Error;
use super::seal::{Key, Kind};
use cluster::Place;
use serde_json::Value;
use std::path::PathBuf;

/// The file of attempts.
fn file(place: &Place) -> PathBuf {
    place.root.join("labs.json")
}

/// Gives a cluster that has not been started yet the key of the learner's own, and the counts of
/// its attempts. Both directories have been made.
///
/// # Errors
/// The key or the file of the learner's own cluster cannot be read, or the copies not written.
pub fn lend(own: &Place, place: &Place) -> Result<(), Error> {
    let key = Key::load_or_create(&own.pki())?;
    let kept = Book::load(&file(own), &key)?;
    Key::copy(&own.pki(), &place.pki())?;
    let mut lent = Book {
        best: kept.best,
        tries: kept.tries,
        lost: kept.lost,
        deleted: kept.deleted,
        ..Book::default()
    };
    Ok(lent.save(&file(place), &key)?)
}

/// The attempts that were made on a declared cluster, as they were sealed there. `None`: there is
/// no file, or none that can be read.
pub fn sealed(place: &Place) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file(place)).ok()?).ok()
}

/// Takes the attempts in where the learner's own cluster does not run. Returns false if their file
/// was edited.
///
/// # Errors
/// The key or the file of the learner's own cluster cannot be read or written.
pub fn keep(own: &Place, there: &Value) -> Result<bool, Error> {
    let key = Key::load_or_create(&own.pki())?;
    let Some(there) = Book::of_sealed(there, &key) else { return Ok(false) };
    let mut kept = Book::load(&file(own), &key)?;
    kept.learn(there);
    kept.save(&file(own), &key)?;
    Ok(true)
}

impl Book {
    /// A book that is as it was sealed with this key.
    pub(crate) fn of_sealed(document: &Value, key: &Key) -> Option<Book> {
        let sealed = key.is_sealed(Kind::Book, document) && document["format"] == FORMAT;
        sealed.then(|| serde_json::from_value(document.clone()).ok()).flatten()
    }

    /// Takes in what was done on a declared cluster, which had begun with the counts of this book.
    /// A lab that is open there ends with the cluster; without a grade it was left.
    ///
    /// Example: 2 starts here, 3 there (one of them new) are 3 starts; a grade of 80 there takes
    /// the place of one of 60 here.
    pub(crate) fn learn(&mut self, mut there: Book) {
        match there.open.as_ref().map(|open| open.gradings) {
            Some(0) => there.leave(),
            Some(_) => there.close(),
            None => {}
        }
        for (lab, tries) in there.tries {
            self.tries.entry(lab).or_default().raise(tries);
        }
        for (lab, best) in there.best {
            self.note(&lab, best, true);
        }
        self.lost = self.lost.max(there.lost);
        self.deleted = self.deleted.max(there.deleted);
    }
}

impl Tries {
    /// Raises each count to the one of another book.
    fn raise(&mut self, other: Tries) {
        self.starts = self.starts.max(other.starts);
        self.solves = self.solves.max(other.solves);
        self.gradings = self.gradings.max(other.gradings);
        self.given_up = self.given_up.max(other.given_up);
        self.left = self.left.max(other.left);
        self.hints.extend(other.hints);
        for (seed, starts) in other.seeds {
            let own = self.seeds.entry(seed).or_default();
            *own = (*own).max(starts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::book::Best;
    use cluster::Home;

    fn places() -> (tempfile::TempDir, Place, Place) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let (own, there) = (home.cluster("main").unwrap(), home.cluster("main-lesson").unwrap());
        own.make().unwrap();
        there.make().unwrap();
        (dir, own, there)
    }

    fn graded(score: u32) -> Best {
        Best { score, max: 100, passed: score >= 60, seed: 7, attempt: 1 }
    }

    #[test]
    fn attempts_go_on_where_a_lab_has_its_own_cluster_and_come_back() {
        let (_dir, own, there) = places();
        let key = Key::load_or_create(&own.pki()).unwrap();
        let mut book = Book::default();
        book.start("quorum", 7);
        book.note("quorum", graded(40), true);
        book.borrowed.insert("system:node:n1".into());
        book.save(&file(&own), &key).unwrap();
        lend(&own, &there).unwrap();

        let lent = Key::load_or_create(&there.pki()).unwrap();
        assert_eq!(lent.fingerprint(), key.fingerprint(), "records have one signer");
        let mut beside = Book::load(&file(&there), &lent).unwrap();
        assert_eq!((beside.lost, beside.anchored), (0, 0), "it is believed, and the store knows nothing");
        assert!(beside.borrowed.is_empty(), "a certificate of the other cluster opens nothing here");
        beside.borrowed.insert("system:node:n2".into());
        assert_eq!(beside.start("quorum", 7).starts, 2, "the first attempt is known");
        beside.note("quorum", graded(90), true);
        beside.save(&file(&there), &lent).unwrap();

        let made = sealed(&there).unwrap();
        for _ in 0..2 {
            assert!(keep(&own, &made).unwrap());
            let kept = Book::load(&file(&own), &key).unwrap();
            assert_eq!((kept.tries["quorum"].starts, kept.best["quorum"].score), (2, 90));
            assert_eq!(kept.borrowed, ["system:node:n1".to_string()].into());
        }
    }

    #[test]
    fn a_file_that_was_edited_is_not_taken_in() {
        let (_dir, own, there) = places();
        lend(&own, &there).unwrap();
        let mut made = sealed(&there).unwrap();
        made["best"]["quorum"] = serde_json::to_value(graded(100)).unwrap();
        assert!(!keep(&own, &made).unwrap());
        let key = Key::load_or_create(&own.pki()).unwrap();
        assert_eq!(Book::load(&file(&own), &key).unwrap(), Book::default());
    }

    /// It has a good seal, and may have counted further than the learner's own.
    #[test]
    fn the_book_of_a_declared_cluster_is_not_that_of_the_learners_own() {
        let (_dir, own, there) = places();
        let key = Key::load_or_create(&own.pki()).unwrap();
        let mut book = Book::default();
        book.start("quorum", 7);
        book.save(&file(&own), &key).unwrap();
        lend(&own, &there).unwrap();
        std::fs::copy(file(&there), file(&own)).unwrap();
        let copied = Book::load(&file(&own), &key).unwrap();
        assert_eq!((copied.lost, copied.tries.len()), (1, 0), "and every later record says so");
        // An earlier program did not note whose it is.
        let Value::Object(mut fields) = serde_json::to_value(&book).unwrap() else { unreachable!() };
        fields.remove("cluster");
        std::fs::write(file(&own), key.seal(Kind::Book, fields).to_string()).unwrap();
        let earlier = Book::load(&file(&own), &key).unwrap();
        assert_eq!((earlier.lost, earlier.tries["quorum"].starts), (0, 1));
    }
}
