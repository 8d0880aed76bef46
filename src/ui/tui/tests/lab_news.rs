//! What the pane of a lab says of its hints and of its grade as they change.

use super::labs::{checked, graded, lab, open, playing};
use super::*;
use crate::tui::scroll::Scroll;
use ::lab::graded::view::LabView;
use std::time::Duration;

/// Hints have conditions: after one is shown, more may fit than before.
#[test]
fn how_many_hints_fit_is_not_shown() {
    let shown = |hints_left| {
        let mut model = playing(120, 36, Lang::En, open(Lang::En));
        lab(&mut model, LabView { hints_left, ..checked(Lang::En) });
        text(&screen(&model))
    };
    assert!(shown(1).contains("there is a hint"), "{}", shown(1));
    assert_eq!(shown(3), shown(1));
    assert!(!shown(0).contains("there is a hint"), "{}", shown(0));
}

/// A grade comes while the pods that its probe replaced are still starting.
#[test]
fn a_task_that_recovers_from_the_probe_makes_no_grade_old() {
    let mut model = playing(120, 90, Lang::En, checked(Lang::En));
    let mut told = graded(Lang::En);
    // The last task counts only with one that the grade found red. Alone it stands green.
    if let Some(grade) = &mut told.grade {
        grade.found[3].green = false;
    }
    let mut starting = told.clone();
    for at in [0, 3] {
        starting.tasks[at].green = Some(false);
    }
    lab(&mut model, starting.clone());
    lab(&mut model, told);
    assert!(!model.lab.has_old_grade() && model.lab.scroll == Scroll::Outcome);
    model.now += Duration::from_secs(8);
    lab(&mut model, starting); // now it is the learner who broke them
    assert!(model.lab.has_old_grade());
}
