//! Registration and heartbeats: the Node object ([`status`], with its [`amounts`] and [`labels`])
//! and its [`lease`].

use super::config::Config;
use super::pressure::Pressures;
use amounts::patch;
use client::{Recorder, is_code};
use events::{change_of_cordon, change_of_readiness, reboot};
use failures::Failures;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use labels::{DEFAULTS, OF_MACHINE, bring_back};
use lease::renew;
use parking_lot::{Mutex, MutexGuard};
use status::{RUNTIME_SILENT, RuntimeAnswers, differs};
use std::sync::Arc;
use std::time::Duration;
use tap::{Event, Record};
use task::Crew;
use tokio::sync::watch;

mod amounts;
mod events;
mod failures;
pub(crate) mod hosts;
mod labels;
mod lease;
mod status;

/// The pause between two renewals of the Lease.
const LEASE_EVERY: Duration = Duration::from_secs(10);
/// The pause between two looks at the Node's status, which is written if it has changed.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// The age at which a status that has not changed is written again.
const STATUS_AT_LEAST: Duration = Duration::from_secs(300);

/// Heartbeats are at least this far apart in real time: each is a write to the store.
const HEARTBEAT_LEAST: Duration = Duration::from_millis(500);

/// Reports on the node: its status, and Events about it.
struct Reporter {
    config: Arc<Config>,
    recorder: Recorder,
    runtime: Mutex<RuntimeAnswers>,
}

impl Reporter {
    /// Asks the runtime for its images, and notes whether it answers.
    async fn ask_runtime(&self) {
        let answer = self.config.runtime.list_images().await;
        self.runtime().note(answer, &self.config.node_name);
    }

    fn runtime(&self) -> MutexGuard<'_, RuntimeAnswers> {
        self.runtime.lock()
    }

    fn status(&self, old: Option<&NodeStatus>, pressed: Pressures) -> NodeStatus {
        status::status(&self.config, old, pressed, &self.runtime())
    }

    /// Writes the Event with this reason about the node.
    fn record(&self, reason: &str) {
        let message = format!("Node {} status is now: {reason}", self.config.node_name);
        self.recorder.normal(&self.config.about_node(), reason, message, None);
    }
}

/// Registers the node and keeps its Lease and its status up to date until the crew ends. `pressed`
/// says whether memory or disk are low.
pub(crate) fn start(crew: &Crew, config: &Arc<Config>, pressed: watch::Receiver<Pressures>) {
    let config = config.clone();
    let own_crew = crew.clone();
    crew.spawn_essential(async move {
        let recorder = Recorder::new(&own_crew, &config.client, "kubelet", &config.node_name);
        let reporter = Arc::new(Reporter { config: config.clone(), recorder, runtime: Mutex::default() });
        clock::limit(RUNTIME_SILENT, reporter.ask_runtime()).await; // so that the node begins as ready
        let asking = reporter.clone();
        own_crew.spawn_essential(async move {
            loop {
                clock::sleep_at_least(STATUS_EVERY, HEARTBEAT_LEAST).await;
                asking.ask_runtime().await;
            }
        });
        let (mut pause, mut failures) = (Duration::from_millis(20), Failures::default());
        loop {
            let low = *pressed.borrow();
            let Err(error) = register(&reporter, low).await else { break };
            failures.note(&config.node_name, "the node cannot be registered", &error);
            clock::pause(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        tracing::info!(node = config.node_name, "Successfully registered node");
        config.tap.emit(Record::new(Event::Register).object("nodes", "", &config.node_name));
        let leases = config.clone();
        own_crew.spawn_essential(async move {
            let mut failures = Failures::default();
            loop {
                if let Err(error) = renew(&leases).await {
                    failures.note(&leases.node_name, "the node's Lease cannot be renewed", &error);
                    clock::pause(Duration::from_millis(200)).await;
                    continue;
                }
                failures.note_success();
                clock::sleep_at_least(LEASE_EVERY, HEARTBEAT_LEAST).await;
            }
        });
        heartbeat(&reporter, pressed).await;
    });
}

/// Makes the Node object, or brings the default labels and the status of an older one up to date,
/// which keeps its other labels, its annotations and taints.
async fn register(reporter: &Reporter, pressed: Pressures) -> Result<(), kube::Error> {
    let config = &reporter.config;
    let api = config.client.cluster::<Node>();
    let node = Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(config.labels.clone()),
            annotations: Some(config.annotations.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: Some(config.pod_cidr.clone()),
            pod_cidrs: Some(vec![config.pod_cidr.clone()]),
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..NodeSpec::default()
        }),
        status: Some(reporter.status(None, pressed)),
    };
    let stored = match api.create(&PostParams::default(), &node).await {
        Ok(created) => created,
        Err(error) if is_code(&error, 409) => {
            // A node that was here before keeps its other labels, its taints and cordon.
            let found = api.get(&config.node_name).await?;
            bring_back(config, &found, &DEFAULTS).await?;
            found
        }
        Err(error) => return Err(error),
    };
    let old = stored.status.as_ref();
    write_status(reporter, old, &reporter.status(old, pressed)).await
}

/// Keeps the Node's status up to date. A node has two signs of life (KEP-589): the Lease every 10
/// s, which is a few hundred bytes, and this status, which is some kilobytes and is written when it
/// changes, or after five minutes. In a cluster of thousands of nodes the status every 10 s would
/// be most of what etcd writes.
async fn heartbeat(reporter: &Reporter, mut pressure: watch::Receiver<Pressures>) {
    let config = &reporter.config;
    let (mut written, mut was_cordoned, mut failures) = (clock::Instant::now(), false, Failures::default());
    loop {
        // At once if that has changed; without a sender this kubelet is ending.
        tokio::select! {
            biased;
            changed = pressure.changed() => if changed.is_err() { return },
            () = clock::sleep_at_least(STATUS_EVERY, HEARTBEAT_LEAST) => {}
        }
        let pressed = *pressure.borrow_and_update();
        let result = async {
            let node = config.client.cluster::<Node>().get(&config.node_name).await?;
            if let Some(reason) = change_of_cordon(&mut was_cordoned, &node) {
                reporter.record(reason);
            }
            if let Err(error) = bring_back(config, &node, &OF_MACHINE).await {
                tracing::debug!(node = config.node_name, %error, "labels not written"); // the status is
            }
            let fresh = reporter.status(node.status.as_ref(), pressed);
            let due = clock::passed(written, clock::Instant::now()) >= STATUS_AT_LEAST;
            if due || differs(node.status.as_ref(), &fresh) {
                write_status(reporter, node.status.as_ref(), &fresh).await?;
                written = clock::Instant::now();
            }
            Ok::<(), kube::Error>(())
        };
        match result.await {
            Err(error) if is_code(&error, 404) => {
                // A client deleted the Node: here a running kubelet registers it again, unlike
                // upstream.
                match register(reporter, pressed).await {
                    Ok(()) => failures.note_success(),
                    Err(error) => {
                        failures.note(&config.node_name, "the node cannot be registered again", &error);
                    }
                }
            }
            Err(error) => failures.note(&config.node_name, "the node's status cannot be written", &error),
            Ok(()) => failures.note_success(),
        }
    }
}

/// Writes the status over `old`, and then an Event if the machine has started anew, and one if the
/// node is ready again, or no longer: the node controller, too, takes the readiness from a node
/// whose kubelet is silent.
async fn write_status(
    reporter: &Reporter,
    old: Option<&NodeStatus>,
    status: &NodeStatus,
) -> Result<(), kube::Error> {
    let (config, patch) = (&reporter.config, patch(old, status));
    let api = config.client.cluster::<Node>();
    api.patch_status(&config.node_name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
    if let Some(message) = reboot(&config.node_name, old, status) {
        reporter.recorder.warning(&config.about_node(), "Rebooted", message, None);
    }
    if let Some(reason) = change_of_readiness(old, status) {
        reporter.record(reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::status::node_info;
    use super::*;
    use crate::pods::tests;
    use client::testing::{Asked, Scripted, refusal};
    use cri::fake::FakeRuntime;
    use k8s_openapi::api::core::v1::NodeSystemInfo;
    use rng::Rng;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[tokio::test(start_paused = true)]
    async fn a_node_whose_runtime_does_not_answer_keeps_its_images_and_is_not_ready() {
        let api = Scripted::new(|_| None).await;
        let fake = FakeRuntime::new(tests::NODE, tests::PODS, Rng::seeded(1));
        let config = Arc::new(tests::config(&api.client, &fake, "/nowhere".into()));
        let reporter = reporter_of(config);
        let shown = |old: Option<&NodeStatus>| {
            let status = reporter.status(old, Pressures::default());
            let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready").unwrap();
            ((ready.status.clone(), ready.message.clone().unwrap()), status.images.clone())
        };
        let stored: NodeStatus =
            serde_json::from_value(json!({"images": [{"names": ["nginx"], "sizeBytes": 1}]})).unwrap();
        let down = ("False".to_string(), "container runtime is down".to_string());
        assert_eq!(shown(Some(&stored)), (down.clone(), stored.images.clone()), "it has not answered yet");
        reporter.ask_runtime().await;
        let (up, images) = shown(Some(&stored));
        assert_eq!((up.0.as_str(), images.is_some()), ("True", true));
        reporter.runtime().note(Err(cri::Error::State("away".into())), "n1");
        assert_eq!(shown(None), (up, images.clone()), "one error says nothing yet");
        clock::sleep(RUNTIME_SILENT).await;
        assert_eq!(shown(None), (down, images));
        let status = serde_json::to_value(reporter.status(None, Pressures::default())).unwrap();
        assert_eq!(status["features"], json!({"supplementalGroupsPolicy": true}));
        let features = json!({"recursiveReadOnlyMounts": true, "userNamespaces": false});
        assert_eq!(status["runtimeHandlers"], json!([{"name": "", "features": features}]));
    }

    /// Its node would be silent for good, and lose its pods: nothing else sees that it reports no
    /// more.
    #[tokio::test]
    async fn a_panic_in_the_heartbeat_ends_the_kubelet_so_that_it_is_started_again() {
        let api = Scripted::new(|_| None).await;
        let fake = FakeRuntime::new(tests::NODE, tests::PODS, Rng::seeded(1));
        fake.panic_at_images();
        let config = Arc::new(tests::config(&api.client, &fake, "/nowhere".into()));
        let (crew, (_pressure, pressed)) = (Crew::new("test"), watch::channel(Pressures::default()));
        start(&crew, &config, pressed);
        let ended = tokio::time::timeout(Duration::from_secs(10), crew.wait()).await;
        assert!(matches!(ended, Ok(task::End::Panicked(_))), "{ended:?}");
        crew.kill();
    }

    fn reporter(api: &Scripted) -> Reporter {
        let fake = FakeRuntime::new(tests::NODE, tests::PODS, Rng::seeded(1));
        let mut config = tests::config(&api.client, &fake, "/nowhere".into());
        let labels = ["node-role.kubernetes.io/control-plane", "kubernetes.io/hostname"];
        config.labels = labels.map(|name| (name.to_string(), "n1".to_string())).into();
        config.annotations = BTreeMap::from([("own".to_string(), "1".to_string())]);
        reporter_of(Arc::new(config))
    }

    fn reporter_of(config: Arc<Config>) -> Reporter {
        let recorder = Recorder::new(&Crew::new("test"), &config.client, "kubelet", &config.node_name);
        Reporter { config, recorder, runtime: Mutex::default() }
    }

    /// One look at the node's status, and no other.
    async fn heartbeat_once(reporter: &Reporter) {
        let (pressure, pressed) = watch::channel(Pressures::default());
        pressure.send_replace(Pressures { memory: true, ..Pressures::default() });
        drop(pressure);
        heartbeat(reporter, pressed).await;
    }

    fn lines(asked: &[Asked]) -> Vec<&str> {
        asked.iter().map(|one| one.line.as_str()).collect()
    }

    #[tokio::test]
    async fn a_node_that_was_here_before_gets_labels_and_a_status() {
        let api = Scripted::new(|asked| match asked.line.as_str() {
            "POST /api/v1/nodes" => refusal(409, "AlreadyExists"),
            "GET /api/v1/nodes/n1" => {
                let capacity = json!({"example.com/dongle": "4"});
                Some((200, json!({"metadata": {"name": "n1"}, "status": {"capacity": capacity}})))
            }
            _ => None,
        })
        .await;
        register(&reporter(&api), Pressures::default()).await.unwrap();
        let asked = api.take();
        let want = [
            "POST /api/v1/nodes",
            "GET /api/v1/nodes/n1",
            "PATCH /api/v1/nodes/n1",
            "PATCH /api/v1/nodes/n1/status",
        ];
        assert_eq!(lines(&asked), want);
        let labels = json!({"kubernetes.io/hostname": "n1"});
        assert_eq!(asked[2].body, json!({"metadata": {"labels": labels}}), "its role may have been removed");
        let status = &asked[3].body["status"];
        assert_eq!(status["allocatable"]["example.com/dongle"], "4");
    }

    #[tokio::test]
    async fn a_node_that_was_deleted_registers_again() {
        let api = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/nodes/n1" => refusal(404, "NotFound"),
            _ => None,
        })
        .await;
        heartbeat_once(&reporter(&api)).await;
        let asked = api.take();
        let want = ["GET /api/v1/nodes/n1", "POST /api/v1/nodes", "PATCH /api/v1/nodes/n1/status"];
        assert_eq!(lines(&asked), want);
        assert_eq!(asked[1].body["metadata"]["annotations"], json!({"own": "1"}));
        let memory = asked[2].body["status"]["conditions"].as_array().unwrap()[0].clone();
        assert_eq!((&memory["type"], &memory["status"]), (&json!("MemoryPressure"), &json!("True")));
    }

    #[tokio::test]
    async fn an_event_tells_that_a_node_is_ready_again_or_no_longer() {
        let with = |ready: &str| json!({"conditions": [{"type": "Ready", "status": ready}]});
        for (before, answers, reason) in [("Unknown", true, "NodeReady"), ("True", false, "NodeNotReady")] {
            let node = json!({"metadata": {"name": "n1"}, "status": with(before)});
            let api = Scripted::new(move |asked| {
                (asked.line == "GET /api/v1/nodes/n1").then(|| (200, node.clone()))
            })
            .await;
            let reporter = reporter(&api);
            if answers {
                reporter.ask_runtime().await;
            }
            heartbeat_once(&reporter).await;
            assert_eq!(api.event(reason).await, format!("Node n1 status is now: {reason}"));
        }
    }

    #[tokio::test]
    async fn events_tell_that_a_node_is_cordoned_and_that_its_machine_has_started_anew() {
        let info = node_info(&reporter(&Scripted::new(|_| None).await).config);
        let before = NodeSystemInfo { boot_id: "of-before".into(), ..info };
        let status = json!({"nodeInfo": before});
        let node = json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true}, "status": status});
        let api =
            Scripted::new(move |asked| (asked.line == "GET /api/v1/nodes/n1").then(|| (200, node.clone())))
                .await;
        let reporter = reporter(&api);
        heartbeat_once(&reporter).await;
        let reason = "NodeNotSchedulable";
        assert_eq!(api.event(reason).await, format!("Node n1 status is now: {reason}"));
        assert!(api.event("Rebooted").await.starts_with("Node n1 has been rebooted, boot id: "));
    }
}
