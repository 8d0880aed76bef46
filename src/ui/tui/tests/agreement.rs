//! The raft view of three members, from records of a real cluster whose leader was cut off and
//! joined again.

use super::sequence::map;
use super::*;
use crate::tui::agreement::{Agreement, Happening, Mark, Role};
use crate::tui::model::View;
use tap::{Act, Component, Fault};

const ELECTION: &str = include_str!("../testdata/election.jsonl");
const NODES: [&str; 3] = ["ropewalk-control-plane", "ropewalk-control-plane2", "ropewalk-control-plane3"];

fn election() -> Vec<Record> {
    ELECTION.lines().map(|l| serde_json::from_str(l).expect("a record")).collect()
}

fn heal(record: &Record) -> bool {
    matches!(record.event, tap::Event::Fault(Fault::Heal))
}

fn told(node: &str, verb: &str, detail: Value) -> Record {
    Record {
        node: node.into(),
        component: Component::Etcd,
        at: "2026-01-01T00:00:00Z".parse().expect("a time"),
        ..Record::new(tap::Event::read(Component::Etcd, verb, detail).expect("an event"))
    }
}

/// Records of an earlier version keep their form: they are written as they were read.
#[test]
fn recorded_streams_are_written_as_they_were_read() {
    let lines = ELECTION.lines().chain(super::RUN.lines());
    for line in lines {
        let record: Record = serde_json::from_str(line).expect("a record");
        assert_eq!(serde_json::to_string(&record).expect("JSON"), line);
    }
}

/// Three towers, and what was heard until the links were healed, or all.
fn towers(width: u16, height: u16, lang: Lang, look: Look, healed: bool) -> Model {
    let mut model = super::model(width, height, lang, look);
    model.view = View::Raft;
    all(&mut model, "nodes", NODES.iter().map(|n| node(n, true, true)).collect());
    let etcd = |n: &&str| pod("kube-system", &format!("etcd-{n}"), n, "Running", 20);
    all(&mut model, "pods", NODES.iter().map(etcd).collect());
    model.traffic.agreement = Agreement::default();
    let heard = election().into_iter().take_while(|r| healed || !heal(r)).collect();
    tell(&mut model, Event::Records(heard));
    model
}

#[test]
fn a_leader_is_cut_off_and_comes_back() {
    let mut out = String::new();
    let rich = Look { colour: true, ..Look::default() };
    for (lang, look) in [(Lang::En, rich), (Lang::Ko, rich), (Lang::En, Look { ascii: true, ..rich })] {
        for (width, height) in [(80, 24), (120, 34), (200, 60)] {
            for healed in [false, true] {
                let model = towers(width, height, lang, look, healed);
                let when = if healed { "healed" } else { "cut" };
                out.push_str(&format!("== {lang:?} {width}x{height} {when}\n{}", text(&screen(&model))));
            }
        }
    }
    insta::assert_snapshot!(out);
}

/// The columns of the members are 14 cells wide: 12, 26 and 40.
#[test]
fn a_line_between_two_members_points_at_none_that_it_passes() {
    let rich = Look { colour: true, ..Look::default() };
    let mut model = towers(120, 36, Lang::En, rich, false);
    let lines = map(&model);
    let (left, gap) = (" ".repeat(12), " ".repeat(13));
    let (lit, line, dots) = ("━".repeat(13), "─".repeat(13), "┄".repeat(13));
    assert_eq!(lines[1], format!("{left}● cp          ★ cp2         ● cp3"));
    assert!(lines[2].starts_with(&format!("{left}cut off       leads         follows")), "{lines:#?}");
    assert_eq!(lines[4], format!("{left}│{gap}├{lit}▶  entries"));
    assert_eq!(lines[5], format!("{left}├┄┄┄┄┄┄✂┄┄┄┄┄┄┤{gap}│  cut"));
    assert_eq!(lines[6], format!("{left}├{dots}┼┄✂┄┄┄┄┄┄┄┄┄┄┄┤  cut"));
    assert!(lines[7].starts_with(" log  committed "), "{lines:#?}");
    assert_eq!(lines[11], format!(" 0.35 s     │{gap}◀{line}┤  votes"));
    assert_eq!(lines[12], format!(" 0.35 s     │{gap}★{gap}│  leads, term 5"));
    // A vote of the first member for the last crosses the line of the one between.
    let vote = told(NODES[0], "vote", json!({"term": 6, "to": NODES[2], "pre": false}));
    model.traffic.agreement.absorb(&vote);
    assert_eq!(map(&model)[14], format!(" 0.00 s     ├{line}┼{line}▶  votes"));
    let ascii = towers(120, 36, Lang::En, Look { ascii: true, ..rich }, false);
    assert_eq!(map(&ascii)[4], format!("{left}|{gap}|{}>  entries", "=".repeat(13)));
}

/// In Korean it is as wide as the columns before the indexes.
#[test]
fn a_gap_stands_between_the_word_for_the_log_and_its_first_index() {
    for (lang, word) in [(Lang::En, " log "), (Lang::Ko, " 로 그  ")] {
        let model = towers(112, 24, lang, Look { colour: true, ..Look::default() }, true);
        let lines = map(&model);
        let rest =
            lines.iter().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("{lines:#?}"));
        assert!(rest.starts_with(|c: char| c.is_ascii_digit()), "{lines:#?}");
    }
}

/// What was broken before the interface was opened, and before the oldest record that is kept.
#[test]
fn faults_that_no_record_tells_of_are_drawn_from_the_list() {
    use cluster::faults::Broken;
    let broken = |fault: &str, nodes: &[&str]| Broken {
        fault: fault.into(),
        component: None,
        nodes: nodes.iter().map(ToString::to_string).collect(),
        amount: None,
        since: "2026-01-01T00:00:00Z".parse().expect("a time"),
    };
    let list = vec![
        broken("cut", &[NODES[0], NODES[1]]),
        broken("slow", &[NODES[0]]),
        broken("crashed", &[NODES[2]]),
    ];
    let mut model = towers(120, 34, Lang::En, Look::default(), true);
    let whole = text(&screen(&model));
    assert!(update(&mut model, Event::Faults(list.clone())).1);
    let agreement = &model.traffic.agreement;
    assert!(agreement.is_cut(NODES[1], NODES[0]) && !agreement.is_cut(NODES[1], NODES[2]));
    assert!(agreement.off.contains(NODES[2]));
    assert_ne!(text(&screen(&model)), whole);
    assert!(!update(&mut model, Event::Faults(list)).1, "nothing new: nothing to draw");
    // A share of loss takes the place of a cut, and the list of that of what was known.
    let lossy = Fault::Loss { a: NODES[0].into(), b: NODES[1].into(), percent: 20.0 };
    tell(&mut model, Event::Records(vec![fault(lossy)]));
    assert!(!model.traffic.agreement.is_cut(NODES[0], NODES[1]));
    assert!(update(&mut model, Event::Faults(vec![])).1);
    assert!(model.traffic.agreement.off.is_empty());
}

#[test]
fn the_story_is_what_the_records_say() {
    let model = towers(120, 34, Lang::En, Look::default(), false);
    let agreement = &model.traffic.agreement;
    assert_eq!(agreement.leader(), Some(NODES[1]));
    assert_eq!((agreement.votes(NODES[1]), agreement.term()), (2, 5));
    assert_eq!(agreement.members[NODES[0]].role, Role::Candidate);
    assert_eq!(agreement.reaches(NODES[0], &NODES).collect::<Vec<_>>(), [NODES[0]]);
    assert_eq!(agreement.reaches(NODES[1], &NODES).collect::<Vec<_>>(), [NODES[1], NODES[2]]);
    let happenings: Vec<(&str, &Happening)> =
        agreement.story.iter().map(|t| (t.who.as_str(), &t.happening)).collect();
    let cut = |n: usize| Happening::Fault(format!("cut {} {}", NODES[0], NODES[n]));
    let second = NODES[1].to_string();
    assert_eq!(
        happenings,
        [
            ("", &cut(1)),
            ("", &cut(2)),
            (NODES[1], &Happening::Timeout),
            (NODES[2], &Happening::Would(second.clone())),
            (NODES[1], &Happening::Stands),
            (NODES[2], &Happening::Votes(second)),
            (NODES[1], &Happening::Leads),
            (NODES[0], &Happening::StepsDown),
            (NODES[0], &Happening::Timeout),
        ]
    );
    let model = towers(120, 34, Lang::En, Look::default(), true);
    assert_eq!(model.traffic.agreement.cuts.len(), 0);
    assert_eq!(model.traffic.agreement.members[NODES[0]].role, Role::Follower);
}

#[test]
fn an_entry_that_lost_its_place_is_told_apart_and_stays_in_sight() {
    let mut agreement = Agreement::default();
    let mut absorb = |node, verb, detail| agreement.absorb(&told(node, verb, detail));
    for node in NODES {
        absorb(node, "append", json!({"last": 10, "batch": 10, "term": 2}));
        absorb(node, "commit", json!({"index": 10, "term": 2}));
    }
    absorb(NODES[0], "append", json!({"last": 12, "batch": 2, "term": 2}));
    for node in &NODES[1..] {
        absorb(node, "append", json!({"last": 40, "batch": 30, "term": 3}));
        absorb(node, "commit", json!({"index": 39, "term": 3}));
    }
    let marks = |agreement: &Agreement, index| NODES.map(|n| agreement.mark(n, index));
    use Mark::{Committed, Lost, Stored};
    assert_eq!(marks(&agreement, 10), [Some(Committed); 3]);
    assert_eq!(marks(&agreement, 40), [None, Some(Stored), Some(Stored)]);
    assert_eq!(marks(&agreement, 11), [Some(Lost), Some(Committed), Some(Committed)]);
    assert_eq!(agreement.lines(4), [11, 38, 39, 40]);
    agreement.absorb(&told(NODES[0], "truncate", json!({"from": 11})));
    assert_eq!(agreement.mark(NODES[0], 11), None);
    assert_eq!(agreement.lines(3), [38, 39, 40]);
}

#[test]
fn entries_that_a_member_catches_up_with_are_not_lost() {
    let mut agreement = Agreement::default();
    let mut absorb = |node, verb, detail| agreement.absorb(&told(node, verb, detail));
    for node in &NODES[1..] {
        absorb(node, "append", json!({"last": 19, "batch": 10, "term": 3}));
        absorb(node, "commit", json!({"index": 19, "term": 3}));
        absorb(node, "append", json!({"last": 20, "batch": 1, "term": 4}));
        absorb(node, "commit", json!({"index": 20, "term": 4}));
    }
    // Entries of term 3 and one of term 4; only of the last the commit is known.
    absorb(NODES[0], "append", json!({"last": 20, "batch": 11, "term": 4}));
    assert_eq!(agreement.mark(NODES[0], 19), Some(Mark::Stored));
    assert_eq!(agreement.mark(NODES[0], 20), Some(Mark::Stored));
    agreement.absorb(&told(NODES[0], "commit", json!({"index": 19, "term": 3})));
    assert_eq!(agreement.mark(NODES[0], 19), Some(Mark::Committed));
}

/// A fault, as the record of `ropewalk fault` tells it.
fn fault(fault: Fault) -> Record {
    Record {
        component: Component::Fault,
        at: "2026-01-01T00:00:00Z".parse().expect("a time"),
        ..Record::new(tap::Event::Fault(fault))
    }
}

fn switched(node: &str, act: Act) -> Record {
    fault(Fault::Node { node: node.into(), act })
}

/// Three members of term 2 that the first leads.
fn led() -> Agreement {
    let mut agreement = Agreement::default();
    agreement.absorb(&told(NODES[0], "role", json!({"role": "Leader", "term": 2})));
    for node in NODES {
        agreement.absorb(&told(node, "leader", json!({"leader": NODES[0], "term": 2})));
    }
    assert_eq!(agreement.leader(), Some(NODES[0]));
    agreement
}

#[test]
fn a_leader_whose_process_was_started_again_leads_no_more() {
    // Its new process hears the new leader, or votes for it, before it writes any record about its
    // own role.
    for (verb, key) in [("leader", "leader"), ("vote", "to")] {
        let mut agreement = led();
        agreement.absorb(&told(NODES[1], "role", json!({"role": "Leader", "term": 3})));
        agreement.absorb(&told(NODES[0], verb, json!({key: NODES[1], "term": 3})));
        assert_eq!(agreement.leader(), Some(NODES[1]), "{verb}");
        assert_eq!(agreement.members[NODES[0]].role, Role::Follower, "{verb}");
    }
    let kill = |component: &str, node: Option<&str>| {
        fault(Fault::Kill { component: component.into(), node: node.map(String::from) })
    };
    for node in [Some(NODES[0]), None] {
        let mut agreement = led();
        agreement.absorb(&kill("etcd", node));
        assert_eq!(agreement.leader(), None, "until the members elect another");
    }
    let mut agreement = led();
    agreement.absorb(&kill("kubelet", Some(NODES[0])));
    assert_eq!(agreement.leader(), Some(NODES[0]), "another component");
}

#[test]
fn a_leader_is_known_from_its_followers_when_its_election_is_not_kept() {
    let mut agreement = Agreement::default();
    agreement.absorb(&told(NODES[1], "leader", json!({"leader": NODES[0], "term": 7})));
    assert_eq!((agreement.leader(), agreement.term()), (Some(NODES[0]), 7));
}

#[test]
fn the_status_bar_names_no_leader_that_is_off() {
    // The story, too, may say that a member hears no leader: the bar is the last line.
    let bar = |model: &Model| text(&screen(model)).lines().last().unwrap_or_default().to_string();
    for (lang, none, leader) in
        [(Lang::En, "no leader", "leader control"), (Lang::Ko, "리더 없음", "리더 control")]
    {
        let mut model = towers(120, 34, lang, Look::default(), false);
        assert!(bar(&model).contains(leader) && !bar(&model).contains(none), "{}", bar(&model));
        for act in [Act::Crash, Act::Stop] {
            model.traffic.agreement = led();
            model.traffic.agreement.absorb(&switched(NODES[0], act));
            assert!(bar(&model).contains(none), "{}", bar(&model));
        }
    }
}

/// Two members that reach each other are a majority, and write nothing before one of them leads.
#[test]
fn writes_go_on_when_a_leader_reaches_a_majority() {
    let mut model = towers(120, 34, Lang::En, Look::default(), true);
    model.traffic.agreement = led();
    let writes = |model: &Model| text(&screen(model)).contains("writes go on");
    let waits = |model: &Model| text(&screen(model)).contains("writes wait");
    assert!(writes(&model) && !waits(&model), "{}", text(&screen(&model)));
    let kill = Fault::Kill { component: "etcd".into(), node: Some(NODES[0].into()) };
    model.traffic.agreement.absorb(&fault(kill));
    assert!(waits(&model) && !writes(&model), "{}", text(&screen(&model)));
    let leads = told(NODES[1], "role", json!({"role": "Leader", "term": 3}));
    model.traffic.agreement.absorb(&leads);
    assert!(writes(&model) && !waits(&model), "{}", text(&screen(&model)));
    for other in [NODES[0], NODES[2]] {
        let cut = Fault::Cut { a: NODES[1].into(), b: other.into() };
        model.traffic.agreement.absorb(&fault(cut));
    }
    assert!(waits(&model) && !writes(&model), "the others have not elected yet");
    // The election is older than the oldest record. A member that is cut off tries to stand.
    model.traffic.agreement = Agreement::default();
    for other in &NODES[1..] {
        model.traffic.agreement.absorb(&fault(Fault::Cut { a: NODES[0].into(), b: (*other).into() }));
    }
    let tries = told(NODES[0], "role", json!({"role": "PreCandidate", "term": 2}));
    model.traffic.agreement.absorb(&tries);
    assert!(writes(&model) && !waits(&model), "{}", text(&screen(&model)));
}

/// The store is elsewhere, or this user may not list pods.
#[test]
fn without_a_pod_of_etcd_there_is_no_quorum_of_none() {
    for (width, height) in [(80, 24), (120, 34)] {
        let mut model = towers(width, height, Lang::En, Look::default(), true);
        for (told, event) in [
            ("No pod of etcd is known", Event::Objects("pods".into(), Delta::Replaced(vec![]))),
            ("may not list: pods", Event::Denied("pods".into())),
        ] {
            tell(&mut model, event);
            let shown = text(&screen(&model));
            assert!(shown.contains(told) && !shown.contains("quorum"), "{shown}");
        }
    }
}

fn stop(node: Option<&str>) -> Record {
    fault(Fault::Stop { component: "etcd".into(), node: node.map(String::from) })
}

fn start(node: Option<&str>) -> Record {
    fault(Fault::Start { component: "etcd".into(), node: node.map(String::from) })
}

#[test]
fn a_member_that_is_stopped_stays_down_until_it_is_started() {
    let mut agreement = led();
    agreement.absorb(&stop(Some(NODES[0])));
    assert_eq!((agreement.is_down(NODES[0]), agreement.leader()), (true, None));
    // The power goes and comes back, and the member is stopped all the same.
    agreement.absorb(&switched(NODES[0], Act::Crash));
    agreement.absorb(&switched(NODES[0], Act::Start));
    assert!(agreement.is_down(NODES[0]));
    agreement.absorb(&start(Some(NODES[0])));
    assert!(!agreement.is_down(NODES[0]));
}

#[test]
fn without_a_name_every_member_is_stopped_and_started_whose_node_is_on() {
    let mut agreement = led();
    agreement.absorb(&switched(NODES[2], Act::Stop));
    agreement.absorb(&stop(None));
    assert!(NODES.iter().all(|node| agreement.is_down(node)));
    agreement.absorb(&switched(NODES[2], Act::Start));
    assert!(!agreement.is_down(NODES[2]), "its node was off when the others were stopped");
    agreement.absorb(&start(None));
    assert!(!NODES.iter().any(|node| agreement.is_down(node)));
}

/// The kubelet of the node and all its pods run on.
#[test]
fn a_node_whose_member_is_stopped_is_not_drawn_as_off() {
    let mut model = towers(120, 34, Lang::En, Look::default(), true);
    model.view = View::Cluster;
    tell(&mut model, Event::Records(vec![stop(Some(NODES[0]))]));
    let shown = text(&screen(&model));
    assert!(shown.contains("● control-plane "), "{shown}");
    tell(&mut model, Event::Records(vec![switched(NODES[0], Act::Crash)]));
    let shown = text(&screen(&model));
    assert!(shown.contains("╳ control-plane "), "{shown}");
}

/// Either may be the answer. What the members reported of themselves stays.
#[test]
fn while_a_lab_asks_for_the_cause_no_link_is_called_cut_and_no_member_off() {
    let names_cut = |lines: &[String]| lines.iter().any(|line| line.contains('✂') || line.contains("cut"));
    let shows = |model: &Model, part: &str| map(model).iter().any(|line| line.contains(part));
    for (width, height) in [(120, 36), (112, 24)] {
        let mut model = towers(width, height, Lang::En, Look::default(), false);
        assert!(names_cut(&map(&model)), "{:#?}", map(&model));
        let lab = ::lab::graded::view::LabView { id: "quiet-tower".into(), ..Default::default() };
        model.lab.learn(lab, std::time::Duration::ZERO);
        assert!(!names_cut(&map(&model)), "{:#?}", map(&model));
        assert!(shows(&model, "asks for"), "{:#?}", map(&model));
        model.traffic.agreement.absorb(&switched(NODES[2], Act::Crash));
        assert!(!shows(&model, "off"), "{:#?}", map(&model));
    }
}

/// A leader that was cut off wrote entries that no other member has, and comes back by a snapshot.
#[test]
fn a_snapshot_takes_the_place_of_the_whole_log() {
    let mut agreement = Agreement::default();
    let mut absorb = |node, verb, detail| agreement.absorb(&told(node, verb, detail));
    absorb(NODES[0], "append", json!({"last": 40, "batch": 30, "term": 2}));
    absorb(NODES[1], "append", json!({"last": 40, "batch": 30, "term": 3}));
    absorb(NODES[1], "commit", json!({"index": 40, "term": 3}));
    absorb(NODES[0], "install-snapshot", json!({"index": 35}));
    assert_eq!(agreement.mark(NODES[0], 36), None, "it is no entry that will be cut off");
    assert_eq!(agreement.members[NODES[0]].applied, 35);
}

#[test]
fn a_member_is_cut_off_by_cuts_alone() {
    let mut agreement = led();
    agreement.absorb(&switched(NODES[1], Act::Crash));
    agreement.absorb(&switched(NODES[2], Act::Crash));
    assert_eq!(agreement.reaches(NODES[0], &NODES).count(), 1);
    assert!(!agreement.is_cut_off(NODES[0], &NODES), "no link is cut");
    let mut model = towers(120, 34, Lang::En, Look::default(), true);
    model.traffic.agreement.off.extend([NODES[1].to_string(), NODES[2].to_string()]);
    let shown = text(&screen(&model));
    assert!(shown.contains("alone") && !shown.contains("cut off"), "{shown}");
    for node in &NODES[1..] {
        agreement.absorb(&fault(Fault::Cut { a: NODES[0].into(), b: node.to_string() }));
    }
    assert!(agreement.is_cut_off(NODES[0], &NODES) && !agreement.is_cut_off(NODES[1], &NODES));
}
