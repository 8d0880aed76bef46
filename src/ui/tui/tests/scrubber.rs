//! The line that moves the play head, its marks, and what went away.

use super::replay::scaled;
use super::sequence::map;
use super::*;
use crate::tui::model::View;
use ::lab::graded::view::LabView;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;
use tap::{Component, Fault};

const RICH: Look = Look { ascii: false, colour: true, light: false };
const ASCII: Look = Look { ascii: true, colour: false, light: false };

fn midway(size: (u16, u16), look: Look, view: View) -> Model {
    let mut model = model(size.0, size.1, Lang::En, look);
    (model.view, model.chosen) = (view, true);
    model.traffic.play.playing = false;
    model.traffic.play.at = 8;
    model
}

/// A fault that was made at this time.
fn fault(model: &mut Model, at: &str) {
    let cut = Fault::Cut { a: "ropewalk-worker".into(), b: "ropewalk-worker2".into() };
    let mut record = Record::new(tap::Event::Fault(cut));
    (record.seq, record.component) = (9900, Component::Fault);
    record.at = at.parse().expect("a time");
    tell(model, Event::Records(vec![record]));
}

#[test]
fn every_view_has_the_line_of_the_one_play_head() {
    for view in View::ALL {
        for (size, look, keys) in [
            ((110, 30), RICH, "◂◂ ◂ ▶ ▸ ▸▸  $"),
            ((120, 36), RICH, "◂◂ ◂ ▶ ▸ ▸▸  $"),
            ((110, 30), ASCII, "<< < > > >>  $"),
            ((120, 36), ASCII, "<< < > > >>  $"),
        ] {
            let mut model = midway(size, look, *view);
            let last = |model: &Model| map(model).pop().expect("a last row");
            let line = last(&model);
            assert!(line.contains(keys) && line.contains(" 9/16  114 ms"), "{view:?} {size:?}: {line}");
            model.traffic.step(1, Duration::ZERO);
            let line = last(&model);
            assert!(line.contains(keys) && line.contains(" 10/16  114 ms"), "{view:?} {size:?}: {line}");
        }
    }
}

#[test]
fn without_a_command_there_is_nothing_to_play_and_no_line() {
    let mut model = midway((120, 36), RICH, View::Rollout);
    model.traffic.restart();
    assert!(!text(&screen(&model)).contains("◂◂"));
}

#[test]
fn faults_and_finished_steps_are_marked_on_the_line_by_their_shape() {
    for (look, before, struck, green) in [(RICH, '$', '╳', '✓'), (ASCII, '$', 'X', '+')] {
        let mut model = midway((120, 36), look, View::Rollout);
        let bar = |model: &Model| {
            let line = map(model).pop().expect("a last row");
            let begin = line.find(before).expect("the command");
            let end = line.find("  114 ms").expect("its time");
            line[begin..end].to_string()
        };
        let plain = bar(&model);
        assert!(!plain.contains(struck) && !plain.contains(green), "{plain}");
        // Before the command, and so on no line of it.
        fault(&mut model, "2026-01-01T00:00:00Z");
        assert_eq!(bar(&model), plain);
        fault(&mut model, "2026-11-20T12:09:00Z");
        let marked = bar(&model);
        assert!(marked.contains(struck) && !marked.contains(green), "{marked}");
        model.traffic.marks.clear();
        let done = LessonView { state: State::Done, ..lesson(Lang::En) };
        tell(&mut model, Event::Lesson(Box::new(done.clone())));
        model.view = View::Rollout;
        let marked = bar(&model);
        assert!(marked.contains(green) && !marked.contains(struck), "{marked}");
        // The engine tells the same step again and again: it has turned green once.
        tell(&mut model, Event::Lesson(Box::new(done)));
        assert_eq!(model.traffic.marks.len(), 1);
    }
}

/// The setup of the lab has made it, and its name is the answer.
#[test]
fn a_fault_is_named_nowhere_while_a_lab_asks_for_the_cause() {
    let lab = super::labs::open(Lang::En);
    for is_told in [false, true] {
        let broken = |size, view| {
            let mut model = midway(size, RICH, view);
            tell(&mut model, Event::Lab(Box::new(LabView { over: is_told, ..lab.clone() })));
            fault(&mut model, "2026-11-20T12:09:00Z");
            model
        };
        let mut model = broken((120, 36), View::Rollout);
        let line = map(&model).pop().expect("a last row");
        assert_eq!(line.contains('╳'), is_told, "{line}");
        tell(&mut model, Event::Key(KeyEvent::new(KeyCode::F(4), KeyModifiers::NONE)));
        let shown = text(&screen(&model));
        assert_eq!(shown.contains("fault cut"), is_told, "the time view: {shown}");
        assert!(shown.contains("kubectl run pods/web2"), "the learner's own commands stay: {shown}");
        let shown = text(&screen(&broken((80, 24), View::Raft)));
        assert_eq!(shown.contains("cut worker worker2"), is_told, "the map in two lines: {shown}");
    }
}

#[test]
fn what_a_command_removed_stays_with_the_time_of_its_end() {
    // In the rollout view a sign each, in the cluster view lines as far as there is place.
    for (view, first, last) in [(View::Cluster, 1, 3), (View::Rollout, 3, 7)] {
        let mut stage = scaled(view);
        let ghosts = |shown: &str| shown.matches('†').count();
        let before = stage.at(206);
        assert!(ghosts(&before) == 0 && !before.contains("ended "), "{before}");
        let after = stage.at(215);
        assert!(ghosts(&after) == first && after.contains("ended "), "{after}");
        stage.model.traffic.finish();
        let now = stage.shown();
        assert!(ghosts(&now) == last && now.contains("ended "), "{now}");
        // Another command takes the stage.
        stage.model.traffic.play.session = None;
        assert!(!stage.shown().contains("ended "), "{}", stage.shown());
    }
}

#[test]
fn the_scheduling_view_waits_for_the_play_head() {
    let mut model = midway((120, 36), RICH, View::Scheduling);
    assert!(map(&model).join(" ").contains("chosen: "), "{:#?}", map(&model));
    model.traffic.play.at = 0;
    let shown = map(&model).join(" ");
    assert!(shown.contains("has not chosen a node yet") && !shown.contains("chosen: "), "{shown}");
}
