//! Which lab is open, and whether a drill is.

use super::book::Open;
use cluster::undo::Loss;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The lab that is open, for the lesson engine beside the lab run: a jump to an older revision
/// would sweep the lab away. Labs and drills get in each other's way, too: only one of them is
/// open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened {
    holders: Arc<Mutex<Holders>>,
}

#[derive(Debug, Default)]
struct Holders {
    lab: Option<Noted>,
    /// A drill is open.
    drill: bool,
    /// What is about to be opened.
    reserved: Vec<Opening>,
}

/// A lab by its id, or a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Lab(String),
    Drill,
}

/// Keeps the cluster for what is being opened, until it is dropped: by then it is open, and noted
/// as such, or could not be opened.
#[derive(Debug)]
pub(crate) struct Reserved {
    opened: Opened,
    opening: Opening,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut holders = self.opened.holders.lock();
        if let Some(at) = holders.reserved.iter().position(|reserved| *reserved == self.opening) {
            holders.reserved.swap_remove(at);
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Noted {
    lab: String,
    began: i64,
    /// The cause is still to be found.
    asks_cause: bool,
    /// `None`: it may be anywhere.
    places: Option<BTreeSet<String>>,
}

/// No grade has passed the lab, and its solution was not given away.
fn asks_cause(open: &Open) -> bool {
    let has_passed = open.grade.as_ref().is_some_and(|grade| grade.record["passed"] == true);
    !open.solve && open.given_up.is_none() && !has_passed
}

impl Opened {
    /// Notes which lab is open, and the namespaces in which it is played.
    pub(super) fn note(&self, open: Option<&Open>, places: Option<BTreeSet<String>>) {
        // Until its clock runs, it is set up: that begins behind `base`.
        let began = |open: &Open| open.began.max(open.base.saturating_add(1));
        let noted = |open: &Open| Noted {
            lab: open.lab.clone(),
            began: began(open),
            asks_cause: asks_cause(open),
            places,
        };
        self.holders.lock().lab = open.map(noted);
    }

    /// True while the open lab asks for the cause: what compares objects for the learner, as `why`
    /// does, then leaves that comparison to them.
    pub(crate) fn asks_cause(&self) -> bool {
        self.holders.lock().lab.as_ref().is_some_and(|open| open.asks_cause)
    }

    /// Notes whether a drill is open, so that no lab is started beside it.
    pub(crate) fn note_drill(&self, is_open: bool) {
        self.holders.lock().drill = is_open;
    }

    /// Returns whether a drill is open.
    #[cfg(test)]
    pub(crate) fn has_drill(&self) -> bool {
        self.holders.lock().drill
    }

    /// Reserves the cluster for a lab or a drill. To look first and to open later leaves time for
    /// the other one to be opened in between.
    ///
    /// # Errors
    /// What is in the way, because it is open or about to be: a drill for a lab, a lab for a drill.
    pub(crate) fn try_reserve(&self, opening: Opening) -> Result<Reserved, Opening> {
        let mut holders = self.holders.lock();
        let is_lab = |opening: &Opening| matches!(opening, Opening::Lab(_));
        let mut reserved = holders.reserved.iter();
        let other = reserved.find(|reserved| is_lab(reserved) != is_lab(&opening)).cloned();
        let open = match &opening {
            Opening::Lab(_) => holders.drill.then_some(Opening::Drill),
            Opening::Drill => holders.lab.as_ref().map(|open| Opening::Lab(open.lab.clone())),
        };
        if let Some(in_the_way) = open.or(other) {
            return Err(in_the_way);
        }
        holders.reserved.push(opening.clone());
        Ok(Reserved { opened: self.clone(), opening })
    }

    /// The open lab, if a way back to this store revision takes it away. `places`: the namespaces
    /// that go back; `None`: all.
    pub(crate) fn swept_by(&self, revision: i64, places: Option<&BTreeSet<String>>) -> Option<Loss> {
        let holders = self.holders.lock();
        let open = holders.lab.as_ref().filter(|open| revision < open.began)?;
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
    use crate::graded::seal::Chain;
    use serde_json::{Value, json};

    #[test]
    fn a_way_back_before_the_lab_sweeps_it_away() {
        let opened = Opened::default();
        assert_eq!(opened.swept_by(1, None), None, "none is open");
        let of = |name: &str| -> BTreeSet<String> { [name.to_string()].into() };
        let noted = |places| Some(Noted { lab: "wrong-image".into(), began: 40, asks_cause: true, places });
        opened.holders.lock().lab = noted(Some(of("zoo")));
        assert_eq!(opened.swept_by(39, None).unwrap().to_string(), "labs/wrong-image");
        assert_eq!(opened.swept_by(40, None), None);
        assert!(opened.swept_by(39, Some(&of("zoo"))).is_some());
        assert_eq!(opened.swept_by(39, Some(&of("default"))), None, "it stays in its namespace");
        opened.holders.lock().lab = noted(None);
        assert!(opened.swept_by(39, Some(&of("default"))).is_some(), "it may be anywhere");
        opened.note(None, None);
        assert_eq!(opened.swept_by(1, None), None);
    }

    #[test]
    fn a_lab_asks_for_its_cause_until_it_is_passed_or_given_away() {
        let opened = Opened::default();
        assert!(!opened.asks_cause(), "none is open");
        let open = |change: Value| -> Open {
            let mut open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 10,
                "started": "2026-01-01T00:00:00Z", "hints": [], "solve": false, "undo": 0, "green": {},
                "chain": Chain::default()});
            change.as_object().unwrap().iter().for_each(|(key, value)| open[key] = value.clone());
            serde_json::from_value(open).unwrap()
        };
        for (change, asks) in [
            (json!({}), true),
            (json!({"grade": {"record": {"passed": false}}}), true),
            (json!({"grade": {"record": {"passed": true}}}), false),
            (json!({"solve": true}), false),
            (json!({"givenUp": {}}), false),
        ] {
            opened.note(Some(&open(change.clone())), None);
            assert_eq!(opened.asks_cause(), asks, "{change}");
        }
        opened.note(None, None);
        assert!(!opened.asks_cause());
    }

    #[test]
    fn a_lab_and_a_drill_are_not_opened_at_once() {
        let opened = Opened::default();
        let lab = |id: &str| Opening::Lab(id.to_string());
        let starting = opened.try_reserve(lab("wrong-image")).unwrap();
        assert_eq!(opened.try_reserve(Opening::Drill).unwrap_err(), lab("wrong-image"));
        drop(starting); // it could not be set up
        let starting = opened.try_reserve(Opening::Drill).unwrap();
        assert_eq!(opened.try_reserve(lab("wrong-image")).unwrap_err(), Opening::Drill);
        opened.note_drill(true);
        drop(starting);
        assert_eq!(opened.try_reserve(lab("wrong-image")).unwrap_err(), Opening::Drill);
        opened.note_drill(false);
        drop(opened.try_reserve(lab("wrong-image")).unwrap());
        opened.holders.lock().lab =
            Some(Noted { lab: "orphans".into(), began: 4, asks_cause: true, places: None });
        assert_eq!(opened.try_reserve(Opening::Drill).unwrap_err(), lab("orphans"));
        assert!(opened.try_reserve(lab("wrong-image")).is_ok(), "it takes the place of the open one");
    }
}
