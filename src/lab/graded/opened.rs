//! Which lab is open.

use super::book::Open;
use cluster::undo::Loss;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The lab that is open, for the lesson engine beside the lab run: a jump to an older revision
/// would sweep the lab away.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    lab: Arc<Mutex<Option<Noted>>>,
    /// A drill is open: labs and drills get in each other's way.
    drill: Arc<Mutex<bool>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Noted {
    lab: String,
    began: i64,
    /// `None`: it may be anywhere.
    places: Option<BTreeSet<String>>,
}

impl Opened {
    pub(super) fn note(&self, open: Option<&Open>, places: Option<BTreeSet<String>>) {
        // Until its clock runs, it is set up: that begins behind `base`.
        let began = |open: &Open| open.began.max(open.base.saturating_add(1));
        let noted = open.map(|open| Noted { lab: open.lab.clone(), began: began(open), places });
        *self.lab.lock() = noted;
    }

    /// The id of the open lab.
    pub fn name(&self) -> Option<String> {
        self.lab.lock().as_ref().map(|open| open.lab.clone())
    }

    /// Notes whether a drill is open, so that no lab is started beside it.
    pub fn note_drill(&self, is_open: bool) {
        *self.drill.lock() = is_open;
    }

    /// Returns whether a drill is open.
    pub fn has_drill(&self) -> bool {
        *self.drill.lock()
    }

    /// The open lab, if a way back to this store revision takes it away. `places`: the namespaces
    /// that go back; `None`: all.
    pub fn swept_by(&self, revision: i64, places: Option<&BTreeSet<String>>) -> Option<Loss> {
        let open = self.lab.lock();
        let open = open.as_ref().filter(|open| revision < open.began)?;
        if let (Some(back), Some(labs)) = (places, &open.places)
            && back.is_disjoint(labs)
        {
            return None;
        }
        let name = open.lab.clone();
        Some(Loss { resource: "labs".into(), name, removed: true, ..Loss::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_before_the_lab_sweeps_it_away() {
        let opened = Opened::default();
        assert_eq!(opened.swept_by(1, None), None, "none is open");
        let of = |name: &str| -> BTreeSet<String> { [name.to_string()].into() };
        let noted = |places| Some(Noted { lab: "wrong-image".into(), began: 40, places });
        *opened.lab.lock() = noted(Some(of("zoo")));
        assert_eq!(opened.swept_by(39, None).unwrap().to_string(), "labs/wrong-image");
        assert_eq!(opened.swept_by(40, None), None);
        assert!(opened.swept_by(39, Some(&of("zoo"))).is_some());
        assert_eq!(opened.swept_by(39, Some(&of("default"))), None, "it stays in its namespace");
        *opened.lab.lock() = noted(None);
        assert!(opened.swept_by(39, Some(&of("default"))).is_some(), "it may be anywhere");
        opened.note(None, None);
        assert_eq!(opened.swept_by(1, None), None);
    }
}
