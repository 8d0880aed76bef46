//! Every view as text, in both languages and three sizes, from records of a real cluster and
//! made-up objects; and what keys do.

mod agreement;
mod answers;
mod beside;
mod keys;
mod lab_news;
mod labs;
mod list;
mod namespaces;
mod plan;
mod quotas;
mod replay;
mod scaler;
mod scrubber;
mod sequence;
mod services;
mod show;
mod speed;
mod strip;
mod subject;
mod time;
mod typing;
mod unwell;
mod views;
mod wide;

use super::event::{Effect, Event};
use super::look::Look;
use super::model::Model;
use super::render::render;
use super::update::update;
use crate::texts::Lang;
use client::Delta;
use lab::view::{Check, Hint, LessonView, Predict, State, Verdict};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use serde_json::{Value, json};
use tap::Record;

/// `kubectl run web2 --image=nginx`, as a cluster's control socket sent it.
const RUN: &str = include_str!("../testdata/run.jsonl");

pub(super) fn records() -> Vec<Record> {
    RUN.lines().map(|l| serde_json::from_str(l).expect("a record")).collect()
}

pub(super) fn node(name: &str, control_plane: bool, ready: bool) -> Value {
    let labels = if control_plane { json!({"node-role.kubernetes.io/control-plane": ""}) } else { json!({}) };
    json!({"metadata": {"name": name, "labels": labels, "resourceVersion": "10"},
        "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "Unknown" }}]}})
}

pub(super) fn pod(namespace: &str, name: &str, node: &str, status: &str, revision: u64) -> Value {
    let ready = status == "Running";
    let state = match status {
        "Running" => json!({"running": {}}),
        "Completed" => json!({"terminated": {"reason": "Completed", "exitCode": 0}}),
        reason => json!({"waiting": {"reason": reason}}),
    };
    let phase = match status {
        "Running" => "Running",
        "Completed" => "Succeeded",
        _ => "Pending",
    };
    let owner = name.rsplit_once('-').map_or("", |(set, _)| set);
    let mut object = json!({
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": revision.to_string(),
            "ownerReferences": [{"name": owner, "controller": true}]},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    if !node.is_empty() {
        object["spec"]["nodeName"] = json!(node);
        object["status"]["containerStatuses"] =
            json!([{"name": "c", "ready": ready, "state": state, "restartCount": 0}]);
        object["status"]["podIP"] = json!("10.244.1.5");
    }
    object
}

pub(super) fn tell(model: &mut Model, event: Event) -> Vec<Effect> {
    update(model, event).0
}

pub(super) fn all(model: &mut Model, resource: &str, objects: Vec<Value>) {
    tell(model, Event::Objects(resource.into(), Delta::Replaced(objects)));
}

/// A cluster with something of everything.
pub(super) fn cluster(model: &mut Model) {
    tell(model, Event::Status(Some(json!({"state": "running"}))));
    all(
        model,
        "nodes",
        vec![
            node("ropewalk-control-plane", true, true),
            node("ropewalk-worker", false, true),
            node("ropewalk-worker2", false, false),
        ],
    );
    let mut pods = vec![];
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        pods.push(pod(
            "kube-system",
            &format!("{name}-ropewalk-control-plane"),
            "ropewalk-control-plane",
            "Running",
            20,
        ));
    }
    pods.push(pod("kube-system", "coredns-657f4db74-4wqr9", "ropewalk-worker", "Running", 21));
    pods.push(pod("default", "web2", "ropewalk-worker", "Running", 870));
    pods.push(pod("default", "web-76f8d594c6-7ksfg", "ropewalk-worker", "Running", 801));
    pods.push(pod("default", "web-5c9c7b9f4d-jc628", "ropewalk-worker2", "ContainerCreating", 805));
    pods.push(pod("default", "web-5c9c7b9f4d-p5bq4", "ropewalk-worker2", "ImagePullBackOff", 806));
    pods.push(pod("default", "big", "", "Pending", 807));
    all(model, "pods", pods);
    let lease = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"holderIdentity": "ropewalk-control-plane_x"}})
    };
    all(model, "leases", vec![lease("kube-scheduler"), lease("kube-controller-manager")]);
    all(
        model,
        "services",
        vec![json!({"metadata": {"name": "pod-svc", "namespace": "default", "resourceVersion": "820"},
        "spec": {"type": "NodePort", "clusterIP": "10.98.113.25", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 80, "nodePort": 31234}]}})],
    );
    let endpoint = |ip: &str, pod: &str, node: &str, ready: bool| {
        json!({"addresses": [ip], "nodeName": node,
        "targetRef": {"kind": "Pod", "name": pod}, "conditions": {"ready": ready}})
    };
    all(
        model,
        "endpointslices",
        vec![json!({"metadata": {"name": "pod-svc-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "pod-svc"}}, "ports": [{"port": 80}],
        "endpoints": [endpoint("10.244.1.5", "web-76f8d594c6-7ksfg", "ropewalk-worker", true),
            endpoint("10.244.2.7", "web-5c9c7b9f4d-jc628", "ropewalk-worker2", false)]})],
    );
    workloads(model);
}

/// A Deployment in the middle of a rollout, with its ReplicaSets.
fn workloads(model: &mut Model) {
    let template = |image: &str| json!({"spec": {"containers": [{"name": "c", "image": image}]}});
    all(
        model,
        "deployments",
        vec![json!({"metadata": {"name": "web", "namespace": "default", "resourceVersion": "810"},
        "spec": {"replicas": 4, "template": template("nginx:1.27"),
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}},
        "status": {"readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 2}})],
    );
    let set = |name: &str, number: &str, wanted: i64, ready: i64, image: &str| {
        json!({
        "metadata": {"name": name, "namespace": "default", "annotations": {"deployment.kubernetes.io/revision": number},
            "ownerReferences": [{"name": "web", "controller": true}]},
        "spec": {"replicas": wanted, "template": template(image)}, "status": {"readyReplicas": ready}})
    };
    all(
        model,
        "replicasets",
        vec![set("web-76f8d594c6", "2", 1, 1, "nginx:1.26"), set("web-5c9c7b9f4d", "3", 3, 0, "nginx:1.27")],
    );
}

pub(super) fn lesson(lang: Lang) -> LessonView {
    let ko = lang == Lang::Ko;
    let text = |en: &str, korean: &str| if ko { korean.to_string() } else { en.to_string() };
    LessonView {
        id: "first-voyage/04".into(),
        title: text("Run a pod", "파드 실행하기"),
        steps: 3,
        step_id: "run".into(),
        prose: text(
            "A **pod** is the smallest thing Kubernetes starts: one or more containers that share an address.\n\n## Run it {#run}\n\n`kubectl run` asks the API server to store a Pod. Others do the rest. Watch the diagram.",
            "**파드(Pod)** 는 쿠버네티스가 실행하는 가장 작은 단위입니다.\n\n## 실행하기 {#run}\n\n`kubectl run`은 파드를 저장해 달라고 API 서버에 요청할 뿐이고, 나머지는 다른 컴포넌트가 합니다. 그림을 보면서 실행해 보세요.",
        ),
        task: text(
            "Start a pod named `nginx-pod` from the image `nginx`, and wait until it is ready.",
            "`nginx` 이미지로 `nginx-pod` 파드를 만들고, 준비될 때까지 기다려 보세요.",
        ),
        checks: vec![
            Check {
                that: text(
                    "the pod nginx-pod exists with the image nginx",
                    "nginx 이미지를 쓰는 nginx-pod 파드가 있다",
                ),
                state: Verdict::Met,
            },
            Check {
                that: text("its container is ready", "컨테이너가 준비되었다"), state: Verdict::Holding
            },
        ],
        hints_left: 2,
        diagram: "cluster".into(),
        ..LessonView::default()
    }
}

/// The step of [`lesson`] before the learner has guessed.
pub(super) fn asking(lang: Lang) -> LessonView {
    let ko = lang == Lang::Ko;
    let choice =
        |letter: &str, en: &str, korean: &str| (letter.to_string(), if ko { korean } else { en }.to_string());
    LessonView {
        task: String::new(),
        predict: Some(Predict {
            question: choice(
                "",
                "The moment kubectl prints `created`, where is the container?",
                "kubectl이 `created`를 출력한 바로 그 순간, 컨테이너는 어디에 있을까요?",
            )
            .1,
            choices: vec![
                choice("a", "It already runs on a node", "이미 어느 노드에서 돌고 있다"),
                choice("b", "Nowhere yet: only a record exists", "아직 없다. 기록만 있다"),
                choice("c", "On the control-plane node", "컨트롤 플레인 노드에 있다"),
            ],
            chosen: None,
            answer: None,
        }),
        ..lesson(lang)
    }
}

/// The step of [`lesson`], done.
pub(super) fn done(lang: Lang) -> LessonView {
    let mut view = LessonView { predict: asking(lang).predict, ..lesson(lang) };
    if let Some(predict) = &mut view.predict {
        (predict.chosen, predict.answer) = (Some("a".into()), Some("b".into()));
    }
    view.checks.iter_mut().for_each(|c| c.state = Verdict::Met);
    view.state = State::Done;
    view.hints = vec![Hint { tier: 1, say: "The verb is run: kubectl run --help".into(), ..Hint::default() }];
    view.debrief = vec![
        "Your request was stored as revision 860 after 1.3 ms.".into(),
        "The scheduler chose ropewalk-worker.".into(),
    ];
    view.also = vec![vec!["kubectl apply -f -".into(), "kind: Pod".into()]];
    view
}

/// An interface of this size with a cluster, a lesson, a shell and a command on its way.
pub(super) fn model(width: u16, height: u16, lang: Lang, look: Look) -> Model {
    let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut model = Model::new("main", lang, look, Size::new(width, height), opened);
    cluster(&mut model);
    tell(&mut model, Event::Lesson(Box::new(lesson(lang))));
    tell(
        &mut model,
        Event::Shell(
            "ropewalk> kubectl run web2 --image=nginx\r\npod/web2 created\r\n\x1b[1;32mropewalk>\x1b[0m 파드"
                .as_bytes()
                .to_vec(),
        ),
    );
    tell(&mut model, Event::Records(records()));
    model
}

pub(super) fn screen(model: &Model) -> Buffer {
    let area = Rect::new(0, 0, model.size.width, model.size.height);
    let mut buffer = Buffer::empty(area);
    render(model, area, &mut buffer);
    buffer
}

/// The buffer as a terminal would show it: a wide syllable covers the cell behind it.
pub(super) fn text(buffer: &Buffer) -> String {
    use unicode_width::UnicodeWidthStr;
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += symbol.width().max(1) as u16;
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
