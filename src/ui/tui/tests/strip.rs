//! On a narrow screen the lesson has all columns, and the map says in two lines what it would show.

use super::keys::{mouse, press};
use super::*;
use crate::tui::layout::Pane;
use crate::tui::model::View;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};

const LOOK: Look = Look { ascii: false, colour: true, light: false };

/// A screen of 80 by 24 cells on which no command is played.
fn still(lang: Lang, view: View) -> Model {
    let mut model = model(80, 24, lang, LOOK);
    model.traffic.finish();
    (model.view, model.chosen) = (view, true);
    model
}

/// The two lines of the map.
fn strip(model: &Model) -> [String; 2] {
    let (place, shown) = (model.panes().map, text(&screen(model)));
    assert_eq!((place.height, model.panes().strip), (2, true), "{shown}");
    let line = |y: u16| shown.lines().nth(y.into()).unwrap_or_default().to_string();
    [line(place.y), line(place.y + 1)]
}

#[test]
fn the_map_is_two_lines_and_the_lesson_has_the_width() {
    for (lang, title, hint, check) in [
        (Lang::En, "map: cluster", "F2 whole map", "the pod nginx-pod exists with the image nginx"),
        (Lang::Ko, "그림: 클러스터", "F2 그림 전체", "nginx 이미지를 쓰는 nginx-pod 파드가 있다"),
    ] {
        let model = still(lang, View::Cluster);
        let [counts, news] = strip(&model);
        assert!(counts.trim_start().starts_with(title) && counts.ends_with(hint), "{counts}");
        assert!(counts.contains("worker2 ╳ NotReady") && counts.contains("web 1/4 ◐1"), "{counts}");
        assert!(news.contains("kubectl run web2: "), "{news}");
        let shown = text(&screen(&model));
        let line = shown.lines().find(|line| line.contains(check)).unwrap_or_else(|| panic!("{shown}"));
        assert!(line.starts_with('│') && line.ends_with('│'), "one line over the whole width: {line}");
    }
}

#[test]
fn every_view_has_its_two_lines() {
    for (view, counted, told) in [
        (View::ControlPlane, "kubectl run web2  ", "done after"),
        (View::Raft, "quorum 1 of 1", "committed"),
        (
            View::Scheduling,
            "pod web2  2 of 3 fit: worker",
            "worker ★ 79  worker2 ✓ 79  control-plane ✗ untolerated",
        ),
        (View::Network, "pod-svc  NodePort  localhost:31234 ──▶", "1 of 2 endpoints ready"),
        (View::Rollout, "web  1 of 4 ready  rev 3 0/3 ◐1", ""),
        (View::Pod, "● web2  Running  1/1  nginx:1.27  on worker", ""),
    ] {
        let [counts, news] = strip(&still(Lang::En, view));
        assert!(counts.contains(counted), "{view:?}: {counts}");
        assert!(news.contains(told) && !news.trim().is_empty(), "{view:?}: {news}");
        let korean = strip(&still(Lang::Ko, view));
        assert!(korean.iter().all(|line| !line.trim().is_empty()), "{view:?}: {korean:?}");
    }
}

#[test]
fn the_strip_follows_a_command_and_a_warning_comes_first() {
    let mut model = model(80, 24, Lang::En, LOOK);
    model.traffic.play.playing = false;
    model.traffic.play.at = 8;
    let [counts, news] = strip(&model);
    assert!(counts.contains("▮▮") && news.starts_with(" ▶ "), "{counts}\n{news}");
    model.traffic.finish();
    let event = |name: &str, about: &str, kind: &str, revision: &str| {
        json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": revision},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": about},
            "type": kind, "reason": name, "message": "of it"})
    };
    let broken = "web-5c9c7b9f4d-p5bq4";
    all(&mut model, "events", vec![event("Pulled", "web2", "Normal", "901")]);
    let pods = model.cluster.pods.clone();
    model.cluster.pods.remove(&("default".to_string(), broken.to_string()));
    let [_, news] = strip(&model);
    assert!(news.starts_with(" kubectl run web2: ") && news.contains("Pulled web2: of it"), "{news}");
    model.cluster.pods = pods;
    all(&mut model, "events", vec![event("Failed", broken, "Warning", "902")]);
    let [_, news] = strip(&model);
    let both = format!(" ⚠ {broken} ImagePullBackOff  Failed: of it  kubectl run web2");
    assert!(news.starts_with(&both), "{news}");
    // A pod that is ready again is not warned of, nor one that is gone.
    for about in ["web2", "gone"] {
        all(&mut model, "events", vec![event("Unhealthy", about, "Warning", "903")]);
        let [_, news] = strip(&model);
        assert!(!news.contains("Unhealthy"), "{news}");
    }
}

#[test]
fn f2_shows_the_whole_map_and_goes_back() {
    for (lang, whole, back) in [(Lang::En, "F2 map", "F2 back"), (Lang::Ko, "F2 그림 전체", "F2 뒤로")]
    {
        for (width, height) in [(80, 24), (100, 50), (60, 16)] {
            let mut model = model(width, height, lang, LOOK);
            for pane in [Pane::Shell, Pane::Lesson] {
                model.focus = pane;
                let before = text(&screen(&model));
                assert!(pane == Pane::Lesson || before.contains(whole), "{before}");
                assert_eq!(press(&mut model, KeyCode::F(2)), [], "the shell keeps its size");
                let shown = text(&screen(&model));
                assert!(model.panes().map.width == width && shown.contains(back), "{shown}");
                assert!(model.panes().shell.is_empty() && model.panes().lesson.is_empty());
                press(&mut model, KeyCode::F(2));
                assert_eq!((model.focus, text(&screen(&model))), (pane, before));
            }
            press(&mut model, KeyCode::F(2));
            press(&mut model, KeyCode::Esc);
            assert_eq!(model.focus, Pane::Shell);
        }
    }
    // Where map and lesson stand side by side it makes the pane large, as before.
    for (width, height) in [(110, 24), (120, 36)] {
        let mut model = model(width, height, Lang::En, LOOK);
        assert!(text(&screen(&model)).contains("F2 zoom") && !model.panes().strip);
        press(&mut model, KeyCode::F(2));
        assert_eq!((model.focus, model.zoom, model.panes().shell.width), (Pane::Shell, true, width));
    }
}

#[test]
fn a_click_on_the_strip_opens_the_map() {
    let mut model = still(Lang::En, View::Cluster);
    let y = model.panes().map.y;
    mouse(&mut model, MouseEventKind::Down(MouseButton::Left), 40, y);
    assert_eq!((model.focus, model.panes().strip), (Pane::Map, false));
    press(&mut model, KeyCode::F(2));
    assert_eq!(model.focus, Pane::Shell);
}

#[test]
fn a_pane_can_be_made_large_on_a_narrow_screen_too() {
    let mut model = still(Lang::En, View::Cluster);
    let large = |model: &mut Model| {
        let key = KeyEvent::new(KeyCode::F(2), KeyModifiers::SHIFT);
        tell(model, Event::Key(key))
    };
    assert_eq!(large(&mut model), [Effect::Size(20, 78)]);
    assert!(text(&screen(&model)).contains("F2 zoom"));
    assert_eq!(press(&mut model, KeyCode::F(2)), [Effect::Size(8, 78)], "F2 gives its place back first");
    assert_eq!((model.focus, model.zoom), (Pane::Shell, false));
    press(&mut model, KeyCode::F(6));
    large(&mut model);
    assert_eq!(model.panes().lesson.height, 22);
    super::keys::control(&mut model, ']');
    press(&mut model, KeyCode::Char('f'));
    assert_eq!(model.panes().lesson.height, 10);
}

/// In three lines a text of thirty would need a dozen pages.
#[test]
fn checks_give_room_to_a_long_text() {
    let check = |that: &str, state| Check { that: that.into(), state };
    let view = |words: usize| LessonView {
        prose: "Some words to read. ".repeat(words),
        task: "Do it.".into(),
        checks: vec![
            check("the first is met", Verdict::Met),
            check("the second is missing", Verdict::Unmet),
            check("the third is missing", Verdict::Unmet),
        ],
        ..lesson(Lang::En)
    };
    for (words, is_folded) in [(40, false), (120, true)] {
        let mut model = still(Lang::En, View::Cluster);
        tell(&mut model, Event::Lesson(Box::new(view(words))));
        let shown = text(&screen(&model));
        let read = shown.matches("Some words to read. Some").count();
        assert_eq!(shown.contains("the third is missing"), !is_folded, "{shown}");
        assert!(shown.contains("▸ Do it.") && (read >= 5 || !is_folded), "{shown}");
    }
}

#[test]
fn a_command_of_the_text_is_on_one_line_and_every_missing_check_in_sight() {
    let command = "kubectl create deployment dpy-nginx --image=nginx:1.27 --replicas=3";
    let check = |that: &str, state| Check { that: that.into(), state };
    let view = LessonView {
        prose: format!("{}\n\n```sh\n{command}\n```", "Some words to read. ".repeat(40)),
        task: "Do it.".into(),
        checks: vec![
            check("the first is met", Verdict::Met),
            check("the second is missing", Verdict::Unmet),
            check("the third is met", Verdict::Met),
            check("the fourth is missing", Verdict::Unmet),
        ],
        ..lesson(Lang::En)
    };
    let mut model = still(Lang::En, View::Cluster);
    tell(&mut model, Event::Lesson(Box::new(view)));
    model.focus = Pane::Lesson;
    for end in [KeyCode::Home, KeyCode::End] {
        press(&mut model, end);
        let shown = text(&screen(&model));
        for part in ["▸ Do it.", "✓ 2/4", "the second is missing", "the fourth is missing", "map: "] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        assert!(!shown.contains("the first is met"), "{shown}");
        assert_eq!(shown.contains(command), end == KeyCode::End, "{shown}");
    }
}

/// No view shows Secrets; a Lease is renewed all the time.
#[test]
fn the_status_line_counts_a_write_of_a_kind_that_no_view_shows() {
    let mut model = model(120, 36, Lang::En, Look::default());
    let commit = |resource: &str, revision| {
        let event = tap::Event::Commit(tap::Write::UPDATED);
        Record::new(event).object(resource, "default", "x").revision(revision)
    };
    assert!(text(&screen(&model)).contains("revision 870"));
    tell(&mut model, Event::Records(vec![commit("secrets", 880), commit("leases", 881)]));
    let shown = text(&screen(&model));
    assert!(shown.contains("revision 880"), "{shown}");
}
