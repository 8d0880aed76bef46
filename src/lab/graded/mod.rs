//! # Graded labs: something is broken; mend it
//!
//! ## In Kubernetes
//! There is no such part. The nearest relative is the certification exam: a live cluster, weighted tasks, partial credit, and a judge that looks at the
//! state and never at the keystrokes.
//! ## How this one works
//! A lab is a file ([`read`]) whose names, ports and fault are drawn from a seed ([`draw`]): same seed, same lab, on every machine. `lab start` remembers
//! the store's revision, sets the lab up as the teacher, waits until the symptom shows, and only then starts the clock; once more, it puts the objects
//! back to that revision first. While a lab is open, [`world`] watches, and notes since when each task has been green. `lab grade` ([`desk`]) asks each
//! task's expressions and demands that they hold for a moment; what has to be disturbed to be known (does it heal?) is disturbed, judged, and taken back
//! by a rewind, unseen by the checks' history. [`score`] turns verdicts into points, [`seal`] signs the record.
//! What is kept of the open lab ([`book`]) is sealed with the cluster's key, and a key of the store counts along: an edited file, and an older copy of it, make the
//! lab one that was tampered with, which does not pass. When the time is over, the desk notes what stands in the cluster by somebody's will; what differs from that
//! at grading was changed too late, whoever changed it. The clock is the calendar's: it runs while the cluster is down, as in an exam. Records say how
//! often a lab was started, graded and given up.
//! ## What a signature is worth
//! It shows that a record was edited. It does not show that a learner did the work: the key lies on the learner's machine, and whoever reads it can sign and seal anything;
//! so can whoever puts back the whole cluster's directory, store and all, as it was.
//! ## Left out
//! After the cluster's process was restarted in the middle of a lab, `history` knows what was there when the clock started (the store keeps that) and
//! what has become of it, and no version in between; `trace` begins anew, and the hash chain goes on without the records of the restart.
//! ## Read next
//! `cli::lab` and `ui::labs`, which prove labs.

pub mod book;
pub mod desk;
pub mod draw;
pub mod guest;
pub mod read;
pub mod score;
pub mod seal;
pub mod stopwatch;
pub mod view;
mod words;
pub mod world;

use crate::cluster::undo::Loss;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The lab that is open, for the lesson engine beside the desk: a jump to an older revision would sweep the lab away.
#[derive(Clone, Debug, Default)]
pub struct Opened(Arc<Mutex<Option<(String, i64)>>>);

impl Opened {
    fn note(&self, open: Option<&book::Open>) {
        // Until its clock runs, it is set up: that begins behind `base`.
        let noted = open.map(|open| (open.lab.clone(), open.began.max(open.base + 1)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = noted;
    }

    /// The open lab, if a way back to this store revision takes it away.
    pub fn swept_by(&self, revision: i64) -> Option<Loss> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (lab, _) = open.as_ref().filter(|(_, began)| revision < *began)?;
        Some(Loss { resource: "labs".into(), name: lab.clone(), removed: true, ..Loss::default() })
    }
}

/// What keeps labs from being played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the key in {} cannot be used: {why}", path.display())]
    Key { path: PathBuf, why: String },
    #[error(transparent)]
    Cluster(#[from] crate::cluster::Error),
    #[error(transparent)]
    Lab(#[from] super::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_before_the_lab_sweeps_it_away() {
        let opened = Opened::default();
        assert_eq!(opened.swept_by(1), None, "none is open");
        *opened.0.lock().unwrap() = Some(("wrong-image".into(), 40));
        assert_eq!(opened.swept_by(39).unwrap().to_string(), "labs/wrong-image");
        assert_eq!(opened.swept_by(40), None);
        opened.note(None);
        assert_eq!(opened.swept_by(1), None);
    }
}
