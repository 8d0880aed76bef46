use super::super::measured::Measured;
use super::super::tests::{NODE, PODS, config};
use super::*;
use client::Informer;
use client::testing::Scripted;
use cri::fake::FakeRuntime;
use rng::Rng;
use task::Crew;
use tokio::sync::watch;

#[test]
fn volumes_of_containers_of_every_kind_are_written_to() {
    let mount = |name: &str, read_only: bool| serde_json::json!({"name": name, "mountPath": "/m", "readOnly": read_only});
    let one = |mounts: &[serde_json::Value]| serde_json::json!([{"name": "c", "volumeMounts": mounts}]);
    let spec: PodSpec = serde_json::from_value(serde_json::json!({
        "initContainers": one(&[mount("a", false)]),
        "containers": one(&[mount("b", false), mount("r", true)]),
        "ephemeralContainers": one(&[mount("e", false)]),
    }))
    .unwrap();
    assert_eq!(written_volumes(&spec).into_iter().collect::<Vec<_>>(), ["a", "b", "e"]);
}

#[test]
fn files_of_the_node_count_as_directories_of_it_do_and_links_stay_inside() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    std::fs::create_dir_all(host.join("d")).unwrap();
    std::fs::write(dir.path().join("outside"), vec![1; 4 << 20]).unwrap();
    std::fs::write(host.join("d/f"), vec![1; 1 << 20]).unwrap();
    std::os::unix::fs::symlink("../../outside", host.join("d/out")).unwrap();
    let (mounted, soon) = (Mounted::default(), Instant::now() + walk::POD_TIME);
    let at = |path: &str, until| of_node(&host, Path::new(path), &mounted, until).unwrap();
    // A pod that has no time left does not make the directory unknown for the next one, which
    // mounts it, too.
    assert_eq!(at("/d", Instant::now()), Amount::BEYOND);
    let bytes = |path: &str| at(path, soon).bytes;
    assert!((1 << 20..2 << 20).contains(&bytes("/d/f")), "{}", bytes("/d/f"));
    assert!((1 << 20..2 << 20).contains(&bytes("/d")) && bytes("/d/out") == 0 && bytes("/none") == 0);
    // What is known is the same under every name.
    assert_eq!(at("/./d/../d/", Instant::now()), at("/d", soon));
}

#[test]
fn what_was_measured_is_used_until_it_is_too_old() {
    let (measured, at) = (Measured::default(), clock::Instant::now());
    let own = Arc::new(local_storage::Use::default());
    measured.lock().entry("u".into()).or_default().own = Some((at, own));
    assert!(measured.own("u", at).is_some() && measured.own("v", at).is_none());
    assert!(measured.own("u", at + Duration::from_millis(1)).is_none() && measured.last("u").is_some());
    assert!(!measured.was_cut("u") && !measured.was_cut("v"));
    let beyond = [("v".to_string(), Amount::BEYOND)].into();
    let cut = Arc::new(local_storage::Use { volumes: beyond, ..local_storage::Use::default() });
    measured.lock().entry("u".into()).or_default().own = Some((at, cut));
    assert!(measured.was_cut("u"));
    // A walk waits for those of all other pods; what asks for it again meanwhile changes
    // nothing.
    assert_eq!(
        [measured.note_waiting("u"), measured.note_waiting("u"), measured.note_waiting("v")],
        [true, false, true]
    );
    measured.note_walked("u");
    assert!(measured.note_waiting("u"));
    measured.forget("u");
    assert!(measured.own("u", at).is_none() && !measured.was_cut("u"));
}

/// A kubelet that gave up would evict no pod as long as it lives.
#[tokio::test(start_paused = true)]
async fn a_node_is_watched_as_soon_as_its_directory_can_be_made() {
    let machine = tempfile::tempdir().unwrap();
    let above = machine.path().join("data");
    std::fs::write(&above, "a file in the way").unwrap();
    let api = Scripted::new(|_| None).await;
    let runtime = FakeRuntime::new(NODE, PODS, Rng::seeded(1));
    let mut config = config(&api.client, &runtime, above.join("n1"));
    let full = pressure::Memory { limit: 1 << 30, used: 1 << 30, machine: 1 << 30 };
    config.machine = Arc::new(pressure::Machine::new(Box::new(move || Some(full))));
    let (pressures, mut pressed) = watch::channel(pressure::Pressures::default());
    let (crew, pods, services) = (Crew::new("test"), Informer::fixed([]), Informer::fixed([]));
    let kubelet = Arc::new(Kubelet::new(&crew, &Arc::new(config), pods, services, pressures));
    let mut watching = Box::pin(EvictionManager::new(kubelet).watch());
    assert!(clock::limit(LOOK_AGAIN / 2, &mut watching).await.is_none());
    assert!(!pressed.borrow().memory);
    std::fs::remove_file(&above).unwrap();
    let is_low = tokio::select! {
        () = &mut watching => false,
        found = clock::limit(LOOK_AGAIN, pressed.wait_for(|now| now.memory)) => {
            found.is_some_and(|found| found.is_ok())
        }
    };
    assert!(is_low && above.join("n1").is_dir());
}
