//! A graded lab from end to end, as a class would use it: started from a seed, half done, graded,
//! mended, graded, the record forged, reset.

mod kept;

use super::support::{Cluster, Home, Kubectl, PATIENCE, Said, any_kubectl, capable, eventually, turn};
use serde_json::Value;

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

/// The words `lab …` for the cluster of a test, in English.
fn lab(home: &Home, args: &[&str]) -> Said {
    home.ropewalk(&[&["lab", "--name", "t", "--lang", "en"], args].concat())
}

/// The open lab `broken-selector` with the names that its seed has drawn.
struct Class<'a> {
    home: &'a Home,
    cluster: Cluster<'a>,
    any: Kubectl,
    app: String,
    ns: String,
}

impl Class<'_> {
    fn lab(&self, args: &[&str]) -> Said {
        lab(self.home, args)
    }

    fn k(&self, args: &[&str]) -> Said {
        self.cluster.kubectl(&self.any, args)
    }

    fn grade(&self) -> Said {
        self.lab(&["grade", "-o", "json"])
    }

    /// The learner's repair: the Service selects the pods again.
    fn mend(&self) {
        let (service, selector) = (format!("svc/{}", self.app), format!("app={}", self.app));
        self.k(&["set", "selector", &service, "-n", &self.ns, &selector]).ok();
    }
}

#[test]
fn a_lab_is_started_graded_mended_and_reset() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    without_a_cluster(&home);
    let (class, started) = begin(&home);
    let most = mend_and_grade(&class);
    check_records(&class, &most);
    solve_and_start_again(&class, &started);
    give_up(&class);
    leave_and_start_elsewhere(&class);
}

/// What there is, and what a seed draws.
fn without_a_cluster(home: &Home) {
    let lab = |args: &[&str]| lab(home, args);
    let list = json(&lab(&["list", "-o", "json"]));
    let ids: Vec<&str> = list.as_array().expect("a list").iter().filter_map(|l| l["id"].as_str()).collect();
    for id in ["wrong-image", "broken-selector", "wrong-port", "crash-loop", "orphans"] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    let faulty = home.path().join("faulty/mine");
    std::fs::create_dir_all(&faulty).expect("a directory");
    std::fs::write(faulty.join("lab.md"), "---\nid: mine\nidd: x\n---\n").expect("a file");
    let faulty = home.path().join("faulty").display().to_string();
    lab(&["show", "mine", "--labs", &faulty]).fails("unknown key \"idd\"");
    let sheet = lab(&["show", "broken-selector", "--seed", "417"]).ok();
    assert_eq!(sheet, lab(&["show", "broken-selector", "--seed", "417"]).ok());
    assert!(
        !sheet.contains("{{") && !sheet.contains("exec("),
        "checks stay hidden, and all is filled in: {sheet}"
    );
}

/// Starts the lab with seed 417, which breaks things; who does nothing earns nothing. Returns the
/// lab as it was shown at its start, too.
fn begin(home: &Home) -> (Class<'_>, Value) {
    let (cluster, any) = (home.up(&["--workers", "2"]), any_kubectl());
    let (lab, k) = (|args: &[&str]| lab(home, args), |args: &[&str]| cluster.kubectl(&any, args));
    lab(&["grade"]).fails("no lab is open");
    // A list of a directory is that directory's, also while a cluster answers.
    let own = home.path().join("own/broken-selector");
    std::fs::create_dir_all(&own).expect("a directory");
    for file in ["lab.md", "lab.ko.md"] {
        let from = format!("{}/labs/broken-selector/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(from, own.join(file)).expect("a copy");
    }
    let own = home.path().join("own").display().to_string();
    assert_eq!(json(&lab(&["list", "--labs", &own, "-o", "json"])).as_array().map(Vec::len), Some(1));
    lab(&["start", "no-such-lab"]).fails("there is no lab no-such-lab");
    k(&["create", "configmap", "mine"]).ok();
    let started = json(&lab(&["start", "broken-selector", "--seed", "417", "-o", "json"]));
    // The last step of the learner's is of before the lab: to undo it takes the lab away.
    home.ropewalk(&["undo", "--name", "t"]).fails("was set up after that");
    k(&["get", "configmap", "mine"]).ok();
    assert_eq!((&started["seed"], &started["minutes"]), (&417.into(), &10.into()));
    lab(&["grade", "broken-selector", "--seed", "418"]).fails("with seed 417");
    assert_eq!(lab(&["check"]).code, 1);

    // Nothing done: nothing earned, also not for what was never broken.
    let red = lab(&["grade", "broken-selector", "--seed", "417", "--learner", "seat-07", "-o", "json"]);
    assert_eq!(red.code, 1);
    let red = json(&red);
    assert_eq!((&red["score"], &red["max"], &red["passed"]), (&0.into(), &100.into(), &false.into()));
    assert_eq!(
        (&red["learner"], &red["schema"], &red["lab"]),
        (&"seat-07".into(), &1.into(), &"broken-selector".into())
    );
    assert_eq!(red["used"], serde_json::json!({"hints": 0, "undo": 0, "solve": false}));
    let drawn = |key: &str| red["variant"][key].as_str().expect("a name").to_string();
    let (app, ns) = (drawn("app"), drawn("ns"));
    assert!(k(&["get", &format!("svc/{app}"), "-n", &ns]).ok().contains(&app));
    (Class { home, cluster, any, app, ns }, started)
}

/// The learner mends it; the report is missing; one step is undone and done again. Returns the
/// grade.
fn mend_and_grade(class: &Class) -> Said {
    let k = |args: &[&str]| class.k(args);
    // Work of the learner's elsewhere, which no end of the lab takes away.
    k(&["create", "configmap", "meanwhile"]).ok();

    class.mend();
    class.home.ropewalk(&["undo", "--name", "t"]).ok();
    class.mend();
    let (app, ns) = (&class.app, &class.ns);
    let pods = || k(&["get", "pods", "-n", ns, "-l", &format!("app={app}"), "-o", "name"]).ok();
    let before = pods();
    // A task has to hold within seconds, and a busy machine may need more: then it is graded again.
    let most = eventually(PATIENCE, || class.grade(), |said| json(said)["score"] == 90);
    assert_eq!(most.code, 1, "{most:?}");
    let record = json(&most);
    assert_eq!(record["used"]["undo"], 1, "{record}");
    let of = |id: &str| {
        record["tasks"].as_array().into_iter().flatten().find(|t| t["id"] == id).cloned().unwrap_or_default()
    };
    assert_eq!((&of("durable")["verdict"], &of("same")["at_s"]), (&"green".into(), &serde_json::json!(0.0)));
    // A task that the judge disturbs was green when the learner asked, not when the judge had
    // looked long enough.
    let time =
        |key: &str| -> jiff::Timestamp { record[key].as_str().expect("a time").parse().expect("RFC 3339") };
    let asked = time("ended").duration_since(time("started")).as_secs_f64();
    assert!(of("durable")["at_s"].as_f64().expect("seconds") <= asked + 0.01, "{record}");
    assert_eq!(
        (&of("report")["verdict"], &of("report")["unmet"]),
        (&"red".into(), &"ConfigMap report, key cause".into())
    );
    assert!(of("traffic")["revision"].as_i64() > of("same")["revision"].as_i64());
    assert!(
        record["trace"]["records"].as_u64() > Some(100)
            && record["trace"]["to"].as_i64() > record["trace"]["from"].as_i64()
    );
    assert_eq!(pods(), before, "what the judge disturbed is as it was");
    most
}

/// The record: believed as it is and in another order, not when anything was touched.
fn check_records(class: &Class, most: &Said) {
    let record = json(most);
    let file = class.home.path().join("record.json");
    let verify = |text: &str| {
        std::fs::write(&file, text).expect("written");
        class.lab(&["verify", file.to_str().expect("a path")])
    };
    assert!(verify(&most.out).ok().contains("90 of 100"));
    let mut turned: Vec<_> = record.as_object().expect("an object").clone().into_iter().collect();
    turned.reverse();
    verify(&Value::Object(turned.into_iter().collect()).to_string()).ok();
    verify(&most.out.replace("\"points\": 0", "\"points\": 10")).fails("edited");
    verify(&most.out.replace("\"score\": 90", "\"score\": 100")).fails("edited");
    verify("{}").fails("not a record");
}

/// The whole: by the book, which is then no pass; and the start after it.
fn solve_and_start_again(class: &Class, started: &Value) {
    let (lab, k) = (|args: &[&str]| class.lab(args), |args: &[&str]| class.k(args));
    lab(&["solve"]).ok();
    let full = json(&eventually(PATIENCE, || class.grade(), |said| json(said)["score"] == 100));
    assert_eq!((&full["passed"], &full["used"]["solve"]), (&false.into(), &true.into()), "{full}");
    // Full marks, however they came.
    eventually(PATIENCE, || lab(&["grade"]), |said| said.code == 0);

    // Again: the open lab ends only if that is meant; then everything is broken as before, and
    // nothing of the first try is left.
    let ends = lab(&["start", "broken-selector", "--seed", "417"]);
    assert!(ends.err.contains("It ends, and what it made"), "{ends:?}");
    ends.fails("--yes");
    k(&["get", "configmap", "report", "-n", &class.ns]).ok();
    let again = json(&lab(&["start", "broken-selector", "--seed", "417", "--yes", "-o", "json"]));
    k(&["get", "configmap", "mine", "meanwhile"]).ok();
    assert_eq!(again["tasks"], started["tasks"]);
    k(&["get", "configmap", "report", "-n", &class.ns]).fails("not found");
    let csv = lab(&["grade", "-o", "csv"]);
    assert_eq!((csv.code, csv.out.lines().count()), (1, 6), "{}", csv.out);
}

/// A hint of an earlier start counts; a learner who gives up is told everything, and the record
/// says so.
fn give_up(class: &Class) {
    let lab = |args: &[&str]| class.lab(args);
    lab(&["hint"]).ok();
    lab(&["give-up"]).fails("--yes");
    lab(&["start", "broken-selector", "--seed", "417", "--yes"]).ok();
    let told = lab(&["give-up", "--yes"]).ok();
    assert!(told.contains("The Service looked for") && told.contains("kubectl set selector"), "{told}");
    class.mend();
    let given = json(&lab(&["grade", "-o", "json"]));
    assert_eq!(
        (&given["used"]["hints"], &given["used"]["solve"], &given["passed"]),
        (&1.into(), &true.into(), &false.into()),
        "{given}"
    );
    assert_eq!(
        (&given["attempts"]["gave_up"], &given["attempts"]["earlier_hints"]),
        (&true.into(), &1.into()),
        "{given}"
    );
    let list = json(&lab(&["list", "-o", "json"]));
    let best = list.as_array().into_iter().flatten().find(|l| l["id"] == "broken-selector").expect("it");
    assert_eq!(best["attempt"], 1, "what was given up is no grade: {best}");
}

/// Left after a grade: what the lab made goes, the learner's own stays, and later records do not
/// call it left. A namespace of the learner's own is never in use.
fn leave_and_start_elsewhere(class: &Class) {
    let (lab, k) = (|args: &[&str]| class.lab(args), |args: &[&str]| class.k(args));
    let ns = class.ns.as_str();
    let leave = lab(&["leave"]);
    assert!(leave.err.contains("It ends, and what it made"), "{leave:?}");
    leave.fails("--yes");
    lab(&["leave", "broken-selector", "--yes"]).ok();
    k(&["get", "namespace", ns]).fails("not found");
    k(&["get", "configmap", "mine", "meanwhile"]).ok();
    lab(&["grade"]).fails("no lab is open");
    lab(&["leave", "--yes"]).fails("no lab is open");

    // A namespace of the learner's own is in the way: it is named, and nothing is begun.
    k(&["create", "namespace", ns]).ok();
    k(&["create", "configmap", "precious", "-n", ns]).ok();
    lab(&["start", "broken-selector", "--seed", "417", "--yes"]).fails(&format!("namespaces/{ns}"));
    k(&["get", "configmap", "precious", "-n", ns]).ok();
    // Without a seed another namespace is drawn.
    let other = json(&lab(&["start", "broken-selector", "-o", "json"]));
    assert_ne!(other["seed"], 417);
    let left = json(&lab(&["grade", "-o", "json"]));
    assert_eq!(left["attempts"]["earlier_left"], 0, "it was graded before it was left: {left}");
    k(&["get", "configmap", "precious", "-n", ns]).ok();
}
