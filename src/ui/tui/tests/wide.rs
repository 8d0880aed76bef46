//! The views of one object where there is room for all that they know.

use super::sequence::map;
use super::*;
use crate::tui::model::View;
use crate::tui::text::time_of_day;
use std::time::Duration;
use tap::{Component, Decision, Refusal, Verdict};

const RICH: Look = Look { ascii: false, colour: true, light: false };
const ASCII: Look = Look { ascii: true, colour: false, light: false };

/// A view at the end of the command, in the map of a screen of 120 by 36.
fn ended(view: View, lang: Lang, look: Look) -> Model {
    let mut model = model(120, 36, lang, look);
    (model.view, model.chosen) = (view, true);
    model.traffic.finish();
    model
}

/// Each part stands in one of the lines.
fn assert_shows(lines: &[String], parts: &[&str]) {
    for part in parts {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }
}

/// A decision about a pod that no node can take.
fn refused(pod: &str) -> Record {
    let refusal = |filter: &'static str, reason: &str, detail: Option<&str>| Refusal {
        filter: filter.into(),
        reason: reason.into(),
        detail: detail.map(String::from),
        final_: false,
    };
    let taint = refusal("TaintToleration", "node(s) had untolerated taint(s)", Some("{dedicated: db}"));
    let full = refusal("NodeResourcesFit", "Insufficient cpu", None);
    let verdict = |node: &str, refused: Refusal| Verdict {
        node: node.into(),
        refused: vec![refused],
        ..Verdict::default()
    };
    let verdicts = vec![verdict("ropewalk-worker", full), verdict("ropewalk-worker2", taint)];
    let mut record = Record::new(tap::Event::Schedule(Decision { verdicts, chosen: None }));
    record = record.object("pods", "default", pod);
    (record.seq, record.component) = (9000, Component::Scheduler);
    record.at = "2026-11-20T12:07:00Z".parse().expect("a time");
    record
}

#[test]
fn a_decision_names_the_plug_in_that_refused_and_older_ones_have_a_line() {
    let mut model = ended(View::Scheduling, Lang::En, RICH);
    assert_shows(
        &map(&model),
        &[
            "control-plane  ✗ TaintToleration: untolerated taint(s)  ",
            "  {node-role.kubernetes.io/control-plane: }",
            "worker         ✓ NodeResourcesFit 79",
            "79 ★",
            "chosen: worker  0.38 ms",
        ],
    );
    tell(&mut model, Event::Records(vec![refused("big")]));
    assert_shows(
        &map(&model),
        &[
            " pod big",
            "worker    ✗ NodeResourcesFit: Insufficient cpu",
            "worker2   ✗ TaintToleration: untolerated taint(s)",
            "no node fits: the pod waits",
            " earlier decisions",
            " web2      ★ worker 79  ✓ worker2 79  ✗ TaintToleration control-plane",
        ],
    );
    let lines = map(&{
        let mut model = ended(View::Scheduling, Lang::Ko, RICH);
        tell(&mut model, Event::Records(vec![refused("big")]));
        model
    });
    assert!(lines.join("").replace(' ', "").contains("이전결정"), "{lines:#?}");
}

#[test]
fn a_decision_that_the_play_head_has_not_come_to_is_no_earlier_one() {
    let mut model = ended(View::Scheduling, Lang::En, RICH);
    tell(&mut model, Event::Records(vec![refused("big")]));
    model.traffic.play.at = 0;
    assert!(!map(&model).join("\n").contains("web2  "), "{:#?}", map(&model));
}

/// `kubectl rollout pause`: a new template waits, and no pod tells why.
#[test]
fn a_rollout_that_is_paused_says_so() {
    let web = |paused: bool| {
        json!({"metadata": {"name": "web", "namespace": "default", "resourceVersion": "990"},
            "spec": {"replicas": 4, "paused": paused, "template": {"spec": {"containers": []}}}})
    };
    for (lang, word) in [(Lang::En, "paused"), (Lang::Ko, "일시 중지됨")] {
        for size in [(120, 36), (112, 24), (80, 24)] {
            let mut model = model(size.0, size.1, lang, RICH);
            (model.view, model.chosen) = (View::Rollout, true);
            model.traffic.finish();
            all(&mut model, "deployments", vec![web(false)]);
            assert!(!text(&screen(&model)).contains(word), "{size:?}: {}", text(&screen(&model)));
            all(&mut model, "deployments", vec![web(true)]);
            assert!(text(&screen(&model)).contains(word), "{size:?}: {}", text(&screen(&model)));
        }
    }
}

#[test]
fn a_rollout_stands_between_the_fewest_and_the_most_pods() {
    let created = "2026-11-20T12:00:00Z";
    let mut model = ended(View::Rollout, Lang::En, RICH);
    let mut old = pod("default", "web-76f8d594c6-7ksfg", "ropewalk-worker", "Running", 801);
    old["metadata"]["creationTimestamp"] = json!(created);
    let new = pod("default", "web-5c9c7b9f4d-jc628", "ropewalk-worker2", "ContainerCreating", 805);
    all(&mut model, "pods", vec![old, new]);
    let set = json!({"metadata": {"name": "web-aaaa", "namespace": "default",
            "annotations": {"deployment.kubernetes.io/revision": "1", "kubernetes.io/change-cause": "first"},
            "ownerReferences": [{"name": "web", "controller": true}]},
        "spec": {"replicas": 0, "template": {"spec": {"containers": [{"name": "c", "image": "nginx:1.25"}]}}}});
    tell(&mut model, Event::Objects("replicasets".into(), Delta::Updated(set)));
    let lines = map(&model);
    assert_eq!(
        lines[2],
        format!(" pods     {}{}{}  now 2, ready 1", "█".repeat(6), "□".repeat(6), "░".repeat(18))
    );
    // Below the last cell of the third pod and of the fifth.
    assert_eq!(lines[3], format!("{}min 3 ▲{}▲ max 5", " ".repeat(21), " ".repeat(11)));
    assert_shows(
        &lines,
        &[
            " rev 3  web-5c9c7b9f4d  nginx:1.27  0 of 3 ready  ◐",
            " rev 2  web-76f8d594c6  nginx:1.26  1 of 1 ready  ●",
            "   ◐ web-5c9c7b9f4d-jc628        ContainerCreating   worker2 ╳",
            "   ● web-76f8d594c6-7ksfg        Running             worker",
            " history  rev 1  web-aaaa  nginx:1.25  first",
        ],
    );
    assert!(lines.iter().any(|line| line.contains("7ksfg") && line.ends_with(" 6 min")), "{lines:#?}");
}

#[test]
fn many_pods_of_a_rollout_are_counted() {
    let mut model = ended(View::Rollout, Lang::En, RICH);
    let state = |n: usize| if n == 25 { "ImagePullBackOff" } else { "Running" };
    let name = |n: usize| format!("web-5c9c7b9f4d-{n:05}");
    let pods = (0..30).map(|n| pod("default", &name(n), "ropewalk-worker", state(n), 900));
    all(&mut model, "pods", pods.collect());
    let shown = map(&model).join("\n");
    assert!(shown.contains("now 30, ready 29") && shown.contains(" more"), "{shown}");
    assert!(shown.contains("✗ web-5c…00025"), "those that are not well come first: {shown}");
}

#[test]
fn an_evicted_pod_is_none_of_those_that_a_rollout_counts() {
    let mut model = ended(View::Rollout, Lang::En, RICH);
    let runs = pod("default", "web-5c9c7b9f4d-jc628", "ropewalk-worker", "Running", 900);
    let mut evicted = pod("default", "web-5c9c7b9f4d-p5bq4", "ropewalk-worker", "Evicted", 901);
    evicted["status"]["phase"] = json!("Failed");
    all(&mut model, "pods", vec![runs, evicted]);
    let shown = map(&model).join("\n");
    assert!(shown.contains("now 1, ready 1") && shown.contains("✗ web-5c9c7b9f4d-p5bq4"), "{shown}");
}

#[test]
fn ages_are_counted_anew_and_nothing_else_moves() {
    let mut model = ended(View::Rollout, Lang::En, RICH);
    assert_eq!(model.due(), None, "no object has an age");
    let last = records().last().expect("records").at;
    let mut young = pod("default", "web-5c9c7b9f4d-jc628", "ropewalk-worker2", "Running", 805);
    young["metadata"]["creationTimestamp"] = json!(last.to_string());
    tell(&mut model, Event::Objects("pods".into(), Delta::Updated(young)));
    assert_eq!(model.due(), Some(Duration::from_secs(1)));
    model.view = View::Cluster;
    assert_eq!(model.due(), None, "this view shows no ages");
}

#[test]
fn a_pod_of_the_cluster_itself_has_an_age_that_is_counted_where_there_is_no_other() {
    let mut model = ended(View::Pod, Lang::En, RICH);
    let last = records().last().expect("records").at;
    let mut young = pod("kube-system", "coredns-1", "ropewalk-worker", "Running", 805);
    young["metadata"]["creationTimestamp"] = json!(last.to_string());
    all(&mut model, "pods", vec![young]);
    assert!(text(&screen(&model)).contains("coredns-1"));
    assert_eq!(model.due(), Some(Duration::from_secs(1)));
    model.view = View::Rollout;
    assert_eq!(model.due(), None, "this view shows none of them");
}

/// A pod whose container has crashed and waits, with a probe.
fn crashing() -> Value {
    let at = "2026-11-20T12:00:10Z";
    let since = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": at});
    json!({
        "metadata": {"name": "web", "namespace": "default", "resourceVersion": "990",
            "creationTimestamp": "2026-11-20T12:00:09Z"},
        "spec": {"nodeName": "ropewalk-worker", "containers": [{"name": "c", "image": "nginx",
            "readinessProbe": {"httpGet": {"port": 80, "path": "/healthz"}}}]},
        "status": {"phase": "Running",
            "conditions": [since("PodScheduled", "True", ""), since("Initialized", "True", ""),
                since("ContainersReady", "False", "ContainersNotReady"),
                since("Ready", "False", "ContainersNotReady")],
            "containerStatuses": [{"name": "c", "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff",
                    "message": "back-off 40s restarting failed container=c pod=web_default(u)"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1,
                    "finishedAt": "2026-11-20T12:02:03Z"}}}]},
    })
}

#[test]
fn a_pod_shows_its_conditions_containers_and_back_off() {
    let at = |text: &str| time_of_day(text.parse().expect("a time"));
    let mut model = ended(View::Pod, Lang::En, RICH);
    all(&mut model, "pods", vec![crashing()]);
    let event = json!({"metadata": {"name": "e", "namespace": "default", "resourceVersion": "991"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web"},
        "type": "Warning", "reason": "BackOff", "message": "Back-off restarting", "count": 4});
    all(&mut model, "events", vec![event]);
    let lines = map(&model);
    assert!(lines[2].starts_with(&format!(" created {} (", at("2026-11-20T12:00:09Z"))), "{lines:#?}");
    assert!(lines[3].starts_with(" ✓ scheduled ━"), "{lines:#?}");
    assert!(
        lines[3].contains(" ✓ initialised ━") && lines[3].contains(" ◐ containers ready ─"),
        "{lines:#?}"
    );
    assert!(lines[3].contains(" ◐ ready") && lines[4].contains("ContainersNotReady"), "{lines:#?}");
    assert!(lines[4].starts_with(&format!("   {}", at("2026-11-20T12:00:10Z"))), "{lines:#?}");
    let last = format!("   ended before: Error, exit code 1  {}   back-off 40s", at("2026-11-20T12:02:03Z"));
    assert_shows(
        &lines,
        &[
            " ✗ c              waiting: CrashLoopBackOff",
            "3 restarts",
            "   probes: readiness GET :80/healthz",
            &last,
            "⚠ BackOff: Back-off restarting",
            "×4",
        ],
    );
    let mut model = ended(View::Pod, Lang::En, ASCII);
    let mut well = crashing();
    well["status"]["containerStatuses"] = json!([{"name": "c", "started": true, "ready": false,
        "restartCount": 0, "state": {"running": {}}}]);
    all(&mut model, "pods", vec![well]);
    let lines = map(&model);
    assert_shows(
        &lines,
        &["+ scheduled =", "o ready", "o c              running", "readiness x GET :80/healthz"],
    );
}

/// Not every reason that keeps a container from its start is a back-off.
#[test]
fn a_container_that_cannot_start_has_the_sign_of_its_pod() {
    let mut model = ended(View::Pod, Lang::En, RICH);
    let mut broken = crashing();
    broken["status"]["containerStatuses"] = json!([{"name": "c", "restartCount": 0,
        "state": {"waiting": {"reason": "InvalidImageName", "message": "invalid reference format"}}}]);
    all(&mut model, "pods", vec![broken]);
    assert_shows(&map(&model), &[" ✗ c              waiting: InvalidImageName"]);
}

#[test]
fn one_restart_is_counted_in_the_singular() {
    for (lang, count, words) in
        [(Lang::En, 1, "1 restart"), (Lang::En, 2, "2 restarts"), (Lang::Ko, 1, "재시작 1회")]
    {
        let mut model = ended(View::Pod, lang, RICH);
        let mut again = crashing();
        again["status"]["containerStatuses"][0]["restartCount"] = json!(count);
        all(&mut model, "pods", vec![again]);
        let shown = text(&screen(&model));
        assert!(shown.contains(words) && !shown.contains("1 restarts"), "{shown}");
    }
}

#[test]
fn one_member_needs_no_vote_and_its_entries_say_what_they_changed() {
    for (lang, sentence) in [(Lang::En, "no other vote is needed"), (Lang::Ko, "표가 필요 없습니다")]
    {
        let model = ended(View::Raft, lang, RICH);
        assert!(text(&screen(&model)).contains(sentence), "{}", text(&screen(&model)));
    }
    let lines = map(&ended(View::Raft, Lang::En, RICH));
    let entry = |revision: &str| lines.iter().find(|line| line.contains(revision));
    let line = entry(" 870 ").unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(line.contains("879") && line.contains(" 2 ") && line.contains("0.14 ms"), "{line}");
    let all = map(&{
        let mut model = model(80, 24, Lang::En, RICH);
        (model.view, model.chosen, model.focus) = (View::Raft, true, crate::tui::layout::Pane::Map);
        model.traffic.finish();
        model
    });
    assert_shows(&all, &["868    2       860         pods/web2", "0.28 ms"]);
}

#[test]
fn each_port_counts_its_connections_and_a_refused_one_ends_at_its_place() {
    let mut model = ended(View::Network, Lang::En, RICH);
    let record = |event: tap::Event| {
        let mut record = Record::new(event).object("services", "default", "pod-svc");
        (record.seq, record.component) = (9000, Component::Localhost);
        record.at = "2026-11-20T12:07:00Z".parse().expect("a time");
        record
    };
    let visit = tap::Event::Visit { port: 31234, connections: 7 };
    let open = tap::Event::Ports { open: vec![31234] };
    tell(&mut model, Event::Records(vec![record(visit), record(open)]));
    let lines = map(&model);
    assert_shows(
        &lines,
        &[
            " Service default/pod-svc  NodePort   selects app=web",
            " localhost:31234 ──▶ 10.98.113.25:80 ──▶ targetPort 80   connections: 7",
            " 1 of 2 endpoints ready",
            " EndpointSlice pod-svc-1",
            " │ ● 10.244.1.5:80     web-76f8d594c6-7ksfg worker        gets connections",
            " │ ◐ 10.244.2.7:80     web-5c9c7b9f4d-jc628 worker2 ╳     not ready",
        ],
    );
    assert!(!lines.join("\n").contains("refused"), "{lines:#?}");
    // The last endpoint goes, and with it the port of localhost.
    all(&mut model, "endpointslices", vec![]);
    let mut waiting = pod("default", "web-1", "", "Pending", 900);
    waiting["metadata"]["labels"] = json!({"app": "web"});
    tell(&mut model, Event::Objects("pods".into(), Delta::Updated(waiting)));
    tell(&mut model, Event::Records(vec![record(tap::Event::Ports { open: vec![] })]));
    assert_shows(
        &map(&model),
        &[
            " ✗ localhost:31234 is closed: connections are refused here",
            " ✗ no endpoint is ready: connections are refused here",
            " ◌ Pending           web-1",
            "not in a slice",
        ],
    );
}

#[test]
fn an_endpoint_that_leaves_and_still_serves_is_the_last_resort() {
    let mut model = ended(View::Network, Lang::En, RICH);
    let conditions = json!({"ready": false, "serving": true, "terminating": true});
    let endpoint = json!({"addresses": ["10.244.1.5"], "nodeName": "ropewalk-worker",
        "targetRef": {"kind": "Pod", "name": "web-1"}, "conditions": conditions});
    let slice = json!({"metadata": {"name": "pod-svc-1", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "pod-svc"}}, "ports": [{"port": 80}],
        "endpoints": [endpoint]});
    all(&mut model, "endpointslices", vec![slice]);
    let shown = map(&model).join("\n");
    assert!(shown.contains("gets connections") && !shown.contains("refused"), "{shown}");
}

/// The target port is a name that no container port has: the slice has the addresses and no port.
#[test]
fn endpoints_without_a_port_get_nothing() {
    let mut model = ended(View::Network, Lang::En, RICH);
    let endpoint = |pod: &str| {
        json!({"addresses": ["10.244.1.5"], "nodeName": "ropewalk-worker",
            "targetRef": {"kind": "Pod", "name": pod}, "conditions": {"ready": true}})
    };
    let slice = json!({"metadata": {"name": "pod-svc-1", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "pod-svc"}}, "ports": [],
        "endpoints": [endpoint("web-1"), endpoint("web-2")]});
    all(&mut model, "endpointslices", vec![slice]);
    let lines = map(&model);
    let expected = [
        " ✗ no endpoint has this port: connections refused here",
        " 2 of 2 endpoints ready",
        " │ ● 10.244.1.5        web-1",
    ];
    assert_shows(&lines, &expected);
    let shown = lines.join("\n");
    assert!(shown.contains("gets nothing") && !shown.contains("gets connections"), "{shown}");
    assert!(!shown.contains("at random"), "{shown}");
}

/// Nothing was measured there; `0.00 ms` would say that it took no time.
#[test]
fn a_hop_that_was_not_measured_is_told_without_a_time() {
    for view in [View::Cluster, View::ControlPlane, View::Pod] {
        for (columns, rows) in [(60, 20), (80, 24), (120, 36)] {
            let mut model = model(columns, rows, Lang::En, RICH);
            (model.view, model.chosen, model.focus) = (view, true, crate::tui::layout::Pane::Map);
            for hop in model.traffic.flows.iter_mut().flat_map(|flow| &mut flow.hops) {
                hop.took_us = 0;
            }
            let hops = model.traffic.shown().expect("a command").hops.len();
            for hop in 0..=hops {
                let shown = text(&screen(&model));
                assert!(!shown.contains("0.00 ms"), "{view:?}, hop {hop}: {shown}");
                model.traffic.step(1, Duration::ZERO);
            }
        }
    }
}

/// The member has been started since it synced the entry; `0.00 ms` would say that it took no time.
#[test]
fn an_entry_whose_sync_is_not_known_is_told_without_a_time() {
    for (columns, rows) in [(80, 24), (120, 34)] {
        let mut model = model(columns, rows, Lang::En, RICH);
        model.view = View::Raft;
        (model.traffic.play.playing, model.traffic.play.at) = (false, 8);
        assert!(text(&screen(&model)).contains("0.39 ms"), "{}", text(&screen(&model)));
        model.traffic.written.values_mut().for_each(|written| written.fsync_us = None);
        let shown = text(&screen(&model));
        assert!(shown.contains("871") && !shown.contains("0.39 ms"), "{shown}");
        assert!(!shown.contains("0.00 ms"), "{shown}");
    }
}

#[test]
fn in_little_room_the_views_keep_their_small_form() {
    for (view, large) in [
        (View::Scheduling, "NodeResourcesFit"),
        (View::Rollout, "min 3"),
        (View::Pod, "0 restarts"),
        (View::Raft, "no other vote"),
        (View::Network, "EndpointSlice"),
    ] {
        let mut model = model(60, 20, Lang::En, RICH);
        (model.view, model.chosen, model.focus) = (view, true, crate::tui::layout::Pane::Map);
        model.traffic.finish();
        assert!(!map(&model).join("\n").contains(large), "{view:?}: {:#?}", map(&model));
        tell(&mut model, Event::Resize(Size::new(80, 24)));
        assert!(map(&model).join("\n").contains(large), "{view:?}: {:#?}", map(&model));
    }
}

/// The pods of a node that went silent were running at the kubelet's last report.
#[test]
fn a_node_that_is_not_ready_is_marked_beside_its_pods() {
    let mut model = ended(View::Rollout, Lang::En, RICH);
    let mut running = pod("default", "web-5c9c7b9f4d-jc628", "ropewalk-worker2", "Running", 905);
    running["status"]["conditions"][0]["status"] = json!("False");
    all(&mut model, "pods", vec![running]);
    assert_shows(&map(&model), &["   ◐ web-5c9c7b9f4d-jc628        Running             worker2 ╳"]);
    model.view = View::Pod;
    assert_shows(&map(&model), &["on worker2 ╳"]);
    tell(&mut model, Event::Objects("nodes".into(), Delta::Updated(node("ropewalk-worker2", false, true))));
    assert_shows(&map(&model), &["on worker2  "]);
    model.view = View::Rollout;
    assert!(!map(&model).join("\n").contains('╳'), "{:#?}", map(&model));
}

#[test]
fn earlier_decisions_name_the_nodes_behind_the_filter_that_refused_them() {
    let mut model = ended(View::Scheduling, Lang::En, RICH);
    let mut both = refused("first");
    if let tap::Event::Schedule(decision) = &mut both.event {
        for verdict in &mut decision.verdicts {
            verdict.refused.truncate(1);
            verdict.refused[0].filter = "NodeAffinity".into();
        }
    }
    let mut last = refused("big");
    last.seq = 9001;
    tell(&mut model, Event::Records(vec![both, last]));
    // The pod is not there any more, which its mark says.
    assert_shows(&map(&model), &[" † first   ✗ NodeAffinity worker worker2"]);
}

#[test]
fn a_node_with_too_little_tells_what_is_asked_for_and_what_is_free() {
    for (lang, told) in [(Lang::En, "(asks 1500m, free 400m)"), (Lang::Ko, "(요청 1500m, 남음 400m)")] {
        let mut model = ended(View::Scheduling, lang, RICH);
        let asking = |name: &str, node: &str, cpu: &str| {
            let mut pod = pod("default", name, node, "Pending", 900);
            pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
            pod
        };
        let mut worker = node("ropewalk-worker", false, true);
        worker["status"]["allocatable"] = json!({"cpu": "4", "memory": "8Gi"});
        all(&mut model, "nodes", vec![worker, node("ropewalk-worker2", false, true)]);
        let busy = asking("busy", "ropewalk-worker", "3600m");
        all(&mut model, "pods", vec![busy.clone(), asking("big", "", "1500m")]);
        tell(&mut model, Event::Records(vec![refused("big")]));
        let shown = text(&screen(&model));
        assert!(shown.contains(&format!("✗ NodeResourcesFit: Insufficient cpu {told}")), "{shown}");
        // It has found a place: the numbers are not those of the decision any more.
        all(&mut model, "pods", vec![busy, asking("big", "ropewalk-worker", "1500m")]);
        assert!(!text(&screen(&model)).contains("1500m, "), "{}", text(&screen(&model)));
    }
}
