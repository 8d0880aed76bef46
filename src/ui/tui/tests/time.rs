//! The time view: a look back at a moment, without going back to it.

use super::replay::{Stage, scaled};
use super::*;
use crate::tui::model::{Overlay, View};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

const LOOK: Look = Look { ascii: false, colour: true, light: false };

fn press(stage: &mut Stage, code: KeyCode) {
    tell(&mut stage.model, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

fn whole(stage: &Stage) -> String {
    text(&screen(&stage.model))
}

#[test]
fn the_objects_of_a_moment_stand_beside_those_of_now() {
    let mut stage = scaled(View::Cluster);
    press(&mut stage, KeyCode::F(4));
    let shown = whole(&stage);
    for part in ["kubectl scale deployments/web", "then: rev 199", "10/10  nginx:1.26", "3/3  nginx:1.26"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let line = |shown: &str, name: &str| {
        let found = shown.lines().find(|line| line.contains(name));
        found.unwrap_or_else(|| panic!("{name}: {shown}")).to_string()
    };
    assert!(line(&shown, "deployment/web").contains("~ deployment/web"), "{shown}");
    assert!(line(&shown, "pod/web-aaa-00000").contains("1/1 Running"), "{shown}");
    assert!(line(&shown, "pod/web-aaa-00009").contains("- pod/web-aaa-00009"), "{shown}");
    // Nothing was restored, and the pane behind shows the present.
    assert!(!stage.model.cluster.pods.contains_key(&("default".into(), "web-aaa-00009".into())));
    // The difference alone.
    press(&mut stage, KeyCode::Char('d'));
    assert!(matches!(stage.model.overlay, Some(Overlay::Time(0))));
    let shown = whole(&stage);
    assert!(!shown.contains("pod/web-aaa-00000") && shown.contains("- pod/web-aaa-00009"), "{shown}");
    press(&mut stage, KeyCode::Char('d'));
    assert!(whole(&stage).contains("pod/web-aaa-00000"));
    press(&mut stage, KeyCode::Esc);
    assert_eq!(stage.model.overlay, None);
}

#[test]
fn a_moment_before_the_interface_was_opened_has_no_picture() {
    for (lang, words) in [(Lang::En, "is not known"), (Lang::Ko, "모습은 알 수 없습니다")] {
        let mut model = model(120, 36, lang, LOOK);
        model.overlay = Some(Overlay::Time(0));
        let shown = text(&screen(&model));
        assert!(shown.contains("kubectl run pods/web2") && shown.contains(words), "{shown}");
    }
}

#[test]
fn faults_and_finished_steps_are_moments_too() {
    let mut stage = scaled(View::Cluster);
    tell(&mut stage.model, Event::Lesson(Box::new(lesson(Lang::En))));
    let done = LessonView { state: State::Done, ..lesson(Lang::En) };
    tell(&mut stage.model, Event::Lesson(Box::new(done)));
    let crash = tap::Fault::Node { node: "ropewalk-worker".into(), act: tap::Act::Crash };
    let mut record = Record::new(tap::Event::Fault(crash));
    (record.seq, record.component) = (9900, tap::Component::Fault);
    record.at = "2026-01-03T00:00:00Z".parse().expect("a time");
    tell(&mut stage.model, Event::Records(vec![record]));
    stage.model.now = std::time::Duration::from_secs(10);
    stage.put("deployments", super::replay::deployment(5, 3, "nginx:1.26", 300));
    press(&mut stage, KeyCode::F(4));
    let shown = whole(&stage);
    let rows = ["╳ fault ", "✓ first-voyage/04 1/3", "$ kubectl scale deployments/web"];
    let at = rows.map(|row| shown.lines().position(|line| line.contains(row)));
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "the newest first, {at:?}: {shown}");
    // Then three of three, now three of five.
    for part in ["then: rev 226", "3/3  nginx:1.26", "3/5  nginx:1.26"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Older moments stand at the left of the line.
    press(&mut stage, KeyCode::Left);
    press(&mut stage, KeyCode::Left);
    assert_eq!(stage.model.overlay, Some(Overlay::Time(2)));
    assert!(whole(&stage).contains("then: rev 199"), "{}", whole(&stage));
    press(&mut stage, KeyCode::Right);
    assert_eq!(stage.model.overlay, Some(Overlay::Time(1)));
}

#[test]
fn the_marks_of_the_time_view_are_ascii_where_signs_are() {
    let mut stage = scaled(View::Cluster);
    stage.model.look = Look { ascii: true, ..LOOK };
    press(&mut stage, KeyCode::F(4));
    let shown = whole(&stage);
    assert!(shown.is_ascii() && shown.contains("- pod/web-aaa-00009"), "{shown}");
}
