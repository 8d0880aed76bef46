//! The control-plane view: a row for each act, a column for each component.

use super::*;
use crate::tui::model::View;
use tap::{Cause, Component, Request};

const RICH: Look = Look { ascii: false, colour: true, light: false };
const ASCII: Look = Look { ascii: true, colour: false, light: false };

/// The lines of the map at the right of the lesson, without the frame.
pub(super) fn map(model: &Model) -> Vec<String> {
    let (pane, buffer) = (model.panes().map, screen(model));
    let line = |y: u16| {
        let cells = |x: u16| buffer[(x, y)].symbol().to_string();
        (pane.x + 1..pane.right() - 1).map(cells).collect::<String>().trim_end().to_string()
    };
    (pane.y + 1..pane.bottom() - 1).map(line).collect()
}

fn midway(width: u16, height: u16, lang: Lang, look: Look, at: usize) -> Model {
    let mut model = model(width, height, lang, look);
    (model.view, model.chosen) = (View::ControlPlane, true);
    model.traffic.play.playing = false;
    model.traffic.play.at = at;
    model
}

#[test]
fn a_command_is_a_sequence_that_grows_downwards() {
    let lines = map(&midway(120, 36, Lang::En, RICH, 8));
    assert!(lines[0].contains("you") && lines[0].contains("kube-apiserver"), "{lines:#?}");
    assert!(lines[1].contains("authn authz admit valid") && lines[1].contains("worker"), "{lines:#?}");
    assert!(lines[2].contains("├───▶ ✓     ✓     ✓     ✓"), "{lines:#?}");
    assert!(lines[3].contains("──▶■ 860"), "{lines:#?}");
    assert!(lines[4].contains("│◀─── 201  2.0 ms"), "{lines:#?}");
    assert!(lines[5].contains("watch ┄┄┄┼┄┄┄┄┄┄┄┄┄▶│ 2 of 3 fit: 79 / 79"), "{lines:#?}");
    assert!(lines[6].contains("◀───■──────────┤ bind → 861"), "{lines:#?}");
    assert!(lines[7].starts_with(" ▶") && lines[7].contains("│ bound worker"), "{lines:#?}");
    // What comes later is not drawn yet.
    assert!(lines[8..14].iter().all(String::is_empty), "{lines:#?}");
    assert_eq!(lines[14], " Why the scheduler? It watches pods without a node; it gets no calls.");
    assert!(lines[15].starts_with(" ◂◂ ◂ ▶ ▸ ▸▸  $━") && lines[15].contains(" 9/16 "), "{lines:#?}");
}

/// Its column says whose act it is, so the words are short enough to stand at its right.
#[test]
fn a_decision_for_no_node_is_told_in_few_words() {
    for (lang, told) in [(Lang::En, "┄▶│ 0 of 3 fit "), (Lang::Ko, "┄▶│ 0/3 통 과 ")] {
        let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut model = Model::new("main", lang, RICH, Size::new(120, 36), opened);
        super::cluster(&mut model);
        let mut records = records();
        for record in &mut records {
            if let tap::Event::Schedule(decision) = &mut record.event {
                decision.chosen = None;
            }
        }
        tell(&mut model, Event::Records(records));
        (model.view, model.chosen) = (View::ControlPlane, true);
        (model.traffic.play.playing, model.traffic.play.at) = (false, 8);
        let lines = map(&model);
        assert!(lines.iter().any(|line| format!("{line} ").contains(told)), "{lines:#?}");
    }
}

/// It is stopped, or its back-off lasts: nothing comes from it, and the picture says why.
#[test]
fn a_component_that_is_away_has_a_column_with_a_mark() {
    let manager = |phase: &str| {
        let (name, node) = ("kube-controller-manager-ropewalk-control-plane", "ropewalk-control-plane");
        vec![pod("kube-system", name, node, phase, 950)]
    };
    for (width, height) in [(120, 36), (40, 14)] {
        let mut model = midway(width, height, Lang::En, RICH, 8);
        model.focus = crate::tui::layout::Pane::Map;
        all(&mut model, "pods", manager("Running"));
        assert!(!map(&model)[0].contains('╳'), "{:#?}", map(&model));
        all(&mut model, "pods", manager("ImagePullBackOff"));
        assert!(map(&model)[0].contains('╳'), "{:#?}", map(&model));
    }
}

#[test]
fn the_same_sequence_in_ascii_and_in_korean() {
    let lines = map(&midway(120, 36, Lang::En, ASCII, 8));
    assert!(lines[2].contains("|---> +     +     +     +"), "{lines:#?}");
    assert!(lines[5].contains("watch ...+.........>| 2 of 3 fit: 79 / 79"), "{lines:#?}");
    assert!(lines[6].contains("<---#----------| bind > 861"), "{lines:#?}");
    let korean = text(&screen(&midway(120, 36, Lang::Ko, RICH, 8)));
    assert!(korean.contains("왜 스케줄러인가?") && korean.contains("2/3 통과: 79 / 79"), "{korean}");
}

#[test]
fn a_small_pane_has_a_letter_for_each_component() {
    let mut model = midway(40, 14, Lang::En, RICH, 8);
    model.focus = crate::tui::layout::Pane::Map;
    let lines = map(&model);
    assert!(lines[0].starts_with(" y a e s k  kubectl run web2"), "{lines:#?}");
    assert!(lines[1].starts_with(" ├─▶ │ │ │  ✓✓✓✓ validate"), "{lines:#?}");
    assert!(lines[2].starts_with(" │ ├─▶ │ │  revision 860"), "{lines:#?}");
    assert!(lines[3].starts_with(" ◀─┤ │ │ │  create 201"), "{lines:#?}");
    assert!(lines[4].starts_with(" │ │ │ ■ │  2 of 3 fit"), "{lines:#?}");
    assert!(lines[5].starts_with(" │ ◀─┼─┤ │  bind → 861"), "{lines:#?}");
}

/// A component's request: the answer, and the commit if there is a revision.
fn asked(seq: u64, agent: &str, verb: &str, resource: &str, name: &str, revision: u64) -> Vec<Record> {
    let request = Request {
        id: format!("r{seq}"),
        user: "system:kube-controller-manager".into(),
        user_agent: agent.into(),
        verb: verb.into(),
        code: 201,
        ..Request::default()
    };
    let answer = tap::Answer { verb: verb.into(), ..Default::default() };
    let events = [tap::Event::Commit(tap::Write::UPDATED), tap::Event::Answer(answer.into())];
    let record = |(at, event): (usize, tap::Event)| {
        let mut record = Record::new(event)
            .object(resource, "default", name)
            .revision(revision)
            .cause(Some(Cause::Revision(860)));
        (record.seq, record.took_us) = (seq + at as u64, 1000);
        record.at = "2026-11-20T12:06:14Z".parse().expect("a time");
        record.request = Some(request.clone());
        record
    };
    events.into_iter().enumerate().map(record).collect()
}

#[test]
fn equal_acts_are_one_row_and_what_was_written_tells_the_controller() {
    let mut model = midway(120, 36, Lang::En, RICH, 0);
    let manager = "kube-controller-manager/v1.35.0";
    tell(&mut model, Event::Records(asked(9000, manager, "create", "replicasets", "web-1a", 880)));
    for n in 0..3 {
        let name = format!("web-1a-{n}");
        tell(&mut model, Event::Records(asked(9010 + 2 * n, manager, "create", "pods", &name, 881 + n)));
    }
    tell(&mut model, Event::Records(asked(9030, manager, "create", "pods", "job-x", 890)));
    model.traffic.finish();
    let lines = map(&model);
    let line = |part: &str| {
        let found = lines.iter().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("{part}: {lines:#?}")).clone()
    };
    assert!(lines[0].ends_with("d     r     c     s     k"), "{lines:#?}");
    line("create replicasets → 880");
    line("create pods ×3 → 883");
    line("◀─ create pods → 890 ─┤");
    let watches = lines.iter().filter(|line| line.contains(" watch ┄")).count();
    assert!(watches >= 3, "each of them is told by a watch: {lines:#?}");
}

#[test]
fn a_request_that_was_refused_ends_at_its_gate_with_its_message() {
    let mut model = midway(120, 36, Lang::En, RICH, 0);
    let message = "pods is forbidden: User \"guest\" cannot create resource \"pods\"";
    let request = Request {
        id: "refused".into(),
        user: "guest".into(),
        session: "refused".into(),
        command: "kubectl run".into(),
        verb: "create".into(),
        code: 403,
        ..Request::default()
    };
    let answer = tap::Answer { verb: "create".into(), message: message.into(), ..Default::default() };
    let events = [tap::Event::Authenticate { groups: vec![] }, tap::Event::Answer(answer.into())];
    let records = events.into_iter().enumerate().map(|(at, event)| {
        let mut record = Record::new(event).object("pods", "default", "web");
        (record.seq, record.component) = (9900 + at as u64, Component::ApiServer);
        record.at = "2026-11-20T12:07:00Z".parse().expect("a time");
        record.request = Some(request.clone());
        record
    });
    model.traffic.finish();
    tell(&mut model, Event::Records(records.collect()));
    model.traffic.play.playing = false;
    model.traffic.play.at = 1;
    let lines = map(&model);
    assert!(lines[2].contains("├───▶ ✓") && !lines[2].contains("✓     ✓"), "{lines:#?}");
    assert!(lines[3].contains("│◀───────── ✗ authorization 403"), "{lines:#?}");
    assert!(lines[14].contains("cannot create resource"), "{lines:#?}");
}

/// The answer to a request of curl's about the pods, as the API server records it: it has no
/// session, and a look by curl has no record of its stages.
fn curls(seq: u64, user: &str, code: u16, message: &str) -> Event {
    let request = Request {
        id: format!("curl-{seq}"),
        user: user.into(),
        user_agent: "curl/8.5.0".into(),
        verb: "list".into(),
        code,
        ..Request::default()
    };
    let answer = tap::Answer { verb: "list".into(), message: message.into(), ..Default::default() };
    let mut record = Record::new(tap::Event::Answer(answer.into())).object("pods", "default", "");
    (record.seq, record.took_us, record.component) = (seq, 500, Component::ApiServer);
    record.at = "2026-11-20T12:08:00Z".parse().expect("a time");
    record.request = Some(request);
    Event::Records(vec![record])
}

#[test]
fn a_request_of_curl_takes_the_place_of_the_command_before_it() {
    let mut model = midway(120, 36, Lang::En, RICH, 0);
    model.traffic.play.playing = true;
    let forbidden = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\"";
    tell(&mut model, curls(9900, "system:anonymous", 403, forbidden));
    let lines = map(&model);
    assert!(lines[2].contains("├───▶ ✓") && !lines[2].contains("✓     ✓"), "{lines:#?}");
    assert!(lines[3].contains("│◀───────── ✗ authorization 403"), "{lines:#?}");
    assert!(lines[4].is_empty(), "nothing of the command before it: {lines:#?}");
    assert!(lines[14].contains("system:anonymous"), "{lines:#?}");
    // The next one, with a token that the API server does not know.
    tell(&mut model, curls(9901, "", 401, "Unauthorized"));
    let lines = map(&model);
    assert!(lines[2].contains("├───▶") && !lines[2].contains('✓'), "{lines:#?}");
    assert!(lines[3].contains("│◀─── ✗ authentication 401"), "{lines:#?}");
    model.traffic.finish();
    let lines = map(&model);
    assert!(lines[14].contains("curl: refused by authentication (401)"), "{lines:#?}");
    // One that is answered, as a service account, waits until nothing is played.
    tell(&mut model, curls(9902, "system:serviceaccount:default:default", 200, ""));
    let lines = map(&model);
    assert!(lines[2].contains("├───▶ ✓     ✓"), "{lines:#?}");
    assert!(lines[3].contains("│◀─── 200"), "{lines:#?}");
}

/// Programs that a person has started ask all day.
#[test]
fn a_request_without_a_session_of_another_client_takes_no_place() {
    let mut model = midway(120, 36, Lang::En, RICH, 0);
    let before = model.traffic.play.session.clone();
    model.traffic.finish();
    let Event::Records(mut records) = curls(9900, "learner", 200, "") else { unreachable!() };
    records[0].request.as_mut().expect("a request").user_agent = "python-requests/2.32".into();
    tell(&mut model, Event::Records(records));
    assert_eq!(model.traffic.play.session, before);
}
