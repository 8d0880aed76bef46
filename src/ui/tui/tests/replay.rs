//! A replayed command is drawn over what was there then: what it removed is in the picture until it
//! leaves.

use super::*;
use crate::tui::cluster::Stand;
use crate::tui::model::View;
use tap::{Cause, Request};

const LOOK: Look = Look { ascii: false, colour: true, light: false };

/// A cluster on which a command is played: what its watches and its record stream tell, change by
/// change.
pub(super) struct Stage {
    pub(super) model: Model,
    seq: u64,
}

impl Stage {
    fn new(view: View) -> Stage {
        let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut model = Model::new("main", Lang::En, LOOK, Size::new(120, 36), opened);
        tell(&mut model, Event::Status(Some(json!({"state": "running"}))));
        all(
            &mut model,
            "nodes",
            vec![node("ropewalk-control-plane", true, true), node("ropewalk-worker", false, true)],
        );
        model.view = view;
        model.chosen = true;
        Stage { model, seq: 0 }
    }

    /// A write and its answer: the learner's (`session`), or a component's that was caused by an
    /// earlier revision.
    fn write(
        &mut self,
        who: (&str, &str),
        verb: &str,
        object: (&str, &str),
        revision: u64,
        cause: Option<u64>,
    ) {
        let (user, session) = who;
        let request = Request {
            id: format!("r{revision}"),
            user: user.into(),
            session: session.into(),
            user_agent: if session.is_empty() { "kube-controller-manager/v1" } else { "kubectl/v1" }.into(),
            command: "kubectl scale".into(),
            verb: verb.into(),
            code: 200,
            ..Request::default()
        };
        let answer = tap::Answer { verb: verb.into(), ..Default::default() };
        let commit = tap::Event::Commit(tap::Write::UPDATED);
        let records = [commit, tap::Event::Answer(answer.into())].map(|event| {
            self.seq += 1;
            let mut record = Record::new(event)
                .object(object.0, "default", object.1)
                .revision(revision)
                .cause(cause.map(Cause::Revision));
            (record.seq, record.took_us) = (self.seq, 1000);
            record.at = "2026-01-02T00:00:00Z".parse().expect("a time");
            record.request = Some(request.clone());
            record
        });
        tell(&mut self.model, Event::Records(records.to_vec()));
    }

    pub(super) fn put(&mut self, resource: &str, object: Value) {
        tell(&mut self.model, Event::Objects(resource.into(), Delta::Updated(object)));
    }

    fn gone(&mut self, name: &str, revision: u64) {
        let last = json!({"metadata":
            {"namespace": "default", "name": name, "resourceVersion": revision.to_string()}});
        tell(&mut self.model, Event::Objects("pods".into(), Delta::Deleted(last)));
    }

    /// The play stands still at the hop that wrote this revision.
    pub(super) fn at(&mut self, revision: u64) -> String {
        self.model.traffic.play.playing = false;
        let hops = &self.model.traffic.shown().expect("a command").hops;
        self.model.traffic.play.at = hops.iter().rposition(|h| h.revision == Some(revision)).expect("a hop");
        assert_eq!(self.model.traffic.revision(), Some(revision));
        format!("== revision {revision}\n{}", self.shown())
    }

    pub(super) fn shown(&self) -> String {
        // The map alone: the panes beside it say nothing of this.
        text(&screen(&self.model)).lines().map(|l| l.chars().skip(42).collect::<String>() + "\n").collect()
    }

    fn count(&self, stand: Stand) -> usize {
        self.model.scene().pods.values().filter(|p| p.stand == stand).count()
    }
}

pub(super) fn deployment(replicas: i64, ready: i64, image: &str, revision: u64) -> Value {
    json!({"metadata": {"name": "web", "namespace": "default", "resourceVersion": revision.to_string()},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},
        "status": {"readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": ready}})
}

fn set(name: &str, number: &str, wanted: i64, ready: i64, image: &str, revision: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": revision.to_string(),
            "annotations": {"deployment.kubernetes.io/revision": number},
            "ownerReferences": [{"name": "web", "controller": true}]},
        "spec": {"replicas": wanted, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
        "status": {"readyReplicas": ready}})
}

fn leaving(name: &str, revision: u64) -> Value {
    let mut pod = pod("default", name, "ropewalk-worker", "Running", revision);
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    pod
}

const CONTROLLER: (&str, &str) = ("system:kube-controller-manager", "");
const LEARNER: (&str, &str) = ("learner", "s1");

/// `kubectl scale deployment web --replicas=3` with ten pods.
pub(super) fn scaled(view: View) -> Stage {
    let mut stage = Stage::new(view);
    let name = |n: u64| format!("web-aaa-{n:05}");
    let running = |n: u64| pod("default", &name(n), "ropewalk-worker", "Running", 100 + n);
    all(&mut stage.model, "deployments", vec![deployment(10, 10, "nginx:1.26", 120)]);
    all(&mut stage.model, "replicasets", vec![set("web-aaa", "1", 10, 10, "nginx:1.26", 121)]);
    all(&mut stage.model, "pods", (0..10).map(running).collect());
    stage.write(LEARNER, "patch", ("deployments", "web"), 200, None);
    stage.put("deployments", deployment(3, 10, "nginx:1.26", 200));
    stage.write(CONTROLLER, "update", ("replicasets", "web-aaa"), 201, Some(200));
    stage.put("replicasets", set("web-aaa", "1", 3, 10, "nginx:1.26", 201));
    for n in 3..10 {
        stage.write(CONTROLLER, "delete", ("pods", &name(n)), 200 + n, Some(201));
        stage.put("pods", leaving(&name(n), 200 + n));
    }
    for n in 3..10 {
        stage.write(
            ("system:node:ropewalk-worker", ""),
            "delete",
            ("pods", &name(n)),
            210 + n,
            Some(200 + n),
        );
        stage.gone(&name(n), 210 + n);
    }
    stage.put("replicasets", set("web-aaa", "1", 3, 3, "nginx:1.26", 225));
    stage.put("deployments", deployment(3, 3, "nginx:1.26", 226));
    stage
}

#[test]
fn what_a_scale_removes_is_shown_until_it_leaves() {
    for view in [View::Cluster, View::Rollout] {
        let mut stage = scaled(view);
        let mut story = stage.at(200);
        assert_eq!((stage.count(Stand::Ready), stage.count(Stand::Leaving)), (10, 0));
        story.push_str(&stage.at(206));
        assert_eq!((stage.count(Stand::Ready), stage.count(Stand::Leaving)), (6, 4));
        story.push_str(&stage.at(215));
        assert_eq!((stage.count(Stand::Ready), stage.count(Stand::Leaving)), (3, 4));
        stage.model.traffic.finish();
        story.push_str(&format!("== now\n{}", stage.shown()));
        assert_eq!((stage.count(Stand::Ready), stage.count(Stand::Leaving)), (3, 0));
        // Before the first write, and for the frames of the request itself, all is as it was.
        stage.model.traffic.play.at = 0;
        assert_eq!(stage.count(Stand::Ready), 10);
        insta::assert_snapshot!(format!("scale_{}", view.name()), story);
    }
}

/// `kubectl scale deployment web --replicas=0` on a narrow screen, whose map has no line of the
/// play head.
#[test]
fn a_strip_tells_how_many_endpoints_are_ready_now_while_a_command_is_replayed() {
    let mut stage = Stage::new(View::Network);
    stage.model.size = Size::new(80, 24);
    let metadata = |name: &str, revision: u64| {
        json!({"name": name, "namespace": "default", "resourceVersion": revision.to_string(),
            "labels": {"kubernetes.io/service-name": "web"}})
    };
    let spec = json!({"type": "ClusterIP", "clusterIP": "10.98.0.7", "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 80}]});
    let slice = |endpoints: Value, revision: u64| {
        let metadata = metadata("web-1", revision);
        json!({"metadata": metadata, "ports": [{"port": 80}], "endpoints": endpoints})
    };
    let endpoint = json!({"addresses": ["10.244.1.5"], "nodeName": "ropewalk-worker",
        "targetRef": {"kind": "Pod", "name": "web-aaa-1"}, "conditions": {"ready": true}});
    all(&mut stage.model, "services", vec![json!({"metadata": metadata("web", 100), "spec": spec})]);
    all(&mut stage.model, "endpointslices", vec![slice(json!([endpoint]), 101)]);
    stage.write(LEARNER, "patch", ("deployments", "web"), 300, None);
    stage.write(CONTROLLER, "update", ("endpointslices", "web-1"), 301, Some(300));
    stage.put("endpointslices", slice(json!([]), 301));
    stage.at(300);
    let (told, now) = ("1 of 1 endpoints ready", "(replay; ready now: 0)");
    let shown = text(&screen(&stage.model));
    assert!(shown.contains(&format!("{told}  {now}")), "{shown}");
    let ends: [fn(&mut Stage); 2] = [|stage| drop(stage.at(301)), |stage| stage.model.traffic.finish()];
    for end in ends {
        end(&mut stage);
        let shown = text(&screen(&stage.model));
        assert!(!shown.contains(told) && !shown.contains("replay;"), "{shown}");
    }
}

/// `kubectl set image deployment web c=nginx:1.27` with two pods, one more at a time.
#[test]
fn a_rolling_update_begins_with_what_was_there() {
    for view in [View::Cluster, View::Rollout] {
        let mut stage = Stage::new(view);
        let old = |n: u64| format!("web-aaa-{n:05}");
        let new = |n: u64| format!("web-bbb-{n:05}");
        let kubelet = ("system:node:ropewalk-worker", "");
        all(&mut stage.model, "deployments", vec![deployment(2, 2, "nginx:1.26", 120)]);
        all(&mut stage.model, "replicasets", vec![set("web-aaa", "1", 2, 2, "nginx:1.26", 121)]);
        let running = |n: u64| pod("default", &old(n), "ropewalk-worker", "Running", 100 + n);
        all(&mut stage.model, "pods", (0..2).map(running).collect());
        stage.write(LEARNER, "patch", ("deployments", "web"), 300, None);
        stage.put("deployments", deployment(2, 2, "nginx:1.27", 300));
        stage.write(CONTROLLER, "create", ("replicasets", "web-bbb"), 301, Some(300));
        stage.put("replicasets", set("web-bbb", "2", 1, 0, "nginx:1.27", 301));
        for n in 0..2 {
            let at = 310 + 10 * n;
            stage.write(CONTROLLER, "create", ("pods", &new(n)), at, Some(301));
            stage.put("pods", pod("default", &new(n), "", "Pending", at));
            stage.write(kubelet, "patch", ("pods", &new(n)), at + 1, Some(at));
            stage.put("pods", pod("default", &new(n), "ropewalk-worker", "Running", at + 1));
            stage.put("replicasets", set("web-bbb", "2", 1 + n as i64, 1 + n as i64, "nginx:1.27", at + 1));
            stage.write(CONTROLLER, "update", ("replicasets", "web-aaa"), at + 2, Some(at + 1));
            stage.put("replicasets", set("web-aaa", "1", 1 - n as i64, 2 - n as i64, "nginx:1.26", at + 2));
            stage.write(CONTROLLER, "delete", ("pods", &old(n)), at + 3, Some(at + 2));
            stage.put("pods", leaving(&old(n), at + 3));
            stage.write(kubelet, "delete", ("pods", &old(n)), at + 4, Some(at + 3));
            stage.gone(&old(n), at + 4);
        }
        let mut story = stage.at(300);
        assert_eq!(stage.count(Stand::Ready), 2, "what ran before still runs");
        story.push_str(&stage.at(310));
        assert_eq!((stage.count(Stand::Ready), stage.count(Stand::Waiting)), (2, 1));
        story.push_str(&stage.at(313));
        assert_eq!((stage.count(Stand::Ready), stage.count(Stand::Leaving)), (2, 1));
        story.push_str(&stage.at(324));
        assert_eq!((stage.count(Stand::Ready), stage.count(Stand::Leaving)), (2, 0));
        insta::assert_snapshot!(format!("update_{}", view.name()), story);
    }
}

/// `kubectl delete namespace staging`, which its controller ends two revisions later.
#[test]
fn a_namespace_that_is_gone_is_there_while_its_deletion_is_replayed() {
    let mut stage = Stage::new(View::Cluster);
    let namespace = |phase: &str, revision: &str| {
        let metadata = json!({"name": "staging", "resourceVersion": revision});
        json!({"metadata": metadata, "status": {"phase": phase}})
    };
    all(&mut stage.model, "namespaces", vec![namespace("Active", "100")]);
    stage.write(LEARNER, "delete", ("namespaces", "staging"), 300, None);
    stage.put("namespaces", namespace("Terminating", "300"));
    stage.write(CONTROLLER, "delete", ("services", "web"), 301, Some(300));
    let last = Delta::Deleted(namespace("Terminating", "302"));
    tell(&mut stage.model, Event::Objects("namespaces".into(), last));
    stage.at(300);
    assert_eq!(stage.model.scene().namespaces.get("staging"), Some(&true));
    assert_eq!(stage.model.cluster.at(299).namespaces.get("staging"), Some(&false));
    stage.model.traffic.finish();
    assert_eq!(stage.model.scene().namespaces.get("staging"), None);
}

/// Requests that a stage of the API server has refused: the picture shows where they ended, at
/// 80x24 as well, and as long as no other command is shown.
#[test]
fn the_stage_that_refused_a_request_is_marked_on_the_map() {
    let forbidden = "pods is forbidden: User \"guest\" cannot create resource \"pods\"";
    for (code, message, english, korean) in [
        (401, "Unauthorized", "authentication", "인증"),
        (403, forbidden, "authorization", "인가"),
        (403, "pods \"web\" is forbidden: exceeded quota: small", "admission", "어드미션"),
        (400, "admission webhook \"no.example.com\" denied the request: no", "admission", "어드미션"),
        (422, "Pod \"Web\" is invalid: metadata.name: Invalid value", "validation", "검증"),
    ] {
        for (width, height) in [(80, 24), (120, 36)] {
            for (lang, gate) in [(Lang::En, english), (Lang::Ko, korean)] {
                for view in [View::Cluster, View::ControlPlane] {
                    let mut model = model(width, height, lang, LOOK);
                    (model.view, model.chosen) = (view, true);
                    tell(&mut model, Event::Records(refusal(code, message)));
                    model.traffic.finish();
                    let shown = text(&screen(&model));
                    assert!(shown.contains(gate), "{code} {view:?} {width}x{height}:\n{shown}");
                    assert!(shown.contains(&format!("✗ {gate}")), "{code} {view:?} {width}:\n{shown}");
                }
            }
        }
    }
}

/// No stage refused it, and nothing was written: the object exists already.
#[test]
fn a_write_that_failed_is_not_told_to_be_done() {
    for (lang, failed, done) in
        [(Lang::En, "ended with 409 after ", "done after"), (Lang::Ko, "409 오류로 실패", "만에 끝")]
    {
        for ((width, height), view) in [((80, 24), View::Cluster), ((120, 36), View::ControlPlane)] {
            let mut model = model(width, height, lang, LOOK);
            (model.view, model.chosen) = (view, true);
            model.traffic.finish();
            tell(&mut model, Event::Records(refusal(409, "pods \"web\" already exists")));
            model.traffic.finish();
            let shown = text(&screen(&model));
            assert!(shown.contains(failed) && !shown.contains(done), "{view:?}: {shown}");
            model.traffic.step(-1, std::time::Duration::ZERO);
            let told = view == View::Cluster || text(&screen(&model)).contains("\"web\" already exists");
            assert!(told, "the message at the answer: {}", text(&screen(&model)));
        }
    }
}

/// The records of a request that was answered with this code and message.
fn refusal(code: u16, message: &str) -> Vec<Record> {
    let request = Request {
        id: "refused".into(),
        user: "guest".into(),
        session: "refused".into(),
        user_agent: "kubectl/v1".into(),
        command: "kubectl run".into(),
        verb: "create".into(),
        code,
        ..Request::default()
    };
    let answer = tap::Answer { verb: "create".into(), message: message.into(), ..Default::default() };
    let stages = [tap::Event::Authenticate { groups: vec![] }, tap::Event::Answer(answer.into())];
    let skipped = usize::from(code == 401);
    let records = stages.into_iter().skip(skipped).enumerate().map(|(at, event)| {
        let mut record = Record::new(event).object("pods", "default", "web");
        (record.seq, record.took_us) = (9000 + at as u64, 1000);
        record.at = "2026-01-02T00:00:00Z".parse().expect("a time");
        record.request = Some(request.clone());
        record
    });
    records.collect()
}
