//! The time view: a look back at a moment, without going back to it.

use super::replay::{Stage, scaled};
use super::*;
use crate::tui::flow::traffic::{Mark, Marked};
use crate::tui::model::{Overlay, View};
use crate::tui::words::Word;
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
fn the_words_of_a_moment_and_its_revision_do_not_overlap() {
    for (columns, told) in [
        (80, "$ kubectl scale deployments/web     "),
        (50, "$ kubectl scale dep… rev 200"),
        (30, "$ kubectl scal…│"),
    ] {
        let mut stage = scaled(View::Cluster);
        stage.model.size = Size::new(columns, 24);
        press(&mut stage, KeyCode::F(4));
        let shown = whole(&stage);
        assert!(shown.contains(told), "{columns}: {shown}");
    }
}

#[test]
fn autoscalers_namespaces_and_quotas_are_compared_too() {
    let mut stage = scaled(View::Cluster);
    let mut record = Record::new(tap::Event::Fault(tap::Fault::Node {
        node: "ropewalk-worker".into(),
        act: tap::Act::Crash,
    }));
    (record.seq, record.component) = (9900, tap::Component::Fault);
    record.at = "2026-01-03T00:00:00Z".parse().expect("a time");
    let scaler = |used: u64, desired: u64, revision: u64| {
        let target = json!({"type": "Utilization", "averageUtilization": 50});
        json!({"metadata": {"name": "web", "namespace": "default", "resourceVersion": revision.to_string()},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 9,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]},
            "status": {"currentReplicas": 3, "desiredReplicas": desired, "currentMetrics":
                [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": used}}}]}})
    };
    let namespace = |phase: &str, revision: &str| {
        let metadata = json!({"name": "staging", "resourceVersion": revision});
        json!({"metadata": metadata, "status": {"phase": phase}})
    };
    let quota = |used: &str, revision: &str| {
        json!({"metadata": {"name": "small", "namespace": "staging", "resourceVersion": revision},
            "status": {"hard": {"pods": "2"}, "used": {"pods": used}}})
    };
    all(&mut stage.model, "horizontalpodautoscalers", vec![scaler(20, 3, 190)]);
    all(&mut stage.model, "namespaces", vec![namespace("Active", "191")]);
    all(&mut stage.model, "resourcequotas", vec![quota("1", "192")]);
    tell(&mut stage.model, Event::Records(vec![record]));
    stage.model.now = std::time::Duration::from_secs(10);
    stage.put("horizontalpodautoscalers", scaler(90, 6, 300));
    stage.put("resourcequotas", quota("2", "301"));
    stage.put("namespaces", namespace("Terminating", "302"));
    press(&mut stage, KeyCode::F(4));
    let shown = whole(&stage);
    for row in [
        ["~ hpa/web", "3 (1-9) cpu: 20%/50%", "3/6 (1-9) cpu: 90%/"],
        ["~ namespace/staging", "Active ", "Terminating"],
        ["~ quota/small -n staging", "pods: 1/2 ", "pods: 2/2"],
    ] {
        let line =
            shown.lines().find(|line| line.contains(row[0])).unwrap_or_else(|| panic!("{row:?}: {shown}"));
        let places = row.map(|part| line.find(part));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{row:?}: {shown}");
    }
    // What has run out may be the cause that a lab asks for.
    super::labs::lab(&mut stage.model, super::labs::open(Lang::En));
    // A fault would be one, too, and is not in the list of a lab.
    let fault = stage.model.traffic.marks.back().cloned().expect("the fault");
    stage.model.traffic.marks.push_back(Mark { what: Marked::Green("ready".into()), ..fault });
    stage.model.overlay = Some(Overlay::Time(0));
    let shown = whole(&stage);
    assert!(shown.contains("hpa/web") && !shown.contains("quota/small"), "{shown}");
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

/// Enter says so: without a word it would seem to have gone back.
#[test]
fn a_moment_before_the_interface_was_opened_cannot_be_gone_back_to() {
    let mut stage = scaled(View::Cluster);
    let mut record = Record::new(tap::Event::Fault(tap::Fault::Heal));
    (record.seq, record.component) = (9900, tap::Component::Fault);
    record.at = "2025-12-31T00:00:00Z".parse().expect("a time");
    tell(&mut stage.model, Event::Records(vec![record]));
    for code in [KeyCode::F(4), KeyCode::End, KeyCode::Enter] {
        press(&mut stage, code);
    }
    assert_eq!((stage.model.overlay, stage.model.notice), (None, Some(Word::TimeUnknown)));
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
    let revisions = rows.map(|row| shown.lines().find(|line| line.contains(row)).unwrap_or_default());
    let told = ["rev 226", "rev 226", "rev 200"];
    for (line, revision) in revisions.iter().zip(told) {
        assert!(line.contains(revision), "{revision}: nothing made a revision but the command: {shown}");
    }
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
