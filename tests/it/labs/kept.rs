//! What is kept of a lab: over restarts, over `kill -9`, and against a learner who edits it.

use super::{json, lab};
use crate::support::{
    Cluster, Home, Kubectl, PATIENCE, Said, TIMEOUT, any_kubectl, capable, eventually, kill_9, turn,
};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// How the cluster is started, each time.
const UP: [&str; 2] = ["--workers", "1"];

/// The cluster on which a lab is open.
struct Course<'a> {
    home: &'a Home,
    cluster: Cluster<'a>,
    any: Kubectl,
}

impl Course<'_> {
    fn lab(&self, args: &[&str]) -> Said {
        lab(self.home, args)
    }

    fn k(&self, args: &[&str]) -> Said {
        self.cluster.kubectl(&self.any, args)
    }

    fn grade(&self) -> Value {
        json(&self.lab(&["grade", "-o", "json"]))
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("clusters/t")
    }

    /// What is kept of the open lab.
    fn book(&self) -> Value {
        let kept = std::fs::read(self.dir().join("labs.json")).expect("a book");
        serde_json::from_slice(&kept).expect("JSON")
    }

    fn start_again(&self) -> Said {
        self.home.ropewalk(&[&["up", "--name", "t", "--detach", "--wait"], &UP[..]].concat())
    }

    /// Made anew instead of mended: all but one task. Returns the lab's namespace.
    fn make_anew(&self) -> String {
        self.lab(&["start", "wrong-image", "--seed", "7"]).ok();
        let variant = self.grade()["variant"].clone();
        let drawn = |key: &str| variant[key].as_str().expect("a name").to_string();
        let (app, ns) = (drawn("app"), drawn("ns"));
        let replicas = format!("--replicas={}", variant["count"]);
        self.k(&["delete", "deploy", &app, "-n", &ns]).ok();
        self.k(&["create", "deployment", &app, "-n", &ns, "--image=nginx:1.27", &replicas]).ok();
        self.k(&["label", "namespace", &ns, "a=b"]).ok();
        self.home.ropewalk(&["undo", "--name", "t"]).ok();
        self.k(&["wait", "-n", &ns, &format!("deploy/{app}"), "--for=condition=Available", TIMEOUT]).ok();
        let before = eventually(PATIENCE, || self.grade(), |r| r["score"] == 80);
        assert_eq!(before["used"]["undo"], 1, "{before}");
        ns
    }

    /// After a restart the Deployment is still not the one that was there, and what was undone
    /// stays counted.
    fn restart(&self, ns: &str) {
        self.home.ropewalk(&["down", "--name", "t"]).ok();
        self.start_again().ok();
        self.k(&["label", "namespace", ns, "a=c"]).ok();
        self.home.ropewalk(&["undo", "--name", "t"]).ok();
        let after = eventually(PATIENCE, || self.grade(), |r| r["score"] == 80);
        assert_eq!(
            (&of(&after, "same")["verdict"], &after["used"]["undo"]),
            (&"red".into(), &2.into()),
            "{after}"
        );
    }

    /// Killed while the judge has taken the pods away: the next process takes that back.
    fn kill_the_judge(&self) {
        let mut command = self.home.command(self.home.program());
        let judge = command.args(["lab", "grade", "--name", "t"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut judge = judge.spawn().expect("it runs");
        eventually(PATIENCE, || self.book()["open"]["disturbed"].clone(), Value::is_number);
        kill_9(&[self.cluster.pid("main"), self.cluster.pid("supervisor")]);
        judge.wait().expect("ours");
        eventually(PATIENCE, || self.start_again(), |said| said.code == 0);
        eventually(PATIENCE, || self.book()["open"]["disturbed"].clone(), Value::is_null);
        let third = eventually(PATIENCE, || self.grade(), |r| r["score"] == 80);
        assert_eq!(third["used"]["undo"], 2, "the judge's own way back is nobody's undo: {third}");
    }

    /// A learner who mends while the judge looks whether it mends itself proves nothing. On a busy
    /// machine no change may fall into the time in which the judge looks: then it is graded again.
    fn mend_meanwhile(&self, ns: &str) {
        let (home, mut number) = (self.home, 0);
        let mended = || {
            std::thread::scope(|scope| {
                let graded = scope.spawn(|| json(&lab(home, &["grade", "-o", "json"])));
                while !graded.is_finished() {
                    if self.book()["open"]["disturbed"].is_number() {
                        number += 1;
                        self.k(&["label", "--overwrite", "namespace", ns, &format!("n=x{number}")]);
                    }
                    std::thread::sleep(Duration::from_millis(30));
                }
                of(&graded.join().expect("a grade"), "durable")
            })
        };
        let durable = eventually(PATIENCE, mended, |durable| {
            durable["unmet"].as_str().is_some_and(|why| why.contains("changed by hand"))
        });
        assert_eq!(durable["verdict"], "red", "{durable}");
        eventually(PATIENCE, || self.grade(), |r| r["score"] == 80);
    }

    /// What cannot be written down is not given away; and the learner is told.
    fn write_nothing_down(&self) {
        let blocks = ["labs.json.new", "lessons.json.new"].map(|name| self.dir().join(name));
        // A process that was killed while it wrote may have left a file of that name.
        let block = |path: &std::path::PathBuf| {
            let _ = std::fs::remove_file(path);
            std::fs::create_dir(path)
        };
        blocks
            .iter()
            .for_each(|path| eventually(PATIENCE, || block(path), Result::is_ok).expect("a directory"));
        self.lab(&["hint"]).fails("cannot be written down");
        self.lab(&["solve"]).fails("cannot be written down");
        let lesson = |args: &[&str]| -> Value {
            json(
                &self
                    .home
                    .ropewalk(&[&["lesson", "--name", "t", "--lang", "en"], args, &["-o", "json"]].concat()),
            )
        };
        let told = |view: &Value| view["notices"].to_string().contains("cannot be kept");
        assert!(told(&lesson(&["check", "first-voyage/01"])));
        blocks.iter().for_each(|block| std::fs::remove_dir(block).expect("it is empty"));
        eventually(PATIENCE, || lesson(&["show"]), |view| !told(view));
        let kept = std::fs::read_to_string(self.dir().join("lessons.json")).expect("progress");
        assert!(kept.contains("first-voyage/01"), "{kept}");
        self.lab(&["hint"]).ok();
    }
}

/// A task of a record.
fn of(record: &Value, id: &str) -> Value {
    record["tasks"].as_array().into_iter().flatten().find(|t| t["id"] == id).cloned().unwrap_or_default()
}

/// The process ends in the middle of a lab, and in the middle of a grade; the learner changes
/// something while the judge looks; nothing can be written down.
#[test]
fn a_lab_goes_on_after_a_restart_and_nothing_is_won_by_it() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let course = Course { home: &home, cluster: home.up(&UP), any: any_kubectl() };
    let ns = course.make_anew();
    course.restart(&ns);
    course.kill_the_judge();
    course.mend_meanwhile(&ns);
    course.write_nothing_down();
}

/// Ends the cluster, and starts it again after something was done to its files.
fn restart(home: &Home, meanwhile: &dyn Fn()) {
    home.ropewalk(&["down", "--name", "t"]).ok();
    meanwhile();
    home.ropewalk(&[&["up", "--name", "t", "--detach", "--wait"], &UP[..]].concat()).ok();
}

/// Cheats: hints taken out of the file, an older file put back, the cause read from a grade, a
/// record overwritten.
#[test]
fn nothing_is_won_by_editing_what_is_kept() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let _cluster = home.up(&UP);
    let lab = |args: &[&str]| lab(&home, args);
    let grade = || json(&lab(&["grade", "-o", "json"]));
    let (dir, book) = (home.path().join("clusters/t"), home.path().join("clusters/t/labs.json"));
    let restart = |meanwhile: &dyn Fn()| restart(&home, meanwhile);

    // A grade tells what is not so, but not why; it is counted, and so is the next.
    lab(&["start", "wrong-image", "--seed", "7"]).ok();
    let told = lab(&["grade"]);
    assert!(told.out.contains("Explanations kept back"), "{}", told.out);
    let second = grade();
    assert_eq!(
        (&second["attempts"]["gradings"], &second["tampered"]),
        (&2.into(), &false.into()),
        "{second}"
    );
    assert_eq!(second["labs"], "built-in");
    for name in ["wrong-image-7.json", "wrong-image-7-2.json"] {
        assert!(dir.join("records").join(name).exists(), "{name}");
    }
    restart(&|| {});
    assert_eq!(eventually(PATIENCE, grade, |r| r["lab"] == "wrong-image")["tampered"], false);

    // An older copy: from before a hint.
    let older = std::fs::read(&book).expect("a book");
    lab(&["hint"]).ok();
    restart(&|| std::fs::write(&book, &older).expect("written"));
    let back = grade();
    assert_eq!((&back["tampered"], &back["passed"]), (&true.into(), &false.into()), "{back}");

    // An edited one, after the solution.
    lab(&["start", "wrong-image", "--seed", "7", "--yes"]).ok();
    lab(&["solve"]).ok();
    restart(&|| {
        let text = std::fs::read_to_string(&book).expect("a book");
        assert!(text.contains("\"solve\": true"), "{text}");
        std::fs::write(&book, text.replace("\"solve\": true", "\"solve\": false")).expect("written");
    });
    // `up --wait` does not wait for the pods of the lab.
    let edited = eventually(PATIENCE, grade, |r| r["score"] == 100);
    assert_eq!(edited["passed"], false, "{edited}");
    assert_eq!((&edited["tampered"], &edited["used"]["solve"]), (&true.into(), &false.into()), "{edited}");
    let file = home.path().join("record.json");
    std::fs::write(&file, edited.to_string()).expect("written");
    assert!(lab(&["verify", file.to_str().expect("a path")]).ok().contains("changed by hand"));
    let list = json(&lab(&["list", "-o", "json"]));
    assert!(list.as_array().expect("a list").iter().all(|l| l["passed"] == false), "{list}");

    // The store's count deleted, and then the file: what was held for the labs is still known
    // there, and the next record says so.
    let etcdctl = |args: &[&str]| home.ropewalk(&[&["etcdctl", "--name", "t"], args].concat()).ok();
    etcdctl(&["del", "/ropewalk/labs"]);
    restart(&|| {
        std::fs::remove_file(&book).expect("a book");
        std::fs::remove_file(dir.join("pki/records.key")).expect("a key");
    });
    lab(&["start", "wrong-port", "--seed", "7"]).ok();
    let anew = grade();
    assert_eq!(
        (&anew["attempts"]["starts"], &anew["attempts"]["book_deleted"]),
        (&1.into(), &1.into()),
        "{anew}"
    );
}

/// The store has no room left and forgets what was before the lab: the lab ends with a sentence,
/// and leaves nothing behind.
#[test]
fn a_lab_whose_beginning_the_store_gave_up_is_left_without_a_trace() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let up = ["--workers", "1"];
    let cluster = home.up(&up);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let lab = |args: &[&str]| lab(&home, args);
    let etcdctl = |args: &[&str]| home.ropewalk(&[&["etcdctl", "--name", "t"], args].concat()).ok();
    k(&["create", "configmap", "mine"]).ok();
    lab(&["start", "wrong-port", "--seed", "7"]).ok();
    assert!(
        !etcdctl(&["get", "/ropewalk/hold", "--print-value-only"]).trim().is_empty(),
        "its beginning is held"
    );
    let ns = json(&lab(&["grade", "-o", "json"]))["variant"]["ns"].as_str().expect("a namespace").to_string();
    let newest = k(&["create", "configmap", "meanwhile", "-o", "jsonpath={.metadata.resourceVersion}"]).ok();
    etcdctl(&["compaction", newest.trim()]);
    // Without a restart everything is still known, and the grade is not lost.
    assert_eq!(json(&lab(&["grade", "-o", "json"]))["lab"], "wrong-port");
    home.ropewalk(&["down", "--name", "t"]).ok();
    home.ropewalk(&[&["up", "--name", "t", "--detach", "--wait"], &up[..]].concat()).ok();
    lab(&["grade"]).fails("no longer has the history");
    let asked = lab(&["leave"]);
    assert!(asked.err.contains(&format!("namespaces/{ns}")), "{asked:?}");
    assert!(lab(&["leave", "--yes"]).ok().contains(&format!("deleted instead: namespaces/{ns}")));
    k(&["get", "namespace", &ns]).fails("not found");
    k(&["get", "configmap", "mine", "meanwhile"]).ok();
    assert!(
        etcdctl(&["get", "/ropewalk/hold", "--print-value-only"]).trim().is_empty(),
        "nothing is held any more"
    );
    lab(&["start", "wrong-port", "--seed", "7"]).ok();
}

/// The judge takes pods away and puts them back under other uids; a restart later they are still
/// the ones that were there.
#[test]
fn what_the_judge_disturbed_is_not_held_against_the_learner_after_a_restart() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let up = ["--workers", "1"];
    let cluster = home.up(&up);
    let lab = |args: &[&str]| lab(&home, args);
    let grade = || json(&lab(&["grade", "-o", "json"]));
    lab(&["start", "orphans", "--seed", "7"]).ok();
    let variant = grade()["variant"].clone();
    assert_eq!(variant["fault"], "deployment", "a Deployment adopts them: {variant}");
    let (app, ns) = (variant["app"].as_str().expect("an app"), variant["ns"].as_str().expect("a namespace"));
    let replicas = format!("--replicas={}", variant["count"]);
    cluster.kubectl(&any, &["create", "deployment", app, "-n", ns, "--image=nginx:1.27", &replicas]).ok();
    for _ in ["once", "the judge disturbs it twice"] {
        eventually(PATIENCE, grade, |r| r["score"] == 100);
    }
    home.ropewalk(&["down", "--name", "t"]).ok();
    home.ropewalk(&[&["up", "--name", "t", "--detach", "--wait"], &up[..]].concat()).ok();
    let after = eventually(PATIENCE, grade, |r| r["score"] == 100);
    // A pod that the learner replaces is another one.
    assert_eq!(after["score"], 100, "{after}");
    cluster.kubectl(&any, &["delete", "pod", "-n", ns, "-l", &format!("app={app}"), "--wait"]).ok();
    let replaced = eventually(PATIENCE, grade, |r| r["score"] == 60);
    assert!(replaced.to_string().contains("is owned by a controller"), "{replaced}");
}
