use super::pace::Pace;
use super::traffic::{READS_MAX, SCALINGS_MAX, SLOWER, Then, Traffic, WRITES_MAX, WRITTEN_MAX};
use super::*;
use tap::{Answer, Request, Write};

fn record(event: Event, resource: &str, revision: u64, cause: Option<Cause>, request: Request) -> Record {
    let made = Record::new(event).object(resource, "default", "web").revision(revision).cause(cause);
    Record { request: Some(request), ..made }
}

fn commit() -> Event {
    Event::Commit(Write::UPDATED)
}

fn answer(verb: &str) -> Event {
    Event::Answer(Box::new(Answer { verb: verb.into(), ..Answer::default() }))
}

/// A pod that crashes and is started again, for hours, is the doing of the command that made
/// it.
#[test]
fn what_one_command_leads_to_is_remembered_within_bounds() {
    let mut traffic = Traffic::new();
    let opened = Timestamp::UNIX_EPOCH;
    let learner =
        Request { id: "r0".into(), session: "s".into(), user: "learner".into(), ..Request::default() };
    traffic.absorb(record(commit(), "pods", 2, None, learner), Duration::ZERO, opened);
    assert_eq!(traffic.flows.len(), 1);
    for n in 2..5_000u64 {
        let resource = if n % 3 == 0 { "events" } else { "pods" };
        let request = Request {
            id: format!("r{n}"),
            user_agent: "kubelet/v1".into(),
            user: "system:node:w".into(),
            ..Request::default()
        };
        let cause = Some(Cause::Revision(n - u64::from(n % 3 == 1)));
        traffic.absorb(record(answer("update"), resource, n + 1, cause, request), Duration::ZERO, opened);
    }
    let flow = &traffic.flows[0];
    assert!(flow.hops.len() > 10, "the chain is followed: {}", flow.hops.len());
    assert!(flow.requests.len() <= HOPS_MAX + 1 && flow.revisions.len() <= HOPS_MAX + 1);
}

/// `kubectl proxy` is one command, and a program asks through it for `/healthz` every second.
#[test]
fn requests_that_name_no_object_are_not_remembered() {
    let mut traffic = Traffic::new();
    for n in 0..1_000 {
        let id = format!("r{n}");
        let request = Request { id, session: "s".into(), user: "learner".into(), ..Request::default() };
        let record = Record { request: Some(request), ..Record::new(answer("get")) };
        traffic.absorb(record, Duration::ZERO, Timestamp::UNIX_EPOCH);
    }
    let flow = &traffic.flows[0];
    assert_eq!((traffic.flows.len(), flow.hops.len(), flow.requests.len()), (1, 0, 0));
}

/// One record of a command of the learner's.
fn told(traffic: &mut Traffic, session: &str, event: Event, revision: u64) {
    let id = format!("{session}-{revision}");
    let request = Request { id, session: session.into(), user: "learner".into(), ..Request::default() };
    traffic.absorb(
        Record { revision: (revision > 0).then_some(revision), ..record(event, "pods", 0, None, request) },
        Duration::ZERO,
        Timestamp::UNIX_EPOCH,
    );
}

#[test]
fn commands_that_only_look_push_out_none_that_wrote() {
    let mut traffic = Traffic::new();
    told(&mut traffic, "scale", Event::Authorize, 0);
    told(&mut traffic, "scale", commit(), 7);
    (0..500).for_each(|n| told(&mut traffic, &format!("get{n}"), Event::Authorize, 0));
    assert!(traffic.flows.iter().any(|f| f.session == "scale" && f.wrote()));
    assert!(traffic.flows.len() <= READS_MAX + 2, "{}", traffic.flows.len());
    for n in 0..500 {
        told(&mut traffic, &format!("set{n}"), commit(), 10 + n);
    }
    assert!(traffic.flows.len() <= READS_MAX + WRITES_MAX + 2, "{}", traffic.flows.len());
    assert!(traffic.flows.iter().any(|f| f.session == "set499"));
}

#[test]
fn a_look_takes_the_stage_only_when_it_is_free_and_nothing_ends_a_pause() {
    let mut traffic = Traffic::new();
    let shown = |traffic: &Traffic| traffic.play.session.clone().unwrap_or_default();
    told(&mut traffic, "scale", commit(), 7);
    assert_eq!(shown(&traffic), "scale");
    told(&mut traffic, "get", Event::Authorize, 0);
    assert_eq!(shown(&traffic), "scale", "it still plays");
    traffic.pause(Duration::ZERO);
    told(&mut traffic, "set", commit(), 8);
    assert_eq!((shown(&traffic).as_str(), traffic.play.playing), ("scale", false), "the learner looks at it");
    traffic.pause(Duration::ZERO);
    told(&mut traffic, "run", commit(), 9);
    assert_eq!(shown(&traffic), "run");
    traffic.finish();
    told(&mut traffic, "get2", Event::Authorize, 0);
    assert_eq!(shown(&traffic), "get2");
}

/// `kubectl get pods` right behind `kubectl run`, whose play takes half a minute.
#[test]
fn a_look_that_came_during_a_play_is_played_behind_it() {
    let opened = || {
        let mut traffic = Traffic::new();
        told(&mut traffic, "run", commit(), 7);
        told(&mut traffic, "get", Event::Authorize, 0);
        told(&mut traffic, "describe", Event::Authorize, 0);
        traffic
    };
    let shown = |traffic: &Traffic| traffic.play.session.clone().unwrap_or_default();
    let mut traffic = opened();
    assert_eq!(shown(&traffic), "run");
    let mut seen = vec![];
    while let Some(due) = traffic.due() {
        assert!(traffic.tick(due), "what is due moves the play");
        seen.push(shown(&traffic));
    }
    assert_eq!(seen.last().map(String::as_str), Some("describe"), "the newest of them: {seen:?}");
    assert!(!traffic.moving() && traffic.due().is_none());
    // To the end at a key; a command that is chosen or played again; one that writes.
    let mut traffic = opened();
    traffic.finish();
    let due = traffic.due().expect("the look");
    assert!(traffic.tick(due) && shown(&traffic) == "describe" && traffic.moving());
    let chosen: [fn(&mut Traffic); 3] = [
        |traffic| traffic.replay(Duration::ZERO),
        |traffic| traffic.choose(-9, Duration::ZERO),
        |traffic| told(traffic, "set", commit(), 8),
    ];
    for choose in chosen {
        let mut traffic = opened();
        choose(&mut traffic);
        let here = shown(&traffic);
        traffic.finish();
        assert!(traffic.due().is_none() && shown(&traffic) == here, "{here}");
    }
    // A learner who has stopped the play looks at it, also at its end.
    let mut traffic = opened();
    traffic.step(9, Duration::ZERO);
    assert!(traffic.due().is_none() && shown(&traffic) == "run");
}

/// The picture is live at the end. A pod that crashes for hours adds hops to the command that made
/// it, and must not hold the picture at one of them.
#[test]
fn what_comes_behind_the_end_of_a_paused_show_is_played() {
    let ends: [fn(&mut Traffic); 2] = [Traffic::finish, |traffic| traffic.step(9, Duration::ZERO)];
    for end in ends {
        let mut traffic = Traffic::new();
        told(&mut traffic, "run", commit(), 7);
        traffic.pause(Duration::ZERO);
        end(&mut traffic);
        assert!(!traffic.moving());
        told(&mut traffic, "run", commit(), 8);
        assert!(traffic.moving() && traffic.play.playing);
        let due = traffic.due().expect("it goes on");
        assert!(traffic.tick(due) && !traffic.moving() && traffic.due().is_none());
    }
}

#[test]
fn heartbeats_push_out_neither_decisions_nor_how_long_the_disk_took() {
    let mut traffic = Traffic::new();
    let etcd = |traffic: &mut Traffic, n: u64| {
        let applied = Event::CommitEntry { index: n, term: 1, fsync_us: Some(n * 10), batch: 1 };
        let made = Record { component: Component::Etcd, ..Record::new(applied).revision(n) };
        traffic.absorb(made, Duration::ZERO, Timestamp::UNIX_EPOCH);
    };
    let decision = Record::new(Event::Schedule(tap::Decision::default())).object("pods", "default", "web");
    traffic.absorb(decision, Duration::ZERO, Timestamp::UNIX_EPOCH);
    etcd(&mut traffic, 7);
    told(&mut traffic, "run", commit(), 7); // after its member
    told(&mut traffic, "scale", commit(), 8); // before it
    (8..20_000).for_each(|n| etcd(&mut traffic, n));
    assert_eq!(traffic.decisions.len(), 1);
    assert_eq!(traffic.flows[0].fsync(7), Some(70));
    assert_eq!(traffic.flows[1].fsync(8), Some(80));
    assert_eq!(traffic.written.len(), WRITTEN_MAX);
    assert!(traffic.written.contains_key(&19_999));
}

/// A member that was started since applies entries whose syncs it does not know.
#[test]
fn a_sync_that_is_not_known_is_no_time_of_the_disk() {
    let mut traffic = Traffic::new();
    let applied = |fsync_us| {
        let event = Event::CommitEntry { index: 7, term: 1, fsync_us, batch: 0 };
        Record { component: Component::Etcd, ..Record::new(event).revision(7) }
    };
    traffic.absorb(applied(None), Duration::ZERO, Timestamp::UNIX_EPOCH);
    told(&mut traffic, "run", commit(), 7);
    assert_eq!(traffic.flows[0].fsync(7), None);
    for (fsync_us, known) in [(None, None), (Some(70), Some(70)), (None, Some(70))] {
        traffic.absorb(applied(fsync_us), Duration::ZERO, Timestamp::UNIX_EPOCH);
        assert_eq!(traffic.flows[0].fsync(7), known);
    }
}

#[test]
fn what_was_shown_and_has_gone_does_not_stop_the_replay() {
    let mut traffic = Traffic::new();
    told(&mut traffic, "run", commit(), 7);
    traffic.play.session = Some("long ago".into());
    traffic.replay(Duration::ZERO);
    assert_eq!(traffic.shown().map(|f| f.session.as_str()), Some("run"));
}

#[test]
fn a_pod_that_apply_looked_for_is_not_there_before_it_is_made() {
    let mut traffic = Traffic::new();
    let answered = |id: &str, verb: &str, code: u16| {
        let request = Request {
            id: id.into(),
            session: "apply".into(),
            user: "learner".into(),
            code,
            ..Request::default()
        };
        record(answer(verb), "pods", 0, None, request)
    };
    told(&mut traffic, "apply", Event::Authorize, 0);
    traffic.absorb(answered("g", "get", 404), Duration::ZERO, Timestamp::UNIX_EPOCH);
    told(&mut traffic, "apply", Event::Authorize, 0);
    told(&mut traffic, "apply", commit(), 7);
    traffic.absorb(answered("c", "create", 201), Duration::ZERO, Timestamp::UNIX_EPOCH);
    let at = |traffic: &mut Traffic, hop: usize| {
        traffic.play.at = hop;
        traffic.stand("default", "web")
    };
    assert_eq!([0, 1, 2].map(|hop| at(&mut traffic, hop)), [Some(Then::NotYet); 3]);
    assert_eq!(at(&mut traffic, 3), Some(Then::Stored));
    // A label on a pod that was there makes none.
    let mut traffic = Traffic::new();
    told(&mut traffic, "apply", commit(), 7);
    traffic.absorb(answered("p", "patch", 200), Duration::ZERO, Timestamp::UNIX_EPOCH);
    assert_eq!(at(&mut traffic, 0), None);
}

#[test]
fn a_pace_has_three_digits() {
    let pace =
        |real, lit| Pace { real: Duration::from_micros(real), lit: Duration::from_micros(lit) }.to_string();
    for (real, lit, said) in [
        (5_000, 500_000, "1/100"),
        (1_000, 250_000, "1/250"),
        (70, 250_000, "1/3570"),
        (8_000, 1_000_000, "1/125"),
        (12_500, 1_200_000, "1/96"),
        (170_000, 250_000, "1/1.5"),
        (250_000, 250_000, "1/1"),
        (3_000_000, 1_200_000, "x2.5"),
        (120_000_000, 1_200_000, "x100.0"),
        (0, 250_000, ""),
    ] {
        assert_eq!(pace(real, lit), said);
    }
}

#[test]
fn of_a_cluster_that_was_replaced_nothing_is_kept() {
    let mut traffic = Traffic::new();
    told(&mut traffic, "run", commit(), 7);
    traffic.lost = 3;
    traffic.restart();
    assert!(traffic.flows.is_empty() && traffic.shown().is_none() && traffic.lost == 0);
    assert_eq!(traffic.play.slower, SLOWER);
}

/// It acts for as long as it exists.
#[test]
fn what_an_autoscaler_does_later_is_no_part_of_the_command_that_made_it() {
    let mut traffic = Traffic::new();
    let absorb = |traffic: &mut Traffic, id: &str, subresource: &str, resource: &str, cause: u64| {
        let request = Request {
            id: id.into(),
            user: "system:kube-controller-manager".into(),
            user_agent: "kube-controller-manager/v1".into(),
            subresource: subresource.into(),
            code: 200,
            ..Request::default()
        };
        for event in [commit(), answer("update")] {
            let cause = Some(Cause::Revision(cause));
            let made = record(event, resource, revision_of(id), cause, request.clone());
            traffic.absorb(made, Duration::ZERO, Timestamp::UNIX_EPOCH);
        }
    };
    told(&mut traffic, "autoscale", commit(), 7);
    // The command is still shown: its first scaling belongs to it.
    absorb(&mut traffic, "r8", "scale", "deployments", 7);
    assert_eq!(traffic.flows.len(), 1);
    traffic.finish();
    absorb(&mut traffic, "r9", "scale", "deployments", 7);
    absorb(&mut traffic, "r10", "", "replicasets", 9);
    let sessions: Vec<&str> = traffic.flows.iter().map(|flow| flow.session.as_str()).collect();
    assert_eq!(sessions, ["autoscale", "r9"]);
    let flow = &traffic.flows[1];
    assert_eq!((flow.command.as_str(), flow.hops.len(), flow.before()), (AUTOSCALER, 2, Some(8)));
    assert!(flow.wrote() && !flow.is_typed());
    assert_eq!(traffic.play.session.as_deref(), Some("autoscale"), "it does not take the stage");
    for n in 20..500 {
        absorb(&mut traffic, &format!("r{n}"), "scale", "deployments", 7);
    }
    assert!(traffic.flows.len() <= SCALINGS_MAX + 2, "{}", traffic.flows.len());
    assert_eq!(traffic.flows[0].session, "autoscale", "no command goes for them");
    traffic.choose(1, Duration::ZERO);
    assert_eq!(traffic.play.session, Some(traffic.flows[1].session.clone()));
}

/// A quota is charged with a pod, and the Endpoints go with their Service.
#[test]
fn what_a_transaction_changed_beside_its_object_does_not_take_its_place() {
    let mut traffic = Traffic::new();
    told(&mut traffic, "scale", commit(), 7);
    let request = Request {
        id: "c".into(),
        user: "system:kube-controller-manager".into(),
        user_agent: "kube-controller-manager/v1".into(),
        code: 201,
        ..Request::default()
    };
    let cause = || Some(Cause::Revision(7));
    let answered = Record { revision: None, ..record(answer("create"), "pods", 0, cause(), request.clone()) };
    let committed = |resource: &str| record(commit(), resource, 9, cause(), request.clone());
    for told in [committed("pods"), committed("resourcequotas"), answered] {
        traffic.absorb(told, Duration::ZERO, Timestamp::UNIX_EPOCH);
    }
    let made = traffic.flows[0].hops.last().expect("the request of the controller");
    let object = made.object.as_ref().map(|object| object.resource.as_str());
    assert_eq!((made.revision, object), (Some(9), Some("pods")));
    assert_eq!(traffic.changed[&9].resource, "pods");
}

/// The API server's own 403 is one of a gate.
#[test]
fn what_a_pod_answers_through_the_proxy_is_refused_by_no_gate() {
    let refused = |from_pod: bool| {
        let mut traffic = Traffic::new();
        let answer = Answer { verb: "get".into(), from_pod, ..Answer::default() };
        let (id, session, user) = ("r".into(), "s".into(), "learner".into());
        let request = Request { id, session, user, code: 403, ..Request::default() };
        let record = record(Event::Answer(answer.into()), "pods", 0, None, request);
        traffic.absorb(Record { revision: None, ..record }, Duration::ZERO, Timestamp::UNIX_EPOCH);
        traffic.flows[0].refused()
    };
    assert_eq!(refused(false), Some((0, 403, Gate::Admission)));
    assert_eq!(refused(true), None);
}

/// `r9` made revision 9.
fn revision_of(id: &str) -> u64 {
    id[1..].parse().unwrap()
}
