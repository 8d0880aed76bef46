use super::*;
use crate::client::testing::{self, Scripted, refusal};
use serde_json::Value;

fn of<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn claim(volume: &str) -> PersistentVolumeClaim {
    of(
        json!({"metadata": {"name": "c", "namespace": "d", "uid": "c1", "resourceVersion": format!("1{}", volume.len())},
        "spec": {"storageClassName": "late", "volumeName": volume}}),
    )
}

fn pod(uid: &str) -> Pod {
    of(json!({"metadata": {"name": "p", "namespace": "d", "uid": uid, "resourceVersion": uid},
        "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}))
}

/// One whose API server answers nothing.
async fn scheduler(claims: PersistentVolumeClaim) -> Scheduler {
    over(Client::connect(testing::silent().await).unwrap(), claims)
}

fn over(client: Client, claims: PersistentVolumeClaim) -> Scheduler {
    let crew = Crew::new("t");
    let late = json!({"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
    Scheduler {
        pods: Informer::fixed([pod("1")]),
        nodes: Informer::fixed([of(json!({"metadata": {"name": "n"}}))]),
        claims: Informer::fixed([claims]),
        volumes: Informer::fixed([]),
        classes: Informer::fixed([of(late)]),
        queue: WorkQueue::new(&crew),
        recorder: Recorder::new(&crew, &client, NAME, ""),
        assumed: Mutex::default(),
        reserved: Mutex::default(),
        failures: Mutex::default(),
        waiting: Mutex::default(),
        news: watch::Sender::new(()),
        config: Config { client, tap: Tap::new(), rng: Rng::seeded(1), identity: "n_1".into() },
        crew,
    }
}

#[tokio::test]
async fn a_volume_that_is_not_known_yet_is_nowhere_rather_than_everywhere() {
    let scheduler = scheduler(claim("v")).await;
    let why = scheduler.volumes_of(&pod("1")).unwrap_err();
    assert!(why.starts_with("1 node(s) unavailable due to one or more pvc(s)"), "{why}");
    let volume = json!({"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{}]}}}});
    scheduler.volumes.tell_of(of(volume));
    assert_eq!(scheduler.volumes_of(&pod("1")).unwrap().bound.len(), 1);
}

#[tokio::test]
async fn a_binding_waits_for_its_claim_and_not_for_a_pod_that_is_gone() {
    let scheduler = scheduler(claim("")).await;
    let (key, claimed) = (Key::new("d", "p"), Key::new("d", "c"));
    let first = pod("1");
    let bound = scheduler.bound(&claimed, &key, &first);
    tokio::pin!(bound);
    assert!(futures::poll!(bound.as_mut()).is_pending());
    scheduler.news.send_replace(());
    assert!(futures::poll!(bound.as_mut()).is_pending(), "somebody else's news");
    scheduler.claims.tell_of(claim("v"));
    scheduler.news.send_replace(());
    assert!(futures::poll!(bound.as_mut()).is_pending(), "where its volume is is not known yet");
    scheduler.volumes.tell_of(free_volume());
    scheduler.news.send_replace(());
    assert_eq!(bound.await, Ok(()));
    scheduler.claims.tell_of(claim(""));
    scheduler.pods.tell_of(pod("2"));
    assert_eq!(scheduler.bound(&claimed, &key, &pod("1")).await, Err("the pod is gone".into()));
}

#[tokio::test]
async fn a_refused_pod_hears_of_what_changes_while_its_refusal_is_written() {
    let scheduler = Arc::new(scheduler(claim("v")).await);
    let key = Key::new("d", "p");
    let look = scheduler.schedule(key.clone(), None);
    tokio::pin!(look);
    // It is refused, and that is being written: nobody answers.
    assert!(futures::poll!(look.as_mut()).is_pending());
    scheduler.try_again(None);
    assert_eq!(clock::timeout(Duration::from_secs(5), scheduler.queue.next()).await, Some((key, None)));
}

fn free_volume() -> PersistentVolume {
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
    scheduler.volumes.tell_of(free_volume());
    let key = Key::new("d", "p");
    // Its end was not seen: a watch that began anew shows the next one at once.
    scheduler.assumed.lock().unwrap().insert(key.clone(), ("n".into(), Arc::new(pod("older"))));
    scheduler.schedule(key, None).await.unwrap();
    let binding = asked(&server, "POST /api/v1/namespaces/d/pods/p/binding").await;
    assert_eq!(binding.body["metadata"]["uid"], "1");
}

#[tokio::test]
async fn a_free_volume_is_reserved_before_the_pod_is_bound() {
    let server = Scripted::new(|_| None).await;
    let scheduler = Arc::new(over(server.client.clone(), claim("")));
    scheduler.volumes.tell_of(free_volume());
    let key = Key::new("d", "p");
    scheduler.schedule(key.clone(), None).await.unwrap();
    let reserve = asked(&server, "PATCH /api/v1/persistentvolumes/v").await.body;
    assert_eq!(
        (&reserve["spec"]["claimRef"]["uid"], &reserve["metadata"]["resourceVersion"]),
        (&json!("c1"), &json!("7"))
    );
    // Nobody else gets it meanwhile.
    assert_eq!(scheduler.volumes_of(&pod("1")).unwrap().free.len(), 0);
    scheduler.claims.tell_of(claim("v"));
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
    // Somebody binds the claim by hand, to a volume of another node.
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["elsewhere"]}]});
    let mut far = free_volume();
    far.spec.as_mut().unwrap().node_affinity = of(json!({"required": {"nodeSelectorTerms": [term]}}));
    scheduler.volumes.tell_of(far);
    scheduler.claims.tell_of(claim("v"));
    scheduler.news.send_replace(());
    let told = asked(&server, "PATCH /api/v1/namespaces/d/pods/p/status").await.body;
    let condition = &told["status"]["conditions"][0];
    assert_eq!(condition["reason"], SCHEDULER_ERROR);
    assert!(condition["message"].as_str().unwrap().contains("node affinity"), "{condition}");
}

#[tokio::test]
async fn a_binding_that_fails_is_told_in_the_condition_and_tried_again() {
    let server = Scripted::new(|asked| match asked.line.ends_with("/binding") {
        true => refusal(500, "no binding today"),
        false => None,
    })
    .await;
    let scheduler = Arc::new(over(server.client.clone(), claim("v")));
    scheduler.volumes.tell_of(free_volume());
    let key = Key::new("d", "p");
    scheduler.schedule(key.clone(), None).await.unwrap();
    let told = asked(&server, "PATCH /api/v1/namespaces/d/pods/p/status").await.body;
    let message = told["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("no binding today"), "{message}");
    assert_eq!(clock::timeout(Duration::from_secs(20), scheduler.queue.next()).await.unwrap().0, key);
    assert!(scheduler.assumed.lock().unwrap().is_empty(), "its room is free again");
    assert_eq!(scheduler.failures.lock().unwrap().get(&key), Some(&1));
}
