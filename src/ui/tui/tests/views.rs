use super::*;
use crate::tui::layout::Pane;
use crate::tui::model::{Overlay, View};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use unicode_width::UnicodeWidthStr;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 34), (200, 60)];
const RICH: Look = Look { ascii: false, colour: true, light: false };
const ASCII: Look = Look { ascii: true, colour: false, light: false };

/// In the middle of the show: the scheduler has chosen.
fn midway(mut model: Model, view: View) -> Model {
    model.view = view;
    model.traffic.play.playing = false;
    model.traffic.play.at = 8;
    model
}

fn shown(view: View) -> String {
    let mut out = String::new();
    for (lang, look, name) in
        [(Lang::En, RICH, "English"), (Lang::Ko, RICH, "Korean"), (Lang::En, ASCII, "ASCII")]
    {
        for (width, height) in SIZES {
            let model = midway(model(width, height, lang, look), view);
            out.push_str(&format!("== {name} {width}x{height}\n{}", text(&screen(&model))));
        }
    }
    out
}

#[test]
fn cluster() {
    insta::assert_snapshot!(shown(View::Cluster));
}

#[test]
fn control_plane() {
    insta::assert_snapshot!(shown(View::ControlPlane));
}

#[test]
fn raft() {
    insta::assert_snapshot!(shown(View::Raft));
}

#[test]
fn scheduling() {
    insta::assert_snapshot!(shown(View::Scheduling));
}

#[test]
fn network() {
    insta::assert_snapshot!(shown(View::Network));
}

#[test]
fn rollout() {
    insta::assert_snapshot!(shown(View::Rollout));
}

#[test]
fn pod_life() {
    insta::assert_snapshot!(shown(View::Pod));
}

#[test]
fn lessons_before_during_and_after() {
    let mut out = String::new();
    for lang in [Lang::En, Lang::Ko] {
        for (width, height) in [(80, 24), (120, 34)] {
            for (name, view) in
                [("asking", asking(lang)), ("done", done(lang)), ("none", LessonView::default())]
            {
                let mut model = model(width, height, lang, RICH);
                model.focus = Pane::Lesson;
                tell(&mut model, Event::Lesson(Box::new(view)));
                out.push_str(&format!("== {lang:?} {width}x{height} {name}\n{}", text(&screen(&model))));
            }
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn overlays_and_small_screens() {
    let mut out = String::new();
    for lang in [Lang::En, Lang::Ko] {
        for overlay in [Overlay::Help(0), Overlay::Views(1), Overlay::Time(0)] {
            let mut model = model(80, 24, lang, RICH);
            model.overlay = Some(overlay);
            out.push_str(&format!("== {lang:?} {overlay:?}\n{}", text(&screen(&model))));
        }
        for focus in [Pane::Shell, Pane::Lesson, Pane::Map] {
            let mut model = model(60, 16, lang, RICH);
            model.focus = focus;
            out.push_str(&format!("== {lang:?} {focus:?}\n{}", text(&screen(&model))));
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn before_the_cluster_answers_the_place_says_what_it_waits_for() {
    let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut model = Model::new("main", Lang::En, RICH, Size::new(80, 24), opened);
    model.now = std::time::Duration::from_secs(3);
    let shown = text(&screen(&model));
    for part in
        ["waiting for the cluster, 3 s", "waiting for the API server, 3 s", "Waiting for the lessons, 3 s"]
    {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
    assert!(model.due().is_some(), "running time is shown, so it has to run");
}

#[test]
fn without_colour_nothing_is_lost_and_nothing_is_coloured() {
    for view in View::ALL {
        let plain = Look { colour: false, ..RICH };
        let with = midway(model(120, 34, Lang::En, RICH), *view);
        let without = midway(model(120, 34, Lang::En, plain), *view);
        let (with, without) = (screen(&with), screen(&without));
        assert_eq!(text(&with), text(&without), "{view:?}");
        assert!(without.content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset), "{view:?}");
        assert!(with.content.iter().any(|c| c.fg != Color::Reset), "{view:?}");
    }
}

#[test]
fn ascii_is_ascii_but_for_what_programs_print() {
    for view in View::ALL {
        let mut model = midway(model(120, 34, Lang::En, ASCII), *view);
        tell(&mut model, Event::Shell(b"\x1b[2J".to_vec()));
        let shown = text(&screen(&model));
        let strange: Vec<char> = shown.chars().filter(|c| !c.is_ascii()).collect();
        assert!(strange.is_empty(), "{view:?}: {strange:?} in\n{shown}");
    }
}

/// However little room there is, the line at the foot of the map is one sentence.
#[test]
fn a_service_without_endpoints_says_why() {
    let mut model = Model::new("main", Lang::En, RICH, Size::new(200, 60), clock::now());
    super::cluster(&mut model);
    model.view = View::Network;
    all(&mut model, "endpointslices", vec![]);
    assert!(text(&screen(&model)).contains("No pod carries these labels"), "{}", text(&screen(&model)));
    let mut waiting = pod("default", "web-1", "", "Pending", 900);
    waiting["metadata"]["labels"] = json!({"app": "web"});
    tell(&mut model, Event::Objects("pods".into(), Delta::Updated(waiting)));
    let shown = text(&screen(&model));
    assert!(shown.contains("Pods with these labels: 1") && !shown.contains("No pod carries"), "{shown}");
    // Of a Service without a selector no pods are looked for.
    let service = json!({"metadata": {"name": "alias", "namespace": "default", "resourceVersion": "950"},
        "spec": {"type": "ExternalName", "externalName": "example.com"}});
    all(&mut model, "services", vec![service]);
    assert!(!text(&screen(&model)).contains("these labels"), "{}", text(&screen(&model)));
}

/// The lab `broken-selector` asks why a Service has no endpoints.
#[test]
fn why_a_service_has_no_endpoints_is_not_said_while_a_lab_asks_for_the_cause() {
    let lab = super::labs::open(Lang::En);
    let given_away = ::lab::graded::view::LabView { over: true, ..lab.clone() };
    for (size, focus) in [((200, 60), Pane::Shell), ((80, 24), Pane::Shell), ((80, 24), Pane::Map)] {
        let shown = |lab: &::lab::graded::view::LabView| {
            let mut model = Model::new("main", Lang::En, RICH, Size::new(size.0, size.1), clock::now());
            super::cluster(&mut model);
            model.traffic.finish();
            all(&mut model, "endpointslices", vec![]);
            super::labs::lab(&mut model, lab.clone());
            (model.view, model.chosen, model.focus) = (View::Network, true, focus);
            text(&screen(&model))
        };
        let asked = shown(&lab);
        assert!(!asked.contains("No pod carries") && asked.contains("0 of 0 endpoints"), "{size:?}: {asked}");
        let told = shown(&given_away);
        assert!(told.contains("No pod carries these labels"), "{size:?}: {told}");
    }
}

#[test]
fn a_small_map_is_not_drawn_over_its_foot() {
    for height in 6..16 {
        let mut model = midway(model(40, height, Lang::En, RICH), View::Cluster);
        model.cluster = Default::default(); // without a past that the replay would show
        all(&mut model, "nodes", vec![node("ropewalk-control-plane", true, true), node("w", false, true)]);
        all(&mut model, "pods", vec![]);
        model.focus = Pane::Map;
        let shown = text(&screen(&model));
        let mut above = shown.lines().rev().skip(2).filter(|line| !line.contains("◂◂"));
        let foot = above.next().expect("above the frame and the line of the play head");
        assert!(foot.starts_with("│ ▶ ") && !foot.contains("Ready"), "{height}: {shown}");
    }
}

/// Signs of pods and "+N more nodes" stand above the foot, too, or nowhere.
#[test]
fn pods_and_nodes_without_room_are_not_drawn_over_the_foot() {
    for (height, nodes) in (6..16).flat_map(|height| [(height, 1), (height, 9)]) {
        let mut model = midway(model(79, height, Lang::En, RICH), View::Cluster);
        model.cluster = Default::default(); // without a past that the replay would show
        let names: Vec<String> = (0..nodes).map(|n| format!("w{n}")).collect();
        all(&mut model, "nodes", names.iter().map(|name| node(name, false, true)).collect());
        let pods = [("kube-system", "dns"), ("default", "a"), ("default", "b")];
        let pods = pods.map(|(namespace, name)| pod(namespace, name, "w0", "Running", 9));
        all(&mut model, "pods", pods.to_vec());
        model.focus = Pane::Map;
        let shown = text(&screen(&model));
        let mut above = shown.lines().rev().skip(2).filter(|line| !line.contains("◂◂"));
        let foot = above.next().expect("above the frame and the line of the play head");
        assert!(foot.starts_with("│ ▶ ") && !foot.contains("more"), "{height}, {nodes}: {shown}");
    }
}

/// Whatever the size, nothing panics, and every line is as wide as the screen at most: no syllable
/// is cut or pushed over the edge.
#[test]
fn every_size_can_be_drawn() {
    for (width, height) in [
        (1, 1),
        (2, 3),
        (4, 4),
        (6, 20),
        (10, 5),
        (13, 8),
        (20, 5),
        (30, 8),
        (33, 9),
        (79, 24),
        (80, 24),
        (81, 25),
        (109, 30),
        (110, 29),
        (110, 30),
        (300, 12),
        (200, 60),
    ] {
        for view in View::ALL {
            for focus in [Pane::Shell, Pane::Lesson, Pane::Map] {
                for zoom in [false, true] {
                    let mut model = midway(model(80, 24, Lang::Ko, RICH), *view);
                    (model.focus, model.zoom) = (focus, zoom);
                    tell(&mut model, Event::Resize(Size::new(width, height)));
                    tell(&mut model, Event::Lesson(Box::new(done(Lang::Ko))));
                    model.view = *view; // the lesson has brought its own
                    for line in text(&screen(&model)).lines() {
                        assert!(line.width() <= usize::from(width), "{width}x{height} {view:?}: {line:?}");
                    }
                    for overlay in [Overlay::Help(0), Overlay::Views(0), Overlay::Time(0)] {
                        model.overlay = Some(overlay);
                        screen(&model);
                    }
                }
            }
        }
    }
}

#[test]
fn a_pod_that_bears_an_old_ones_name_does_not_show_the_old_ones_life() {
    let mut model = model(120, 34, Lang::En, Look { colour: true, ..Look::default() });
    model.view = View::Pod;
    let mut web2 = pod("default", "web2", "ropewalk-worker", "Running", 900);
    all(&mut model, "pods", vec![web2.clone()]);
    model.traffic.finish();
    assert!(text(&screen(&model)).contains("pull nginx"), "{}", text(&screen(&model)));
    let last = records().last().expect("records").at;
    let later = clock::Timestamp::from_second(last.as_second() + 2).expect("a time");
    web2["metadata"]["creationTimestamp"] = json!(later.to_string());
    all(&mut model, "pods", vec![web2]);
    assert!(!text(&screen(&model)).contains("pull nginx"));
}

/// What comes from a cluster may be anything: a container's message, a name in a foreign cluster.
#[test]
fn no_text_of_the_cluster_reaches_the_terminal_as_an_order() {
    let odd = [
        "\x1b[2J\x1b]0;x\x07",
        "e\u{301}\u{301}",
        "파드\n\t파드",
        "👩\u{200d}🚀\u{fe0f}",
        "\u{202e}abc\u{9b}1m",
        "\0",
    ];
    for (at, odd) in odd.into_iter().enumerate() {
        for look in [RICH, Look { ascii: true, ..RICH }] {
            let mut model = model(80, 24, Lang::Ko, look);
            model.traffic.finish();
            let name = format!("{odd}{at}");
            all(&mut model, "nodes", vec![node(&name, true, true), node("w", false, true)]);
            all(&mut model, "pods", vec![pod("default", &name, &name, odd, 900)]);
            all(
                &mut model,
                "events",
                vec![json!({"metadata": {"name": "e", "namespace": "default", "resourceVersion": "901"},
                "involvedObject": {"kind": "Pod", "namespace": "default", "name": name},
                "type": "Warning", "reason": odd, "message": odd.repeat(40)})],
            );
            let mut view = done(Lang::Ko);
            (view.debrief, view.notices) = (vec![odd.repeat(9)], vec![odd.into()]);
            (view.lost, view.also) = (Some(odd.into()), vec![vec![odd.into()]]);
            tell(&mut model, Event::Lesson(Box::new(view)));
            tell(&mut model, Event::Refused(odd.into()));
            for (width, height) in [(20, 5), (33, 9), (80, 24), (120, 34)] {
                tell(&mut model, Event::Resize(Size::new(width, height)));
                for view in View::ALL {
                    for focus in [Pane::Lesson, Pane::Map] {
                        (model.view, model.focus) = (*view, focus);
                        let shown = text(&screen(&model));
                        assert!(!shown.replace('\n', "").contains(char::is_control), "{view:?} {odd:?}");
                        for line in shown.lines() {
                            assert!(line.width() <= usize::from(width), "{view:?} {odd:?}: {line:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_pod_whose_node_was_deleted_is_still_on_the_map() {
    for (lang, words) in [(Lang::En, "on a deleted node: gone-1"), (Lang::Ko, "삭제된 노드의 파드: gone-1")]
    {
        let mut model = model(120, 34, lang, RICH);
        model.traffic.finish();
        let pods = ["gone-1", "stays-1"].map(|name| {
            let node = if name == "gone-1" { "ropewalk-worker2" } else { "ropewalk-worker" };
            pod("default", name, node, "Running", 900)
        });
        all(&mut model, "pods", pods.to_vec());
        assert!(!text(&screen(&model)).contains(words));
        let nodes = vec![node("ropewalk-control-plane", true, true), node("ropewalk-worker", false, true)];
        all(&mut model, "nodes", nodes);
        let shown = text(&screen(&model));
        assert!(shown.contains(words), "{shown}");
        let real = LessonView { clock: Some(1), ..lesson(lang) };
        tell(&mut model, Event::Lesson(Box::new(real)));
        assert!(!text(&screen(&model)).contains("×1") && !text(&screen(&model)).contains("clock"));
    }
}

#[test]
fn a_decision_about_a_pod_that_is_gone_says_so() {
    for (lang, gone) in [(Lang::En, "deleted since"), (Lang::Ko, "삭제됨")] {
        let mut model = midway(model(120, 34, lang, RICH), View::Scheduling);
        let shown = text(&screen(&model));
        assert!(shown.contains("pod web2") && !shown.contains(gone), "{shown}");
        all(&mut model, "pods", vec![]);
        let shown = text(&screen(&model));
        assert!(shown.contains("pod web2") && shown.contains(gone), "{shown}");
    }
}

#[test]
fn a_warning_is_told_by_a_sign_and_not_by_colour_alone() {
    let mut model = model(120, 34, Lang::En, Look { ascii: true, ..Look::default() });
    model.view = View::Pod;
    all(&mut model, "pods", vec![pod("default", "lonely", "ropewalk-worker", "Running", 900)]);
    let event = |name: &str, kind: &str, rv: &str| {
        json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": rv},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "lonely"},
            "type": kind, "reason": name, "message": "of it"})
    };
    all(&mut model, "events", vec![event("Pulled", "Normal", "901"), event("BackOff", "Warning", "902")]);
    model.traffic.finish();
    let shown = text(&screen(&model));
    assert!(shown.contains("! BackOff: of it") && shown.contains("  Pulled: of it"), "{shown}");
}

/// `kubectl replace --force`, or `delete` and `run` with the same name.
#[test]
fn events_of_a_pod_that_was_deleted_are_not_those_of_its_namesake() {
    let mut model = model(120, 34, Lang::En, Look::default());
    model.view = View::Pod;
    model.traffic.finish();
    let mut again = pod("default", "lonely", "ropewalk-worker", "ContainerCreating", 900);
    again["metadata"]["uid"] = json!("second");
    all(&mut model, "pods", vec![again]);
    let event = |uid: &str, reason: &str, rv: &str| {
        json!({"metadata": {"name": reason, "namespace": "default", "resourceVersion": rv},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "lonely", "uid": uid},
            "type": "Warning", "reason": reason, "message": "of it"})
    };
    let events = vec![event("first", "BackOff", "890"), event("second", "FailedMount", "901")];
    all(&mut model, "events", events.clone());
    for size in [(120, 34), (80, 24)] {
        tell(&mut model, Event::Resize(Size::new(size.0, size.1)));
        let shown = text(&screen(&model));
        assert!(shown.contains("FailedMount") && !shown.contains("BackOff"), "{size:?}: {shown}");
    }
    model.view = View::Cluster;
    all(&mut model, "events", events[..1].to_vec());
    assert!(!text(&screen(&model)).contains("BackOff"), "the newest event, in two lines");
}

#[test]
fn a_sign_with_a_variation_selector_hides_nothing() {
    let mut model = model(120, 34, Lang::En, Look { colour: true, ..Look::default() });
    tell(&mut model, Event::Shell("\x1b[2J\x1b[H\u{2714}\u{fe0f}done".as_bytes().to_vec()));
    assert!(text(&screen(&model)).contains("\u{2714}done"));
}

/// Characters that reorder the text around them, as the log of a pod may have them.
#[test]
fn what_a_program_prints_reorders_no_row_of_the_screen() {
    let mut model = model(120, 34, Lang::En, Look::default());
    let printed = "\x1b[2J\x1b[Ha\u{202e}b\u{2066}c\u{200f}\u{61c}de\u{301}";
    tell(&mut model, Event::Shell(printed.as_bytes().to_vec()));
    let shown = text(&screen(&model));
    assert!(shown.contains("abcde\u{301}"), "{shown}");
    assert!(!shown.contains(::lang::charset::reorders), "{shown}");
}

#[test]
fn a_window_of_a_few_rows_is_drawn_whatever_is_pressed() {
    for height in 1..8 {
        let mut model = model(80, height, Lang::En, Look::default());
        for code in
            [KeyCode::F(6), KeyCode::Down, KeyCode::PageDown, KeyCode::End, KeyCode::F(6), KeyCode::Down]
        {
            tell(&mut model, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
            screen(&model);
        }
    }
}

#[test]
fn a_lost_base_is_told_in_the_engines_own_sentence() {
    let sentences = [
        (Lang::En, "This step builds on something that is gone: pods/web. `goto run` brings it back."),
        (
            Lang::Ko,
            "이 단계에 필요한 오브젝트가 없어졌습니다: pods/web. `goto run` 명령으로 되돌릴 수 있습니다.",
        ),
    ];
    for (lang, sentence) in sentences {
        let mut model = model(200, 60, lang, RICH);
        let asked = LessonView { lost: Some(sentence.into()), ..lesson(lang) };
        tell(&mut model, Event::Lesson(Box::new(asked)));
        let shown = text(&screen(&model));
        // The pane wraps the sentence, and stands beside others.
        for part in ["pods/web", "goto"] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        assert!(!shown.contains("undo"), "{shown}");
    }
}

#[test]
fn the_last_line_says_how_fast_the_clock_runs() {
    for (lang, look, words) in
        [(Lang::En, RICH, "clock ×20"), (Lang::Ko, RICH, "×20"), (Lang::En, ASCII, "clock x20")]
    {
        let mut model = model(200, 60, lang, look);
        assert!(!text(&screen(&model)).contains(words), "nobody has told it");
        let told = LessonView { clock: Some(20), ..lesson(lang) };
        tell(&mut model, Event::Lesson(Box::new(told)));
        let shown = text(&screen(&model));
        assert!(shown.contains(words), "{shown}");
    }
}

/// The cluster beside the question shows where the pod is, which is what the question asks.
#[test]
fn on_a_large_screen_no_picture_answers_a_question_before_the_guess() {
    let mut model = model(120, 36, Lang::En, Look::default());
    let shown = |model: &Model| text(&screen(model));
    let note = "once you have guessed";
    assert!(shown(&model).contains("worker2 ╳") && !shown(&model).contains(note));
    tell(&mut model, Event::Lesson(Box::new(asking(Lang::En))));
    assert!(!shown(&model).contains("worker2 ╳") && shown(&model).contains(note), "{}", shown(&model));
    // No turn through the panes ends there.
    for focus in [Pane::Lesson, Pane::Shell, Pane::Lesson] {
        super::keys::press(&mut model, KeyCode::F(6));
        assert_eq!(model.focus, focus);
        assert!(!shown(&model).contains("worker2 ╳"), "{}", shown(&model));
    }
    let back = KeyEvent::new(KeyCode::F(6), KeyModifiers::SHIFT);
    for focus in [Pane::Shell, Pane::Lesson, Pane::Shell] {
        tell(&mut model, Event::Key(back));
        assert_eq!(model.focus, focus);
    }
    // A learner who goes there on purpose, or chooses a picture, sees it.
    model.go_to(Pane::Map);
    assert!(shown(&model).contains("worker2 ╳"), "{}", shown(&model));
    model.go_to(Pane::Shell);
    assert!(!shown(&model).contains("worker2 ╳"));
    model.show(View::Cluster);
    assert!(shown(&model).contains("worker2 ╳"), "{}", shown(&model));
    let guessed = LessonView { predict: done(Lang::En).predict, ..lesson(Lang::En) };
    tell(&mut model, Event::Lesson(Box::new(asking(Lang::En))));
    tell(&mut model, Event::Lesson(Box::new(guessed)));
    assert!(!shown(&model).contains(note));
}
