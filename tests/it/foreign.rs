//! Lessons on a cluster that is not Ropewalk's own. A second Ropewalk stands in for it: it is
//! reached through a copy of its kubeconfig alone.

use super::session::{Session, nothing_is_left};
use super::support::{Cluster, Home, Kubectl, PATIENCE, Said, any_kubectl, capable, eventually, turn};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The learner, who has a kubeconfig and no cluster.
struct Learner {
    home: Home,
    file: PathBuf,
    text: String,
}

impl Learner {
    fn of(cluster: &Cluster<'_>) -> Learner {
        let home = Home::new();
        let text = std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
        Learner::with(home, text)
    }

    fn with(home: Home, text: String) -> Learner {
        let file = home.path().join("theirs.yaml");
        std::fs::write(&file, &text).expect("written");
        Learner { home, file, text }
    }

    fn file(&self) -> &str {
        self.file.to_str().expect("a path")
    }

    fn ropewalk(&self, args: &[&str]) -> Said {
        self.home.ropewalk(&[args, &["--lang", "en", "--kubeconfig", self.file()]].concat())
    }

    /// Lines in one session; what was said, and whether the last one went well.
    fn lines(&self, lines: &[&str]) -> Said {
        let lines: Vec<&str> = lines.iter().flat_map(|l| ["-c", l]).collect();
        self.ropewalk(&[&["repl"], lines.as_slice()].concat())
    }

    /// How a step stands, in a session that ends with the question.
    fn state(&self, lines: &[&str]) -> String {
        let before = [lines, &["check"]].concat();
        self.lines(&before).out
    }

    fn leave(&self) -> String {
        self.ropewalk(&["lesson", "leave"]).ok()
    }

    #[track_caller]
    fn file_is_untouched(&self) {
        assert_eq!(std::fs::read_to_string(&self.file).expect("the file"), self.text);
    }
}

/// Every object of every kind with its uid, but for those that come and go by themselves.
fn objects(cluster: &Cluster<'_>, kubectl: &Kubectl) -> BTreeMap<String, String> {
    let k = |args: &[&str]| cluster.kubectl(kubectl, args).ok();
    let kinds = k(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let row = "jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    let all = k(&["get", &kinds.join(","), "-A", "-o", row]);
    let pair = |line: &str| line.split_once(' ').map(|(name, uid)| (name.to_string(), uid.to_string()));
    let all: BTreeMap<String, String> = all.lines().filter_map(pair).collect();
    assert!(all.len() > 30, "{all:?}");
    all
}

/// Every object, once the controllers have made what belongs to namespaces and Services: what comes
/// later would be taken for a change.
fn settled_objects(cluster: &Cluster<'_>, kubectl: &Kubectl) -> BTreeMap<String, String> {
    let is_settled = |all: &BTreeMap<String, String>| {
        all.keys().all(|key| match key.split('/').collect::<Vec<_>>()[..] {
            ["Namespace", _, name] => {
                let own = ["ConfigMap/NAME/kube-root-ca.crt", "ServiceAccount/NAME/default"];
                own.iter().all(|own| all.contains_key(&own.replace("NAME", name)))
            }
            ["Service", namespace, name] => {
                let slice = format!("EndpointSlice/{namespace}/{name}");
                all.keys().any(|key| key.starts_with(&slice))
            }
            _ => true,
        })
    };
    eventually(PATIENCE, || objects(cluster, kubectl), is_settled)
}

#[test]
fn lessons_that_need_nothing_of_ours_are_sound_elsewhere_and_leave_nothing_behind() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&["--workers", "2"]);
    let learner = Learner::of(&cluster);
    let before = settled_objects(&cluster, &any);

    // Which can be played there, and why the rest cannot, without anything being made for the
    // answer.
    let list: Value =
        serde_json::from_str(&learner.ropewalk(&["lesson", "list", "-o", "json"]).ok()).expect("JSON");
    let cannot = |id: &str| -> Vec<(String, String)> {
        let entry = list.as_array().into_iter().flatten().find(|e| e["id"] == id).expect("a lesson");
        serde_json::from_value(entry.get("cannot").cloned().unwrap_or_else(|| Value::Array(vec![])))
            .expect("reasons")
    };
    for id in ["first-voyage/02", "first-voyage/04", "first-voyage/06", "first-voyage/12"] {
        assert_eq!(cannot(id), [], "{id}");
    }
    let why = |id: &str, step: &str| {
        cannot(id).into_iter().find(|(called, _)| called.contains(step)).expect("a reason").1
    };
    assert!(why("first-voyage/03", "End the scheduler's process").contains("`fault`"));
    assert!(why("first-voyage/03", "Delete the scheduler's pod").contains("namespace `kube-system`"));
    assert!(why("first-voyage/08", "Send a request from outside").contains("NodePorts on localhost"));
    assert!(why("first-voyage/01", "Read the columns").contains("node `ropewalk-worker`"));
    assert!(learner.ropewalk(&["lesson", "list"]).ok().contains("it needs `fault`"));
    eventually(PATIENCE, || objects(&cluster, &any), |now| *now == before);

    // Red at the start and after each wrong answer, green after the solution and each other way.
    // Not 02, which counts the cluster's namespaces: here each case has one, and they come and go.
    let proved = learner.ropewalk(&["lesson", "test", "first-voyage/06", "first-voyage/09", "--jobs", "4"]);
    let (notes, found): (Vec<&str>, Vec<&str>) = proved.out.lines().partition(|l| l.starts_with("    ·"));
    assert_eq!(proved.code, 0, "{}\n{}\n{}", found.join("\n"), proved.err, notes.len());
    assert_eq!(proved.out.lines().filter(|l| l.starts_with('✓')).count(), 2, "{}", proved.out);
    assert!(proved.out.contains("close: skipped"), "what cannot be done is said: {}", proved.out);

    // Whatever was made is gone, and nothing else was touched.
    eventually(PATIENCE, || objects(&cluster, &any), |now| *now == before);
    learner.file_is_untouched();
    nothing_is_left(&learner.home);
}

#[test]
fn a_session_changes_nothing_outside_its_namespace() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&["--workers", "1"]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let learner = Learner::of(&cluster);
    // Another user has the namespace that the lesson would get.
    k(&["create", "namespace", "ropewalk-first-voyage-04"]).ok();
    k(&["create", "configmap", "theirs", "-n", "ropewalk-first-voyage-04"]).ok();
    let before = settled_objects(&cluster, &any);

    refuse_outside(&learner);

    // The learner's own deeds, with whichever client, turn it green; a wrong answer does not; and
    // it is remembered.
    let red = learner.state(&["lesson first-voyage/04", "a", "kubectl run nginx-pod --image=ngnix"]);
    assert!(red.contains("· its container is ready"), "{red}");
    let green = [
        "kubectl delete pod nginx-pod --now",
        "kubectl run nginx-pod --image=nginx",
        "kubectl wait pod nginx-pod --for=condition=Ready --timeout=180s",
        "check",
        "kubectl get pod nginx-pod -o jsonpath={.metadata.namespace}",
    ];
    let green = learner.lines(&green).ok();
    assert!(green.contains("✓ Done."), "{green}");
    let own = green.lines().last().expect("a namespace").trim().to_string();
    assert!(own.starts_with("ropewalk-first-voyage-04-"), "{green}");
    let checked = learner.ropewalk(&["lesson", "check", "-o", "json"]);
    let checked: Value = serde_json::from_str(&checked.ok()).expect("JSON");
    assert_eq!((&checked["id"], &checked["state"]), (&"first-voyage/04".into(), &"done".into()));
    let labels = k(&["get", "namespace", &own, "-o", "jsonpath={.metadata.labels}"]).ok();
    assert!(labels.contains("\"app.kubernetes.io/managed-by\":\"ropewalk\""), "{labels}");

    assert!(learner.leave().contains(&own));
    assert!(learner.leave().contains("nothing of ours"));
    eventually(PATIENCE, || objects(&cluster, &any), |now| *now == before);
    learner.file_is_untouched();
    // There is no cluster of ours to be started there.
    let name = std::fs::read_dir(learner.home.path().join("clusters")).expect("clusters").flatten().next();
    let name = name.expect("the foreign cluster's directory").file_name();
    learner
        .home
        .ropewalk(&["up", "--detach", "--name", &name.to_string_lossy()])
        .fails("not a cluster of ropewalk's own");
}

/// Before a lesson is open nothing can be changed; after that, only what is in its namespace.
fn refuse_outside(learner: &Learner) {
    learner.lines(&["kubectl run stray --image=nginx"]).fails("no lesson is open");
    let outside = [
        "kubectl run stray --image=nginx -n default",
        "kubectl create namespace stray",
        "kubectl delete namespace kube-public",
        "kubectl delete pod -n kube-system -l k8s-app=kube-dns",
        "kubectl label node --all stray=yes",
        "kubectl exec -n kube-system deploy/coredns -- ls",
        "kubectl create clusterrolebinding stray --clusterrole=view --user=x",
        "kubectl delete configmap theirs -n ropewalk-first-voyage-04",
    ];
    for line in outside {
        let said = learner.lines(&["lesson first-voyage/04", line]);
        said.fails("changes nothing outside the namespace");
    }
    // The lesson calls its own namespace default: the refusal says what to write instead.
    let usual = learner.lines(&["lesson first-voyage/04", outside[0]]);
    usual.fails("leave the namespace out or write \"namespace: ropewalk-first-voyage-04-");
    // What is our own cluster's alone says so.
    for (line, why) in [
        ("undo", "needs Ropewalk's own cluster"),
        ("rewind 5", "needs Ropewalk's own cluster"),
        ("fault kill kube-scheduler", "needs Ropewalk's own cluster"),
        ("why", "needs Ropewalk's own cluster"),
    ] {
        learner.lines(&["lesson first-voyage/04", line]).fails(why);
    }
}

#[test]
fn missing_rights_are_named() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&["--workers", "1"]);
    let k = |args: &[&str]| cluster.kubectl(&any, args).ok();
    let text = std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let acting_as = |user: &str| {
        let mut config: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
        config["users"][0]["user"]["as"] = user.into();
        Learner::with(Home::new(), serde_yaml::to_string(&config).expect("YAML"))
    };

    // A guest may not make a namespace.
    let guest = acting_as("guest");
    let refused =
        guest.ropewalk(&["lesson", "check", "first-voyage/04"]).fails("create and delete namespaces");
    assert!(refused.err.contains("lacks a right on https://"), "{}", refused.err);

    // Who may make one and not watch pods in it hears which steps that costs, and passes them.
    let namespaces =
        ["create", "clusterrole", "namespaces", "--verb=get,create,delete,list", "--resource=namespaces"];
    k(&namespaces);
    k(&["create", "clusterrolebinding", "namespaces", "--clusterrole=namespaces", "--user=half"]);
    let half = acting_as("half");
    let page = half.lines(&["lesson first-voyage/04"]).ok();
    assert!(page.contains("it needs the right to list and watch pods"), "{page}");
    let checked = half.ropewalk(&["lesson", "check", "first-voyage/04", "-o", "json"]);
    assert_eq!(checked.code, 1, "skipped is not done");
    let checked: Value = serde_json::from_str(&checked.out).expect("JSON");
    assert_eq!(checked["state"], "skipped");
    half.lines(&["lesson first-voyage/04", "next"]).ok();
    half.leave();

    // No server, no file, no kubeconfig: each in its own words.
    let nobody = Learner::with(Home::new(), text.replace("https://127.0.0.1:", "https://127.0.0.1:1"));
    nobody.ropewalk(&["lesson", "list"]).fails("cannot be used");
    let nonsense = Learner::with(Home::new(), "hello: [".into());
    nonsense.ropewalk(&["lesson", "list"]).fails("theirs.yaml");
    std::fs::remove_file(&nonsense.file).expect("removed");
    nonsense.ropewalk(&["lesson", "list"]).fails("No such file");
}

#[test]
fn the_interface_opens_a_lesson_elsewhere_and_offers_to_clear_up() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&["--workers", "1"]);
    let learner = Learner::of(&cluster);
    // The saved language is another than that of the session, which is spoken to its end.
    std::fs::write(learner.home.path().join("settings.json"), r#"{"lang": "ko"}"#).expect("written");
    let args = ["learn", "first-voyage/02", "--lang", "en", "--kubeconfig", learner.file()];
    let session = Session::start(&learner.home, &args, 120, 34);
    session.until("the lesson and the shell", |_, t| t.contains(" 1/") && t.contains("ropewalk>"));
    session.sees("Guess first");
    session.press("b\r");
    session.until("the guess is taken", |_, t| !t.contains("Guess first"));
    session.press("kubectl get pods\r");
    session.sees("Done. next");
    session.sees("ropewalk (ropewalk-first-voyage-02)>");
    session.press("quit\r");
    session.sees("Delete them, with everything in them?");
    let there = || cluster.kubectl(&any, &["get", "namespace", "ropewalk-first-voyage-02"]).code == 0;
    assert!(there());
    session.press("y\r");
    session.sees("Deleted: ropewalk-first-voyage-02");
    assert_eq!(session.end(), 0);
    eventually(PATIENCE, there, |there| !there);
    learner.file_is_untouched();
    nothing_is_left(&learner.home);
}
