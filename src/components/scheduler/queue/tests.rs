//! The scheduler between its caches and an API server that keeps what it is asked for: decisions,
//! bindings, and the pauses after those that failed.

use super::*;
use api::volumes::{BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE};
use client::testing::{self, Scripted, refusal};
use serde_json::{Value, json};
use tap::Event;

pub(super) fn of<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

pub(super) fn claim(volume: &str) -> PersistentVolumeClaim {
    let annotations = if volume.is_empty() { json!({}) } else { json!({BIND_COMPLETED: "yes"}) };
    let version = format!("1{}", volume.len());
    of(
        json!({"metadata": {"name": "c", "namespace": "d", "uid": "c1", "resourceVersion": version, "annotations": annotations},
        "spec": {"storageClassName": "late", "volumeName": volume}}),
    )
}

/// Returns a second pod with the same claim.
pub(super) fn other() -> Pod {
    let mut other = pod("2");
    other.metadata.name = Some("q".into());
    other
}

pub(super) fn pod(uid: &str) -> Pod {
    of(json!({"metadata": {"name": "p", "namespace": "d", "uid": uid, "resourceVersion": uid},
        "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}))
}

/// Makes a scheduler with these claims, the pod `d/p` and the node `n`, whose API server never
/// answers.
pub(super) async fn scheduler(claims: PersistentVolumeClaim) -> Scheduler {
    over(Client::connect(testing::silent().await).unwrap(), claims)
}

/// Makes such a scheduler with this client.
pub(super) fn over(client: Client, claims: PersistentVolumeClaim) -> Scheduler {
    let crew = Crew::new("t");
    let late = json!({"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
    let pods = Informer::fixed([pod("1")]);
    let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "9"}}});
    let nodes = Informer::fixed([of(node)]);
    Scheduler {
        cache: Cache::follow(&pods, &nodes),
        pods,
        nodes,
        claims: Informer::fixed([claims]),
        volumes: Informer::fixed([]),
        classes: Informer::fixed([of(late)]),
        queue: WorkQueue::new(&crew),
        recorder: Recorder::new(&crew, &client, NAME, ""),
        reserved: Mutex::default(),
        failures: Mutex::default(),
        waiting: Mutex::default(),
        conditions: Mutex::default(),
        events: Mutex::default(),
        preemption_events: Mutex::default(),
        news: watch::Sender::new(()),
        config: Config { client, tap: Tap::new(), rng: Rng::seeded(1), identity: "n_1".into() },
        crew,
    }
}

#[tokio::test]
async fn pods_that_share_an_open_claim_take_one_volume_for_it() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("")));
    let spare: PersistentVolume =
        of(json!({"metadata": {"name": "w"}, "spec": {"storageClassName": "late"}}));
    scheduler.volumes.show(free_volume());
    scheduler.volumes.show(spare);
    scheduler.pods.show(other());
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    let found = scheduler.volumes_of(&other()).unwrap();
    assert_eq!((found.open[0].node.as_deref(), found.open[0].is_shared), (Some("n"), true));
    scheduler.schedule(Key::new("d", "q"), None).await.unwrap();
    scheduler.claims.show(claim("v"));
    scheduler.news.send_replace(());
    asked(&server, "POST /api/v1/namespaces/d/pods/q/binding").await;
    let ended = async {
        while !scheduler.reserved.lock().claims.is_empty() {
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(clock::timeout(Duration::from_secs(20), ended).await.is_some(), "the claim is nobody's any more");
}

#[tokio::test]
async fn a_volume_is_reserved_once_for_a_claim() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("")));
    scheduler.volumes.show(free_volume());
    scheduler.volumes.show(of(json!({"metadata": {"name": "w"}, "spec": {"storageClassName": "late"}})));
    scheduler.pods.show(other());
    for name in ["p", "q"] {
        scheduler.schedule(Key::new("d", name), None).await.unwrap();
    }
    let reserved = asked(&server, "PATCH /api/v1/persistentvolumes/v").await;
    assert_eq!(reserved.body["metadata"]["annotations"][BOUND_BY_CONTROLLER], "yes");
    clock::sleep(Duration::from_millis(100)).await;
    assert!(!server.lines().iter().any(|line| line.ends_with("persistentvolumes/w")));
}

#[tokio::test]
async fn a_refused_pod_hears_of_what_changes_while_its_refusal_is_written() {
    let scheduler = Arc::new(scheduler(claim("v")).await);
    let key = Key::new("d", "p");
    let look = scheduler.schedule(key.clone(), None);
    tokio::pin!(look);
    // It is refused, and that is being written: the API server does not answer.
    assert!(futures::poll!(look.as_mut()).is_pending());
    scheduler.try_again(None);
    assert_eq!(clock::timeout(Duration::from_secs(5), scheduler.queue.next()).await, Some((key, None)));
}

pub(super) fn free_volume() -> PersistentVolume {
    of(
        json!({"metadata": {"name": "v", "uid": "w", "resourceVersion": "7"}, "spec": {"storageClassName": "late"}}),
    )
}

/// Waits for a request.
async fn asked(server: &Scripted, line: &str) -> testing::Asked {
    clock::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(found) = server.take().into_iter().find(|a| a.line == line) {
                return found;
            }
            clock::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect(line)
}

#[tokio::test]
async fn a_pod_of_the_same_name_does_not_wait_for_the_one_before() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.volumes.show(free_volume());
    let key = Key::new("d", "p");
    // Its end was not seen: a watch that began anew shows the next one at once.
    scheduler.cache.assume(&key, &pod("older"), "n");
    scheduler.schedule(key, None).await.unwrap();
    let binding = asked(&server, "POST /api/v1/namespaces/d/pods/p/binding").await;
    assert_eq!(binding.body["metadata"]["uid"], "1");
}

/// The pod was deleted and made again while it was in the queue. The informer has the new one, and
/// its handlers have not heard of that yet: assumed now, it would take no room of its node.
#[tokio::test]
async fn a_pod_that_the_cache_has_not_seen_yet_is_not_decided() {
    let followed = scheduler(claim("v")).await;
    followed.volumes.show(free_volume());
    let cache = Cache::follow(&Informer::fixed([pod("before")]), &followed.nodes);
    let scheduler = Arc::new(Scheduler { cache, ..followed });
    let key = Key::new("d", "p");
    assert_eq!(scheduler.schedule(key.clone(), None).await.unwrap(), Outcome::Done);
    assert!(scheduler.cache.assumed().is_empty());
    let cache = Cache::follow(&scheduler.pods, &scheduler.nodes);
    cache.assume(&key, &pod("1"), "n");
    assert_eq!(cache.picture()[0].requested.pods, 1, "once it is seen it is counted");
}

/// The API server compares: the node may have lost a label that this scheduler still sees.
#[tokio::test]
async fn a_binding_names_the_version_of_the_node_that_was_looked_at() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.volumes.show(free_volume());
    let node =
        json!({"metadata": {"name": "n", "resourceVersion": "8"}, "status": {"allocatable": {"pods": "9"}}});
    scheduler.nodes.show(of(node));
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    let binding = asked(&server, "POST /api/v1/namespaces/d/pods/p/binding").await;
    assert_eq!(binding.body["target"]["resourceVersion"], "8");
}

/// The store of an informer is ahead of its handlers.
#[tokio::test]
async fn the_end_of_a_pod_does_not_undo_the_decision_for_the_next_one_of_its_name() {
    let scheduler = scheduler(claim("v")).await;
    let key = Key::new("d", "p");
    scheduler.cache.assume(&key, &pod("2"), "n");
    scheduler.pod_changed(&Change::Deleted(Arc::new(pod("1"))));
    assert!(scheduler.cache.has_assumed(&key, &pod("2")));
    scheduler.pod_changed(&Change::Deleted(Arc::new(pod("2"))));
    assert!(scheduler.cache.assumed().is_empty());
}

/// An administrator reserved it for this claim: no component may take that back.
#[tokio::test]
async fn a_volume_that_names_its_claim_is_not_marked_as_reserved_by_a_component() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("")));
    let mut wanted = free_volume();
    wanted.spec.as_mut().unwrap().claim_ref = of(json!({"namespace": "d", "name": "c"}));
    scheduler.volumes.show(wanted);
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    let reserve = asked(&server, "PATCH /api/v1/persistentvolumes/v").await.body;
    assert_eq!(reserve["spec"]["claimRef"]["uid"], "c1");
    assert_eq!(reserve["metadata"].get("annotations"), None);
}

#[tokio::test]
async fn a_free_volume_is_reserved_before_the_pod_is_bound() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("")));
    scheduler.volumes.show(free_volume());
    let key = Key::new("d", "p");
    scheduler.schedule(key.clone(), None).await.unwrap();
    let reserve = asked(&server, "PATCH /api/v1/persistentvolumes/v").await.body;
    assert_eq!(
        (&reserve["spec"]["claimRef"]["uid"], &reserve["metadata"]["resourceVersion"]),
        (&json!("c1"), &json!("7"))
    );
    // No other claim gets it meanwhile.
    assert_eq!(scheduler.volumes_of(&pod("1")).unwrap().open[0].fitting.len(), 0);
    scheduler.claims.show(claim("v"));
    scheduler.news.send_replace(());
    asked(&server, "POST /api/v1/namespaces/d/pods/p/binding").await;
    assert_eq!(scheduler.volumes_of(&pod("1")).unwrap().bound.len(), 1);
}

#[tokio::test]
async fn a_pod_is_not_bound_where_its_volume_is_not() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("")));
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    asked(&server, "PATCH /api/v1/namespaces/d/persistentvolumeclaims/c").await;
    // A user binds the claim by hand, to a volume of another node.
    let rule = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["elsewhere"]});
    let term = json!({"matchExpressions": [rule]});
    let mut far = free_volume();
    far.spec.as_mut().unwrap().node_affinity = of(json!({"required": {"nodeSelectorTerms": [term]}}));
    scheduler.volumes.show(far);
    scheduler.claims.show(claim("v"));
    scheduler.news.send_replace(());
    let patch = asked(&server, "PATCH /api/v1/namespaces/d/pods/p/status").await.body;
    let condition = &patch["status"]["conditions"][0];
    assert_eq!(condition["reason"], SCHEDULER_ERROR);
    assert!(condition["message"].as_str().unwrap().contains("node affinity"), "{condition}");
}

#[tokio::test]
async fn a_binding_that_fails_stands_in_the_condition_and_is_tried_again() {
    let server = Scripted::new(|asked| match asked.line.ends_with("/binding") {
        true => refusal(500, "no binding today"),
        false => None,
    })
    .await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.volumes.show(free_volume());
    let key = Key::new("d", "p");
    scheduler.schedule(key.clone(), None).await.unwrap();
    let patch = asked(&server, "PATCH /api/v1/namespaces/d/pods/p/status").await.body;
    let message = patch["status"]["conditions"][0]["message"].as_str().unwrap();
    assert_eq!(message, "running Bind plugin \"DefaultBinder\": no binding today");
    assert_eq!(clock::timeout(Duration::from_secs(20), scheduler.queue.next()).await.unwrap().0, key);
    assert!(scheduler.cache.assumed().is_empty(), "its room is free again");
    assert_eq!(scheduler.failures.lock().get(&key).map(|f| f.count), Some(1));
}

#[tokio::test]
async fn room_that_a_binding_gives_back_is_offered_to_those_who_wait() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    let (first, second) = (Key::new("d", "first"), Key::new("d", "a-second"));
    scheduler.waiting.lock().insert(first.clone(), clock::Instant::now());
    let later = clock::Instant::now() + Duration::from_secs(1);
    scheduler.waiting.lock().insert(second.clone(), later);
    scheduler.binding_failed(&Key::new("d", "p"), &pod("1"), "n", "no".into(), None).await;
    assert_eq!(scheduler.queue.next().await.0, first, "who waits for longest comes first");
    assert_eq!(scheduler.queue.next().await.0, second);
}

#[tokio::test]
async fn a_pod_that_has_its_node_gets_no_condition_that_it_has_none() {
    let server = Scripted::new(|_| None).await;
    let scheduler = over(server.client.clone(), claim("v"));
    let mut bound = pod("1");
    bound.spec.as_mut().unwrap().node_name = Some("n".into());
    scheduler.pods.show(bound);
    scheduler.binding_failed(&Key::new("d", "p"), &pod("1"), "n", "the answer was lost".into(), None).await;
    assert!(server.lines().is_empty());
}

/// The watch shows the pod's end while its failure is being counted.
#[tokio::test]
async fn a_failure_of_a_pod_that_is_gone_is_forgotten() {
    let scheduler = Arc::new(scheduler(claim("v")).await);
    let gone = Key::new("d", "gone");
    scheduler.begin_pause(&gone, &pod("7"));
    assert_eq!(scheduler.schedule(gone, None).await.unwrap(), Outcome::Done);
    assert!(scheduler.failures.lock().is_empty());
}

/// Every binding that fails gives room back, and then all pods that wait are looked at again.
#[tokio::test(start_paused = true)]
async fn news_do_not_end_the_pause_after_a_binding_that_failed() {
    let scheduler = Arc::new(scheduler(claim("v")).await);
    scheduler.volumes.show(free_volume());
    // Its condition says the same already, so nothing is written.
    let mut refused = pod("1");
    refused.status =
        of(json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no"}]}));
    scheduler.pods.show(refused.clone());
    let key = Key::new("d", "p");
    for pause in [1, 2, 4, 8, 10, 10].map(Duration::from_secs) {
        scheduler.binding_failed(&key, &refused, "n", "no".into(), None).await;
        scheduler.try_again(None); // the binding of another pod has failed
        assert_eq!(scheduler.schedule(key.clone(), None).await.unwrap(), Outcome::Pause(pause));
        assert!(scheduler.cache.assumed().is_empty());
        tokio::time::advance(pause).await;
    }
    scheduler.schedule(key.clone(), None).await.unwrap();
    assert_eq!(scheduler.cache.assumed(), [key]);
}

#[tokio::test]
async fn a_claim_that_was_selected_for_an_unknown_node_goes_to_another_one() {
    let server = Scripted::new(|_| None).await;
    let mut asked_before = claim("");
    asked_before.metadata.annotations = Some([(SELECTED_NODE.to_string(), "gone".to_string())].into());
    let scheduler = Arc::new(over(server.client.clone(), asked_before));
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    let patch = asked(&server, "PATCH /api/v1/namespaces/d/persistentvolumeclaims/c").await.body;
    assert_eq!(patch["metadata"]["annotations"][SELECTED_NODE], "n");
}

/// The scheduling view shows a pod that its volumes keep from every node, too.
#[tokio::test]
async fn a_pod_that_its_volumes_keep_from_every_node_leaves_a_record() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    let records = scheduler.config.tap.since(0);
    let decision = records.iter().find_map(|r| match &r.event {
        Event::Schedule(decision) => Some(decision),
        _ => None,
    });
    let decision = decision.expect("a record");
    let verdict = &decision.verdicts[0];
    assert_eq!((verdict.node.as_str(), &decision.chosen), ("n", &None));
    let refused = &verdict.refused[0];
    assert_eq!((&*refused.filter, refused.final_), ("VolumeZone", true));
    assert!(refused.reason.contains("persistentvolume \"v\" not found"), "{refused:?}");
}

#[tokio::test]
async fn an_event_says_that_an_affinity_does_not_count_once_the_pod_has_a_node() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.volumes.show(free_volume());
    let mut near = pod("1");
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]});
    near.spec.as_mut().unwrap().affinity = of(json!({"podAffinity": required}));
    near.spec.as_mut().unwrap().node_selector = of(json!({"disk": "ssd"}));
    let has_event = |reason: &str| server.events().iter().any(|event| event.body["reason"] == reason);
    scheduler.pods.show(near.clone());
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    server.event("FailedScheduling").await;
    assert!(!has_event("AffinityNotImplemented"), "it is not scheduled");
    near.spec.as_mut().unwrap().node_selector = None;
    near.metadata.resource_version = Some("2".into());
    scheduler.pods.show(near);
    scheduler.schedule(Key::new("d", "p"), None).await.unwrap();
    server.event("AffinityNotImplemented").await;
}

#[test]
fn pods_that_name_another_scheduler_or_are_held_by_a_gate_are_not_decided() {
    for (spec, status, want) in [
        (json!({}), json!({}), true),
        (
            json!({"schedulerName": "default-scheduler", "schedulingGates": []}),
            json!({"phase": "Pending"}),
            true,
        ),
        (json!({"schedulerName": "own"}), json!({}), false),
        (json!({"schedulingGates": [{"name": "example.com/wait"}]}), json!({}), false),
        (json!({"nodeName": "n"}), json!({}), false),
        (json!({"nodeName": ""}), json!({}), true),
        (json!({}), json!({"phase": "Failed"}), false),
    ] {
        let mut object = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
        object["spec"]["containers"] = json!([]);
        let mut pod: Pod = of(object);
        assert_eq!(is_pending(&pod), want, "{spec} {status}");
        pod.metadata.deletion_timestamp = of(json!("2026-01-01T00:00:00Z"));
        assert!(!is_pending(&pod), "it is being deleted");
    }
}
