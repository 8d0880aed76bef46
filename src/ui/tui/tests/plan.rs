//! The cluster view where there is room: a box for each part, pods under their owners.

use super::sequence::map;
use super::*;
use crate::tui::model::{Overlay, View};
use ::lab::graded::view::LabView;
use ratatui::style::Color;
use std::time::Duration;
use tap::{Act, Component, Fault};

const RICH: Look = Look { ascii: false, colour: true, light: false };
const ASCII: Look = Look { ascii: true, colour: false, light: false };

fn midway(lang: Lang, look: Look) -> Model {
    let mut model = model(120, 36, lang, look);
    (model.view, model.chosen) = (View::Cluster, true);
    model.traffic.play.playing = false;
    model.traffic.play.at = 8;
    model
}

/// Two nodes, of which one has a size.
fn two_nodes(model: &mut Model) {
    let mut worker = node("ropewalk-worker", false, true);
    worker["status"]["allocatable"] = json!({"cpu": "4", "memory": "8Gi"});
    all(model, "nodes", vec![node("ropewalk-control-plane", true, true), worker]);
}

#[test]
fn each_part_has_a_box_and_the_one_that_acts_is_marked() {
    let lines = map(&midway(Lang::En, RICH));
    for (row, parts) in [
        (0, vec!["┌ you ─", "┌ kube-apiserver ─", "┌ etcd ─"]),
        (1, vec!["│ run web2     │───▶│ bind → 861  6.0 ms", "│───▶│ 860 ▸861"]),
        (2, vec![" watch "]),
        (3, vec!["┌ controllers ★ ─", "┌ ▶ scheduler ★ ─"]),
        (4, vec!["│ ◌ big  bound worker", "│④"]),
        (6, vec!["┌ control-plane ● Ready ─", "┌ worker ● Ready ─", "┌ worker2 ╳ NotReady ┐"]),
        (14, vec![" ▶ scheduler: bound to worker  9.3 ms  (paused)"]),
        (15, vec![" web: desired 4, ready 1, starting 1", "◂◂ ◂ ▶ ▸ ▸▸", " 9/16  114 ms"]),
    ] {
        for part in parts {
            assert!(lines[row].contains(part), "{row} {part}: {lines:#?}");
        }
    }
    let all = lines.join("\n");
    for part in ["▪▪▪▪ system 4", "◐ web-5c9c7b…jc628", "✗ web-5c9c7b…p5bq4", "● web-76f8d5…7ksfg", "◐ web2"]
    {
        assert!(all.contains(part), "{part}: {lines:#?}");
    }
}

#[test]
fn the_boxes_in_ascii_and_in_korean() {
    let all = map(&midway(Lang::En, ASCII)).join("\n");
    for part in
        ["+ you -", "|--->| bind > 861", "860 >861", "+ > scheduler L -", "| . big", "x web-5c9c7b~p5bq4"]
    {
        assert!(all.contains(part), "{part}: {all}");
    }
    let korean = text(&screen(&midway(Lang::Ko, RICH)));
    for part in ["┌ 컨트롤러 ★ ─", "web: 목표 4, 준비됨 1, 시작 중 1", "스케줄러: worker 노드에 배정"]
    {
        assert!(korean.contains(part), "{part}: {korean}");
    }
}

#[test]
fn pods_stand_under_their_owners_and_a_service_shows_its_pods() {
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    two_nodes(&mut model);
    let mut first = pod("default", "web-76f8d594c6-7ksfg", "ropewalk-worker", "Running", 801);
    first["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1500m"}});
    let second = pod("default", "web-5c9c7b9f4d-jc628", "ropewalk-worker", "ContainerCreating", 805);
    let bare = pod("default", "alone", "ropewalk-worker", "Running", 900);
    all(&mut model, "pods", vec![first, second, bare]);
    let lines = map(&model);
    let shown = lines.join("\n");
    for part in [
        "alone      ● owner: none  10.24",
        "web        ◐ …628  ContainerCre",
        "           ● …sfg  10.244.1.5",
        " cpu ██░░░  mem ░░░░░ ",
        " pod-svc  NodePort 31234 ──▶ 10.98.113.25:80 ──▶ ● …sfg ◐ …628",
    ] {
        assert!(shown.contains(part), "{part}: {lines:#?}");
    }
}

/// `my-nginx` ends like a generated name, and `web` is the name of a Deployment, too.
#[test]
fn a_pod_that_a_person_named_has_its_whole_name() {
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    two_nodes(&mut model);
    let bare = |name: &str, node: &str, status: &str| {
        let mut object = pod("default", name, node, status, 900);
        object["metadata"]["ownerReferences"] = json!([]);
        object
    };
    let pods = vec![
        pod("default", "web-76f8d594c6-7ksfg", "ropewalk-worker", "Running", 801),
        bare("web", "ropewalk-worker", "Running"),
        bare("my-nginx", "ropewalk-worker", "Running"),
        bare("a-model", "", "Pending"),
    ];
    all(&mut model, "pods", pods);
    let endpoint = json!({"addresses": ["10.244.1.5"], "conditions": {"ready": true},
        "targetRef": {"kind": "Pod", "name": "my-nginx"}});
    let metadata = json!({"name": "pod-svc-1", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "pod-svc"}});
    let slice = json!({"metadata": metadata, "ports": [{"port": 80}], "endpoints": [endpoint]});
    all(&mut model, "endpointslices", vec![slice]);
    let shown = map(&model).join("\n");
    for part in ["web        ● …sfg", "web        ● owner: none", "──▶ ● my-nginx", "◌ a-model "]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn many_pods_are_signs_and_those_that_are_not_well_have_lines() {
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    two_nodes(&mut model);
    let state = |n: usize| if n == 7 { "ImagePullBackOff" } else { "Running" };
    let pods = (0..12).map(|n| pod("default", &format!("a-{n:05}"), "ropewalk-worker", state(n), 900));
    all(&mut model, "pods", pods.collect());
    let shown = map(&model).join("\n");
    assert!(shown.contains("a          ●●●●●●●✗●●●●"), "{shown}");
    assert!(shown.contains("✗ a-00007 ImagePullBackOff"), "{shown}");
}

#[test]
fn a_lease_that_is_late_shows_its_age_before_the_node_is_not_ready() {
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    two_nodes(&mut model);
    let lease = json!({"metadata": {"name": "ropewalk-worker", "namespace": "kube-node-lease",
        "resourceVersion": "900"}, "spec": {"holderIdentity": "ropewalk-worker"}});
    all(&mut model, "leases", vec![lease]);
    let line = |model: &Model| map(model)[13].clone();
    assert!(line(&model).ends_with("─ ♥ kubelet ┘"), "{}", line(&model));
    assert!(line(&model).contains(" cpu ░░░░░  mem ░░░░░ "), "the gauges stay: {}", line(&model));
    assert_eq!(model.due(), Some(Duration::from_secs(15)));
    model.now = Duration::from_secs(20);
    assert!(line(&model).ends_with("─ ♥ 20 s ┘"), "{}", line(&model));
    assert_eq!(model.due(), Some(Duration::from_secs(21)));
}

#[test]
fn the_help_names_the_signs_in_the_box_of_a_node() {
    for (lang, look, pods, lease) in [
        (Lang::En, RICH, "▪ pod of the cluster itself", "♥ lease of the node"),
        (Lang::En, ASCII, "# pod of the cluster itself", "v lease of the node"),
        (Lang::Ko, RICH, "▪ 클러스터 자체의 파드", "♥ 노드의 리스(lease)"),
    ] {
        let mut model = model(120, 80, lang, look);
        model.overlay = Some(Overlay::Help(0));
        let shown = text(&screen(&model));
        assert!(shown.contains(pods) && shown.contains(lease), "{shown}");
    }
}

#[test]
fn a_lease_is_shown_as_lost_when_the_node_becomes_not_ready_and_not_before() {
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    two_nodes(&mut model);
    let lease = json!({"metadata": {"name": "ropewalk-worker", "namespace": "kube-node-lease",
        "resourceVersion": "900"}, "spec": {"holderIdentity": "ropewalk-worker"}});
    all(&mut model, "leases", vec![lease]);
    let colour = |model: &Model| {
        let shown = screen(model);
        let heart = shown.content().iter().find(|cell| cell.symbol() == "♥");
        heart.map(|heart| heart.fg)
    };
    for (seconds, expected) in [(49, Color::Yellow), (50, Color::Red)] {
        model.now = Duration::from_secs(seconds);
        assert_eq!(colour(&model), Some(expected), "{seconds} s");
    }
}

/// An evicted pod stays as an object with the phase Failed.
#[test]
fn a_pod_that_has_ended_requests_nothing_of_its_node() {
    for phase in ["Succeeded", "Failed"] {
        let mut model = midway(Lang::En, RICH);
        model.traffic.finish();
        two_nodes(&mut model);
        let mut large = pod("default", "large", "ropewalk-worker", "Running", 801);
        large["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "4"}});
        all(&mut model, "pods", vec![large.clone()]);
        let shown = map(&model).join("\n");
        assert!(shown.contains(" cpu █████  mem ░░░░░ "), "{shown}");
        large["status"]["phase"] = json!(phase);
        all(&mut model, "pods", vec![large]);
        let shown = map(&model).join("\n");
        assert!(shown.contains(" cpu ░░░░░  mem ░░░░░ "), "{phase}: {shown}");
    }
}

/// A record that a component of the machine wrote.
fn told(component: Component, event: tap::Event) -> Record {
    let mut record = Record::new(event).object("services", "default", "pod-svc");
    (record.seq, record.component) = (9000, component);
    record.at = "2026-11-20T12:07:00Z".parse().expect("a time");
    record
}

#[test]
fn connections_to_a_node_port_are_counted() {
    for (lang, words) in [(Lang::En, "connections: 5"), (Lang::Ko, "연결 5건")] {
        let mut model = midway(lang, RICH);
        model.traffic.finish();
        for connections in [2, 3] {
            let visit = tap::Event::Visit { port: 31234, connections };
            let (_, changed) = update(&mut model, Event::Records(vec![told(Component::Localhost, visit)]));
            assert!(changed, "it is on the screen");
        }
        for (view, words) in [(View::Cluster, "NodePort 31234 ×5 ──▶"), (View::Network, words)] {
            model.view = view;
            let shown = text(&screen(&model));
            assert!(shown.contains(words), "{view:?}: {shown}");
        }
    }
}

#[test]
fn rules_that_no_command_led_to_are_shown_at_once() {
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    model.view = View::Network;
    let rules = told(Component::Proxy, tap::Event::Rules { rules: 12, changed: 3 });
    let (_, changed) = update(&mut model, Event::Records(vec![rules]));
    let shown = text(&screen(&model));
    assert!(changed && shown.contains("12 rules, 3 changed"), "{shown}");
}

/// Both the name and the port are free again as soon as a Service is deleted.
#[test]
fn connections_to_a_deleted_service_are_not_those_of_its_successor() {
    for successor in ["pod-svc", "other"] {
        let mut model = midway(Lang::En, RICH);
        model.traffic.finish();
        let service = |name: &str| {
            let ports = json!([{"port": 80, "targetPort": 80, "nodePort": 31234}]);
            json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": "900"},
                "spec": {"type": "NodePort", "clusterIP": "10.98.113.25", "ports": ports}})
        };
        let visit = tap::Event::Visit { port: 31234, connections: 4 };
        tell(&mut model, Event::Records(vec![told(Component::Localhost, visit)]));
        tell(&mut model, Event::Objects("services".into(), Delta::Updated(service("pod-svc"))));
        model.view = View::Network;
        assert!(text(&screen(&model)).contains("connections: 4"), "a change of it takes nothing away");
        tell(&mut model, Event::Objects("services".into(), Delta::Deleted(service("pod-svc"))));
        tell(&mut model, Event::Objects("services".into(), Delta::Updated(service(successor))));
        for (view, words) in [(View::Cluster, "×4"), (View::Network, "connections: ")] {
            model.view = view;
            let shown = text(&screen(&model));
            assert!(shown.contains(successor) && !shown.contains(words), "{view:?}: {shown}");
        }
    }
}

/// In a pane that is too small for all that the view knows.
#[test]
fn a_small_network_view_tells_what_leaves_and_where_one_of_several_is_picked() {
    let mut model = model(110, 24, Lang::En, RICH);
    (model.view, model.chosen) = (View::Network, true);
    model.traffic.finish();
    let names = ["web-76f8d594c6-7ksfg", "web-5c9c7b9f4d-jc628", "web-5c9c7b9f4d-p5bq4"];
    let mut pods = names.map(|name| pod("default", name, "ropewalk-worker", "Running", 801));
    pods[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    all(&mut model, "pods", pods.into());
    let slice = |ready: [bool; 3]| {
        let endpoint = |at: usize| {
            json!({"addresses": [format!("10.244.1.{at}")], "conditions": {"ready": ready[at]},
                "targetRef": {"kind": "Pod", "name": names[at]}})
        };
        let metadata = json!({"name": "pod-svc-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "pod-svc"}});
        json!({"metadata": metadata, "endpoints": (0..3).map(endpoint).collect::<Vec<Value>>()})
    };
    all(&mut model, "endpointslices", vec![slice([false, true, false])]);
    let shown = map(&model).join("\n");
    for part in ["○ 10.244.1.0 web-76f8d594c6-7ksfg", "● 10.244.1.1 ", "◐ 10.244.1.2 "] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("at random"), "there is one alone: {shown}");
    all(&mut model, "endpointslices", vec![slice([false, true, true])]);
    let shown = map(&model).join("\n");
    assert!(shown.contains("one of 2, at random"), "{shown}");
    let headless = json!({"metadata": {"name": "pod-svc", "namespace": "default", "resourceVersion": "900"},
        "spec": {"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 80, "targetPort": 80}]}});
    all(&mut model, "services", vec![headless]);
    let shown = map(&model).join("\n");
    assert!(shown.contains("2 of 3 endpoints ready") && !shown.contains("at random"), "{shown}");
}

#[test]
fn what_a_fault_has_broken_is_marked_at_once() {
    for (width, height) in [(80, 24), (120, 36)] {
        let mut model = midway(Lang::En, RICH);
        model.traffic.finish();
        tell(&mut model, Event::Resize(Size::new(width, height)));
        let crash = Fault::Node { node: "ropewalk-worker".into(), act: Act::Crash };
        tell(&mut model, Event::Records(vec![told(Component::Fault, tap::Event::Fault(crash))]));
        let shown = text(&screen(&model));
        assert!(shown.contains("╳ off"), "{shown}");
    }
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    let cut = Fault::Cut { a: "ropewalk-worker".into(), b: "ropewalk-worker2".into() };
    tell(&mut model, Event::Records(vec![told(Component::Fault, tap::Event::Fault(cut))]));
    let shown = text(&screen(&model));
    assert!(shown.contains("✂ cut: worker - worker2"), "{shown}");
}

#[test]
fn endpoints_for_which_there_is_no_room_are_counted() {
    let mut model = midway(Lang::En, RICH);
    model.traffic.finish();
    let endpoint = |n: usize| {
        json!({"addresses": [format!("10.244.1.{n}")], "conditions": {"ready": true},
        "targetRef": {"kind": "Pod", "name": format!("web-76f8d594c6-{n:05}")}})
    };
    let endpoints: Vec<Value> = (0..12).map(endpoint).collect();
    let metadata = json!({"name": "pod-svc-1", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "pod-svc"}});
    let slice = json!({"metadata": metadata, "ports": [{"port": 80}], "endpoints": endpoints});
    all(&mut model, "endpointslices", vec![slice]);
    let lines = map(&model);
    let line = lines.iter().find(|line| line.starts_with(" pod-svc  NodePort"));
    let line = line.unwrap_or_else(|| panic!("{lines:#?}"));
    let shown = line.matches('●').count();
    assert!(shown > 0 && line.ends_with(&format!(" +{}", 12 - shown)), "{line}");
}

/// NotReady may mean a machine that is off, a cut link or a kubelet that ended. A lab asks which.
#[test]
fn the_map_does_not_name_the_fault_that_an_open_lab_asks_for() {
    for (width, height) in [(80, 24), (120, 36)] {
        let mut model = midway(Lang::En, RICH);
        model.traffic.finish();
        tell(&mut model, Event::Resize(Size::new(width, height)));
        let lab = super::labs::open(Lang::En);
        tell(&mut model, Event::Lab(Box::new(lab.clone())));
        let crash = Fault::Node { node: "ropewalk-worker".into(), act: Act::Crash };
        let cut = Fault::Cut { a: "ropewalk-worker".into(), b: "ropewalk-worker2".into() };
        let faults = [crash, cut].map(|fault| told(Component::Fault, tap::Event::Fault(fault)));
        tell(&mut model, Event::Records(faults.into()));
        let shown = text(&screen(&model));
        assert!(!shown.contains("╳ off") && !shown.contains("✂"), "{shown}");
        assert!(shown.contains("worker2 ╳ NotReady"), "what the cluster reports is shown: {shown}");

        tell(&mut model, Event::Lab(Box::new(LabView { over: true, ..lab })));
        let shown = text(&screen(&model));
        assert!(shown.contains("╳ off"), "the solution was given away: {shown}");
    }
}
