use super::*;

#[test]
fn a_merge_goes_through_a_symbolic_link_and_keeps_the_first_copy() {
    let dir = tempfile::tempdir().unwrap();
    let place = crate::Home::at(dir.path()).cluster("t").unwrap();
    place.make().unwrap();
    let own = merge_kubeconfig(None, "ropewalk-t", &json!({"server": "a"}), &json!({"k": 1}));
    fs::write(place.kubeconfig(), serde_yaml::to_string(&own).unwrap()).unwrap();
    let (real, link) = (dir.path().join("dotfiles"), dir.path().join("config"));
    fs::write(&real, "current-context: mine\n").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    for _ in 0..2 {
        merge_into(&place, &link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("ropewalk-t"));
        let copy = fs::read_to_string(real.with_extension("before-ropewalk")).unwrap();
        assert_eq!(copy, "current-context: mine\n");
    }
}

/// A cluster that has run, and a kubeconfig of the learner's own.
fn merged_once(dir: &Path) -> (Place, PathBuf) {
    let place = crate::Home::at(dir).cluster("t").unwrap();
    place.make().unwrap();
    started_at(&place, BEFORE);
    (place, dir.join("config"))
}

#[test]
fn a_file_that_is_no_kubeconfig_or_is_being_changed_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    let documents = "current-context: a\n---\ncurrent-context: b\n";
    for text in ["- a list\n", "clusters: [", "just words", "apiVersion: v1\nkind: Pod\n", documents] {
        fs::write(&target, text).unwrap();
        let said = merge_into(&place, &target).unwrap_err().to_string();
        assert!(said.contains("cannot be used as a kubeconfig"), "{said}");
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
    }
    fs::write(&target, "current-context: mine\n").unwrap();
    let lock = dir.path().join("config.lock");
    fs::write(&lock, "").unwrap();
    let said = merge_within(&place, &target, Duration::ZERO).unwrap_err().to_string();
    assert!(said.contains("another program") && said.contains("config.lock"), "{said}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "current-context: mine\n");
    fs::remove_file(&lock).unwrap();
    merge_into(&place, &target).unwrap();
    assert!(!lock.exists());
}

/// A typing error in the cluster's own kubeconfig is no reason to wipe the cluster.
#[test]
fn a_kubeconfig_of_the_clusters_own_that_cannot_be_read_is_refused_without_a_reset() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    fs::write(place.kubeconfig(), "clusters: [").unwrap();
    let said = merge_into(&place, &target).unwrap_err().to_string();
    assert!(said.contains("cannot be used as a kubeconfig") && !said.contains("reset"), "{said}");
    assert!(!target.exists());
}

/// `~/.kube/config -> /dev/null` is how people have no kubeconfig.
#[test]
fn nothing_is_merged_into_what_is_no_regular_file() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("device")).unwrap();
    std::os::unix::fs::symlink("device", &target).unwrap();
    let said = merge_into(&place, &target).unwrap_err().to_string();
    assert!(said.contains("it is not a regular file"), "{said}");
    assert!(fs::symlink_metadata(&target).unwrap().is_symlink());
    assert!(!dir.path().join("device.before-ropewalk").exists());
    assert!(!dir.path().join("device.lock").exists() && !dir.path().join("config.lock").exists());
}

#[test]
fn the_context_of_a_cluster_that_is_removed_goes_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    remove_from(&place, &target).unwrap();
    assert!(!target.exists());
    let theirs = json!({"contexts": [{"name": "mine", "context": {}}], "current-context": "mine"});
    fs::write(&target, serde_yaml::to_string(&theirs).unwrap()).unwrap();
    merge_into(&place, &target).unwrap();
    remove_from(&place, &target).unwrap();
    let left: Value = serde_yaml::from_str(&fs::read_to_string(&target).unwrap()).unwrap();
    assert_eq!(left["contexts"], theirs["contexts"]);
    assert_eq!((&left["clusters"], &left["users"]), (&json!([]), &json!([])));
    // The cluster of another person, of the same name.
    let other = merge_kubeconfig(None, "ropewalk-t", &json!({"server": "b"}), &json!({}));
    let text = serde_yaml::to_string(&other).unwrap();
    fs::write(&target, &text).unwrap();
    remove_from(&place, &target).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), text);
}

/// The cluster's own kubeconfig after a start at this address.
fn started_at(place: &Place, address: &str) {
    let cluster = json!({"server": address, "certificate-authority-data": "x"});
    let own = merge_kubeconfig(None, "ropewalk-t", &cluster, &json!({"k": address}));
    fs::write(place.kubeconfig(), serde_yaml::to_string(&own).unwrap()).unwrap();
}

const BEFORE: &str = "https://127.0.0.1:6443";
const NOW: &str = "https://127.0.0.1:7443";

#[test]
fn a_start_follows_its_port_in_what_a_merge_has_made_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    let renew = || renew_in(&place, BEFORE, &target, Duration::ZERO).unwrap();
    assert_eq!(own_address(&place).as_deref(), Some(BEFORE));
    renew();
    assert!(!target.exists(), "there was no merge");
    merge_into(&place, &target).unwrap();
    let mut merged = read_foreign(&target).unwrap().unwrap().1;
    merged["contexts"][0]["context"]["namespace"] = "web".into();
    let text = serde_yaml::to_string(&merged).unwrap() + "# mine\n";
    fs::write(&target, &text).unwrap();
    renew();
    assert_eq!(fs::read_to_string(&target).unwrap(), text, "it leads to the cluster");
    started_at(&place, NOW);
    renew();
    let config = read_foreign(&target).unwrap().unwrap().1;
    merged["clusters"][0]["cluster"]["server"] = NOW.into();
    assert_eq!(config, merged, "nothing else is changed");
    // A cluster of the same name in another home.
    let other = json!({"server": BEFORE, "certificate-authority-data": "y"});
    let text = serde_yaml::to_string(&merge_kubeconfig(None, "ropewalk-t", &other, &json!({}))).unwrap();
    for text in [text.as_str(), "current-context: mine\n", "- a list\n"] {
        fs::write(&target, text).unwrap();
        renew();
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
    }
}

#[test]
fn a_start_leaves_what_the_learner_has_changed_in_the_merged_kubeconfig() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    merge_into(&place, &target).unwrap();
    let merged = read_foreign(&target).unwrap().unwrap().1;
    started_at(&place, NOW);
    let renewed = |config: &Value| {
        write_foreign(&target, config).unwrap();
        renew_in(&place, BEFORE, &target, Duration::ZERO).unwrap();
        read_foreign(&target).unwrap().unwrap().1
    };
    for way in ["https://127.0.0.1:16443", "https://host.example:6443"] {
        let mut tunnel = merged.clone();
        tunnel["clusters"][0]["cluster"]["server"] = way.into();
        assert_eq!(renewed(&tunnel), tunnel);
    }
    // `kubectl config delete-context` and `unset current-context`.
    let mut deleted = merged;
    deleted["contexts"] = json!([]);
    deleted["current-context"] = "".into();
    let mut expected = deleted.clone();
    expected["clusters"][0]["cluster"]["server"] = NOW.into();
    assert_eq!(renewed(&deleted), expected);
    started_at(&place, "https://host.example:6443");
    assert_eq!(own_address(&place), None, "no start has written it");
}

/// The learner's kubeconfig may lead elsewhere by now.
#[test]
fn a_kubeconfig_for_a_lesson_leads_to_the_clusters_own_port() {
    let text = kubeconfig_text("t", &server("PEM", 7443), &json!({"k": 1}));
    let config: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(config["current-context"], "ropewalk-t");
    assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:7443");
}

#[test]
fn a_kubeconfig_that_cannot_be_read_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    assert_eq!(known_kubeconfig(&path).unwrap(), None);
    fs::write(&path, "contexts: [").unwrap();
    assert_eq!(known_kubeconfig(&path).unwrap(), None);
    assert_eq!(fs::read_to_string(path.with_extension("damaged")).unwrap(), "contexts: [");
    fs::write(&path, b"contexts: [] # \xff").unwrap();
    assert_eq!(known_kubeconfig(&path).unwrap(), None, "it is not UTF-8");
    fs::write(&path, "contexts: []").unwrap();
    assert_eq!(known_kubeconfig(&path).unwrap(), Some(json!({"contexts": []})));
}

/// `kubectl config set-context` while the cluster starts.
#[test]
fn a_start_loses_no_change_that_is_being_made_to_its_kubeconfig() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let (server, user) = (json!({"server": "a"}), json!({"k": 1}));
    let renew = |patience| renew_kubeconfig(&path, "ropewalk-t", &server, &user, patience).unwrap();
    let kubectl = ConfigLock::take(&path, Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        let start = scope.spawn(|| renew(Duration::from_secs(60)));
        fs::write(&path, "contexts: [{name: mine, context: {}}]").unwrap();
        drop(kubectl);
        start.join().unwrap();
    });
    let config: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let contexts = config["contexts"].as_array().unwrap();
    assert_eq!(contexts.iter().map(|c| &c["name"]).collect::<Vec<_>>(), ["mine", "ropewalk-t"]);
    // A program was killed in the middle of its change.
    fs::write(dir.path().join("kubeconfig.lock"), "").unwrap();
    fs::remove_file(&path).unwrap();
    renew(Duration::ZERO);
    assert!(path.exists() && dir.path().join("kubeconfig.lock").exists(), "it is not this start's");
}

#[test]
fn a_restart_renews_certificates_and_leaves_the_learners_contexts_alone() {
    let first = merge_kubeconfig(None, "ropewalk-main", &json!({"server": "a"}), &json!({"k": 1}));
    assert_eq!(first["current-context"], "ropewalk-main");
    let mut edited = first;
    edited["current-context"] = json!("mine");
    edited["contexts"].as_array_mut().unwrap()[0]["context"]["namespace"] = json!("web");
    edited["contexts"].as_array_mut().unwrap().push(json!({"name": "mine", "context": {}}));
    let again = merge_kubeconfig(Some(edited), "ropewalk-main", &json!({"server": "b"}), &json!({"k": 2}));
    assert_eq!(again["clusters"][0]["cluster"]["server"], "b");
    assert_eq!(again["users"][0]["user"]["k"], 2);
    assert_eq!(again["current-context"], "mine");
    assert_eq!(again["contexts"][0]["context"]["namespace"], "web");
    assert_eq!(again["contexts"].as_array().unwrap().len(), 2);
}

/// `cp -r clusters/main clusters/try`: kubectl in the copy would change the original.
#[test]
fn the_kubeconfig_of_a_copied_directory_leads_to_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let main = server("PEM", 6443);
    let mut left = merge_kubeconfig(None, "ropewalk-main", &main, &json!({"k": 1}));
    left["contexts"][0]["context"]["namespace"] = "web".into();
    let dev = json!({"name": "dev", "context": {"cluster": "ropewalk-main", "user": "ropewalk-main"}});
    left["contexts"].as_array_mut().unwrap().push(dev);
    // A tunnel, and the cluster of another person: neither is the original.
    let others =
        [("tunnel", "PEM", "https://host.example:6443"), ("ropewalk-x", "other", "https://127.0.0.1:6444")];
    for (name, ca, address) in others {
        let entry = json!({"name": name, "cluster": {AUTHORITY: encode(ca), "server": address}});
        left["clusters"].as_array_mut().unwrap().insert(0, entry);
    }
    fs::write(&path, serde_yaml::to_string(&left).unwrap()).unwrap();
    for _ in 0..2 {
        let (copy, user) = (server("PEM", 7443), json!({"k": 2}));
        renew_kubeconfig(&path, "ropewalk-try", &copy, &user, Duration::ZERO).unwrap();
        let config = known_kubeconfig(&path).unwrap().unwrap();
        let names = |list: &str| -> Vec<String> {
            let entries = config[list].as_array().unwrap().iter();
            entries.map(|entry| entry["name"].as_str().unwrap().to_string()).collect()
        };
        assert_eq!(config["current-context"], "ropewalk-try");
        assert_eq!(names("clusters"), ["ropewalk-x", "tunnel", "ropewalk-try"]);
        assert_eq!((names("users"), names("contexts").len()), (vec!["ropewalk-try".to_string()], 2));
        assert_eq!((&config["clusters"][2]["cluster"], &config["users"][0]["user"]), (&copy, &user));
        assert_eq!(config["contexts"][0]["context"]["namespace"], "web");
        assert_eq!(config["contexts"][1]["context"]["cluster"], "ropewalk-try");
    }
}

/// The kubeconfig of a copied directory still has the entries of the original, and a learner may
/// have deleted those of the cluster.
#[test]
fn a_kubeconfig_without_the_clusters_own_entries_is_no_ground_for_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    let other = merge_kubeconfig(None, "ropewalk-main", &json!({"server": BEFORE}), &json!({"k": 1}));
    fs::write(place.kubeconfig(), serde_yaml::to_string(&other).unwrap()).unwrap();
    let refused = merge_into(&place, &target).unwrap_err();
    assert!(matches!(refused, Error::NotRunning(_)), "{refused}");
    assert!(!target.exists(), "it would name a cluster without an address");
    // The cluster of another person, of the same name, whose authority is in a file.
    let theirs = merge_kubeconfig(None, "ropewalk-t", &json!({"server": "b"}), &json!({"k": 1}));
    let text = serde_yaml::to_string(&theirs).unwrap();
    fs::write(&target, &text).unwrap();
    remove_from(&place, &target).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), text);
}

/// The namespace `no` of Norway: kubectl reads `no` as false where it has no quotes, and refused
/// the whole file after a merge.
#[test]
fn what_kubectl_takes_for_a_text_is_written_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (place, target) = merged_once(dir.path());
    let context = "- context: &base {cluster: \"on\", namespace: \"no\", user: \"1_000\"}\n  name: \"y\"\n";
    let another = "- context: {<<: *base, user: \"0777\"}\n  name: \"1e3\"\n";
    fs::write(&target, format!("contexts:\n{context}{another}")).unwrap();
    let contexts = || yaml::parse(&fs::read(&target).unwrap()).unwrap()["contexts"].clone();
    let before = contexts();
    let expected = json!({"cluster": "on", "namespace": "no", "user": "0777"});
    assert_eq!((&before[0]["name"], &before[1]["context"]), (&json!("y"), &expected));
    merge_into(&place, &target).unwrap();
    assert_eq!(contexts().as_array().unwrap()[..2], before.as_array().unwrap()[..]);
    remove_from(&place, &target).unwrap();
    assert_eq!(contexts(), before);
}
