use super::testing::Stage;
use super::*;
use client::Delta;
use tap::Write;

const LESSON: &str = "first/01";

/// Writes the kubeconfig of a cluster that does not answer.
fn config(dir: &Path) -> PathBuf {
    let config = dir.join("config");
    let text = json!({"current-context": "c", "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]});
    std::fs::write(&config, text.to_string()).unwrap();
    config
}

/// A session without a relay.
fn inner(dir: &Path, config: &Path) -> Inner {
    let place = place(&Home::at(dir.join("home")), config).unwrap();
    place.make().unwrap();
    let (upstream, rng, tap) = (Arc::new(read(config).unwrap()), Rng::seeded(1), Tap::new());
    Inner {
        namespaces: Namespaces::load(upstream.clone(), place.foreign(), PREFIX, &rng).unwrap(),
        observer: Observer::new(tap.at("far", Component::ApiServer), rng.fork("observer")),
        tap,
        upstream,
        namespace: Arc::default(),
        ca: fresh_authority(&place.pki()).unwrap(),
        relay: SocketAddr::from(([127, 0, 0, 1], 1)),
        identities: Mutex::default(),
        kubeconfigs: Mutex::default(),
        offers: Offers { own: false, workers: 0, control_planes: 0 },
        nodes: 0,
        place,
    }
}

/// `fault kill etcd` in a Korean session.
#[tokio::test]
async fn what_only_our_own_cluster_has_is_refused_in_the_learners_language() {
    use crate::undo::Moment;
    use lang::Lang;
    let dir = tempfile::tempdir().unwrap();
    let inner = inner(dir.path(), &config(dir.path()));
    let rewind = Past::Plan { of: Box::new(Past::Rewind { to: Moment::Revision(5) }) };
    for (reply, command) in [
        (inner.fault(Fault::Heal).await, "`fault`"),
        (inner.network().await, "`net show`"),
        (Target::past(&inner, Past::Redo).await, "`redo`"),
        (Target::past(&inner, rewind).await, "`rewind`"),
        (inner.without("why"), "`why`"),
    ] {
        let Reply::Refusal(refused) = &reply else { panic!("{reply:?}") };
        assert!(refused.say(Lang::En).starts_with(&format!("{command} needs Ropewalk's own cluster")));
        let korean = refused.say(Lang::Ko);
        assert!(korean.starts_with(command) && !korean.is_ascii(), "{korean}");
    }
}

/// The next try would take it for entered, and kubectl would look into the old namespace for good.
#[tokio::test]
async fn a_namespace_whose_kubeconfig_cannot_be_written_is_not_entered() {
    let dir = tempfile::tempdir().unwrap();
    let inner = inner(dir.path(), &config(dir.path()));
    let teacher = inner.kubeconfig("teacher").unwrap();
    let learner = inner.place.kubeconfig();
    std::fs::create_dir(&learner).unwrap(); // no file can be renamed to it
    assert!(inner.enter("ropewalk-a").is_err());
    assert_eq!(inner.namespace(), "");
    assert!(!std::fs::read_to_string(&teacher).unwrap().contains("ropewalk-a"));
    std::fs::remove_dir(&learner).unwrap();
    inner.enter("ropewalk-a").unwrap();
    assert_eq!(inner.namespace(), "ropewalk-a");
    for path in [teacher, learner] {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("namespace: ropewalk-a"), "{text}");
    }
}

/// The lesson begins anew in it. Else it would go on in the middle, in a namespace with nothing in
/// it.
#[tokio::test]
async fn a_namespace_that_could_not_be_entered_is_fresh_at_the_next_try() {
    let stage = Stage::new().await;
    let inner = inner(stage.dir.path(), &stage.config());
    let scope = || inner.lesson_scope(LESSON.into(), vec![], true);
    let learner = inner.place.kubeconfig();
    std::fs::create_dir(&learner).unwrap(); // no file can be renamed to it
    assert!(scope().await.is_err());
    std::fs::remove_dir(&learner).unwrap();
    assert!(scope().await.unwrap().unwrap().fresh);
    assert!(!scope().await.unwrap().unwrap().fresh, "it was entered");
    assert_eq!(stage.foreign.lock().made, 1);
}

/// The watches of the open lesson go on, and show the first objects while its namespace is made
/// anew.
#[tokio::test]
async fn what_watches_show_of_a_namespace_that_is_made_anew_is_created_once() {
    let stage = Stage::new().await;
    let inner = inner(stage.dir.path(), &stage.config());
    let namespace =
        inner.lesson_scope(LESSON.into(), vec![], true).await.unwrap().unwrap().namespace.unwrap();
    let account = |revision: &str| {
        let metadata =
            json!({"namespace": &namespace, "name": "default", "uid": "u", "resourceVersion": revision});
        json!({"kind": "ServiceAccount", "metadata": metadata})
    };
    let (observer, first) = (inner.observer.clone(), account("7"));
    let show = move || {
        observer.saw(Seen { plural: "serviceaccounts", namespace: None, delta: Delta::Updated(&first) });
    };
    {
        let mut foreign = stage.foreign.lock();
        foreign.namespaces.clear(); // deleted by hand
        foreign.on_account = Some(Box::new(show));
    }
    assert!(inner.lesson_scope(LESSON.into(), vec![], true).await.unwrap().unwrap().fresh);
    let second = account("8");
    inner.saw(Seen { plural: "serviceaccounts", namespace: None, delta: Delta::Updated(&second) });
    let writes: Vec<Write> = inner.tap.since(0).iter().filter_map(|r| r.write().cloned()).collect();
    assert_eq!(writes, [Write::CREATED, Write::UPDATED]);
}

#[tokio::test]
async fn a_session_makes_nothing_before_it_has_the_lock_and_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let home = Home::at(dir.path().join("home"));
    let place = place(&home, &config).unwrap();
    place.make_lock().unwrap();
    let held = Lock::take(&place.lock(), Duration::ZERO).unwrap();
    let refused = Foreign::open(&place, &config, PREFIX, Vec::new).await.err();
    assert!(matches!(refused, Some(Error::Refusal(Refusal::Running { .. }))), "{refused:?}");
    assert!(!place.root.exists());
    drop(held);
    let refused = Foreign::open(&place, &config, PREFIX, Vec::new).await.err();
    let is_unusable =
        matches!(refused, Some(Error::Refusal(Refusal::ForeignCluster(ForeignRefusal::Unusable { .. }))));
    assert!(is_unusable, "nothing listens there: {refused:?}");
    assert!(!place.root.exists(), "`up` would take the directory for one of its own clusters");
}

#[test]
fn no_key_of_a_session_is_left_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    for left in ["ca.key", "ca.key.new", "ca.key.tmp7-0", "teacher.kubeconfig", "teacher.tmp7-1"] {
        std::fs::write(dir.path().join(left), "of an earlier session").unwrap();
    }
    let first = fresh_authority(dir.path()).unwrap();
    first.issue(&Subject::client("teacher", "")).unwrap();
    let second = fresh_authority(dir.path()).unwrap();
    assert_ne!(first.pem(), second.pem());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["ca.crt"]);
}

/// The teacher's kubectl keeps one path for the session, while the lesson's namespace changes.
#[test]
fn a_file_in_memory_is_replaced_under_its_path() {
    let mut file = linux::fds::memory_file(b"first").unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    let fresh = linux::fds::memory_file(b"2nd").unwrap();
    nix::unistd::dup3(fresh, &mut file, OFlag::O_CLOEXEC).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "2nd");
}
