//! A graded lab from end to end, as a class would use it: started from a seed, half done, graded,
//! mended, graded, the record forged, reset.

use super::support::{
    Home, PATIENCE, Said, TIMEOUT, any_kubectl, capable, eventually, kill_9, turn, turn_of_many,
};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

/// Over its variants each lab is red at the start and after each wrong answer, and has full marks
/// after the solution and each other way.
#[test]
fn every_lab_is_sound() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn_of_many(), Home::new());
    let said = home.ropewalk(&["lab", "test", "--all", "--once", "--jobs", "8"]);
    print!("{}", said.out);
    let lines = |mark: char| said.out.lines().filter(move |l| l.trim_start().starts_with(mark));
    let wrong: Vec<&str> = lines('✗').collect();
    assert_eq!(said.code, 0, "{}\n{}", wrong.join("\n"), said.err);
    assert!(lines('✓').count() >= 22, "too few were played");
}

#[test]
fn a_lab_is_started_graded_mended_and_reset() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let lab =
        |args: &[&str]| -> Said { home.ropewalk(&[&["lab", "--name", "t", "--lang", "en"], args].concat()) };

    // Without a cluster: what there is, and what a seed draws.
    let list = json(&lab(&["list", "-o", "json"]));
    let ids: Vec<&str> = list.as_array().expect("a list").iter().filter_map(|l| l["id"].as_str()).collect();
    for id in ["wrong-image", "broken-selector", "wrong-port", "crash-loop", "orphans"] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    let sheet = lab(&["show", "broken-selector", "--seed", "417"]).ok();
    assert_eq!(sheet, lab(&["show", "broken-selector", "--seed", "417"]).ok());
    assert!(
        !sheet.contains("{{") && !sheet.contains("exec("),
        "checks stay hidden, and all is filled in: {sheet}"
    );

    let cluster = home.up(&["--workers", "2"]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
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
    home.ropewalk(&["undo", "--name", "t"]).fails("would be taken away with it");
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
    let variant = &red["variant"];
    let (app, ns) = (variant["app"].as_str().expect("an app"), variant["ns"].as_str().expect("a namespace"));
    let service = format!("svc/{app}");
    assert!(k(&["get", &service, "-n", ns]).ok().contains(app));

    // Work of the learner's elsewhere, which no end of the lab takes away.
    k(&["create", "configmap", "meanwhile"]).ok();

    // The learner mends it; the report is missing; one step is undone and done again.
    let mend = ["set", "selector", &service, "-n", ns, &format!("app={app}")];
    k(&mend).ok();
    home.ropewalk(&["undo", "--name", "t"]).ok();
    k(&mend).ok();
    let pods = || k(&["get", "pods", "-n", ns, "-l", &format!("app={app}"), "-o", "name"]).ok();
    let before = pods();
    // A task has to hold within seconds, and a busy machine may need more: then it is graded again.
    let graded = || lab(&["grade", "-o", "json"]);
    let most = eventually(PATIENCE, graded, |said| json(said)["score"] == 90);
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

    // The record: believed as it is and in another order, not when anything was touched.
    let file = home.path().join("record.json");
    let verify = |text: &str| {
        std::fs::write(&file, text).expect("written");
        lab(&["verify", file.to_str().expect("a path")])
    };
    assert!(verify(&most.out).ok().contains("90 of 100"));
    let mut turned: Vec<_> = record.as_object().expect("an object").clone().into_iter().collect();
    turned.reverse();
    verify(&Value::Object(turned.into_iter().collect()).to_string()).ok();
    verify(&most.out.replace("\"points\": 0", "\"points\": 10")).fails("edited");
    verify(&most.out.replace("\"score\": 90", "\"score\": 100")).fails("edited");
    verify("{}").fails("not a record");

    // The whole: by the book, which is then no pass.
    lab(&["solve"]).ok();
    let full = json(&eventually(PATIENCE, graded, |said| json(said)["score"] == 100));
    assert_eq!((&full["passed"], &full["used"]["solve"]), (&false.into(), &true.into()), "{full}");
    // Full marks, however they came.
    eventually(PATIENCE, || lab(&["grade"]), |said| said.code == 0);

    // Again: the open lab ends only if that is meant; then everything is broken as before, and
    // nothing of the first try is left.
    let ends = lab(&["start", "broken-selector", "--seed", "417"]);
    assert!(ends.err.contains("It ends without a grade"), "{ends:?}");
    ends.fails("--yes");
    k(&["get", "configmap", "report", "-n", ns]).ok();
    let again = json(&lab(&["start", "broken-selector", "--seed", "417", "--yes", "-o", "json"]));
    k(&["get", "configmap", "mine", "meanwhile"]).ok();
    assert_eq!(again["tasks"], started["tasks"]);
    k(&["get", "configmap", "report", "-n", ns]).fails("not found");
    let csv = lab(&["grade", "-o", "csv"]);
    assert_eq!((csv.code, csv.out.lines().count()), (1, 6), "{}", csv.out);

    // A hint of an earlier start counts; whoever gives up is told everything, and the record says
    // so.
    lab(&["hint"]).ok();
    lab(&["give-up"]).fails("--yes");
    lab(&["start", "broken-selector", "--seed", "417", "--yes"]).ok();
    let told = lab(&["give-up", "--yes"]).ok();
    assert!(told.contains("The Service looked for") && told.contains("kubectl set selector"), "{told}");
    k(&mend).ok();
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

    // Left: what the lab made goes, the learner's own stays, and later records say so.
    let leave = lab(&["leave"]);
    assert!(leave.err.contains("It ends without a grade"), "{leave:?}");
    leave.fails("--yes");
    lab(&["leave", "broken-selector", "--yes"]).ok();
    k(&["get", "namespace", ns]).fails("not found");
    k(&["get", "configmap", "mine", "meanwhile"]).ok();
    lab(&["grade"]).fails("no lab is open");
    lab(&["leave", "--yes"]).fails("no lab is open");

    // Somebody's own namespace is in the way: it is named, and nothing is begun.
    k(&["create", "namespace", ns]).ok();
    k(&["create", "configmap", "precious", "-n", ns]).ok();
    lab(&["start", "broken-selector", "--seed", "417", "--yes"]).fails(&format!("namespaces/{ns}"));
    k(&["get", "configmap", "precious", "-n", ns]).ok();
    // Without a seed another namespace is drawn.
    let other = json(&lab(&["start", "broken-selector", "-o", "json"]));
    assert_ne!(other["seed"], 417);
    let left = json(&lab(&["grade", "-o", "json"]));
    assert_eq!(left["attempts"]["earlier_left"], 1, "{left}");
    k(&["get", "configmap", "precious", "-n", ns]).ok();
}

/// The process ends in the middle of a lab, and in the middle of a grade; somebody lends the judge
/// a hand; nothing can be written down.
#[test]
fn a_lab_goes_on_after_a_restart_and_nothing_is_won_by_it() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let up = ["--workers", "1"];
    let cluster = home.up(&up);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let lab =
        |args: &[&str]| -> Said { home.ropewalk(&[&["lab", "--name", "t", "--lang", "en"], args].concat()) };
    let grade = || json(&lab(&["grade", "-o", "json"]));
    let of = |record: &Value, id: &str| {
        record["tasks"].as_array().into_iter().flatten().find(|t| t["id"] == id).cloned().unwrap_or_default()
    };
    let dir = home.path().join("clusters/t");
    let book = || -> Value {
        serde_json::from_slice(&std::fs::read(dir.join("labs.json")).expect("a book")).expect("JSON")
    };

    // Made anew instead of mended: all but one task.
    lab(&["start", "wrong-image", "--seed", "7"]).ok();
    let variant = grade()["variant"].clone();
    let (app, ns) = (variant["app"].as_str().expect("an app"), variant["ns"].as_str().expect("a namespace"));
    let replicas = format!("--replicas={}", variant["count"]);
    k(&["delete", "deploy", app, "-n", ns]).ok();
    k(&["create", "deployment", app, "-n", ns, "--image=nginx:1.27", &replicas]).ok();
    k(&["label", "namespace", ns, "a=b"]).ok();
    home.ropewalk(&["undo", "--name", "t"]).ok();
    k(&["wait", "-n", ns, &format!("deploy/{app}"), "--for=condition=Available", TIMEOUT]).ok();
    let before = eventually(PATIENCE, grade, |r| r["score"] == 80);
    assert_eq!(before["used"]["undo"], 1, "{before}");

    // After a restart the Deployment is still not the one that was there, and what was undone stays
    // counted.
    home.ropewalk(&["down", "--name", "t"]).ok();
    let again = || home.ropewalk(&[&["up", "--name", "t", "--detach", "--wait"], &up[..]].concat());
    again().ok();
    k(&["label", "namespace", ns, "a=c"]).ok();
    home.ropewalk(&["undo", "--name", "t"]).ok();
    let after = eventually(PATIENCE, grade, |r| r["score"] == 80);
    assert_eq!(
        (&of(&after, "same")["verdict"], &after["used"]["undo"]),
        (&"red".into(), &2.into()),
        "{after}"
    );

    // Killed while the judge has taken the pods away: it is taken back by whoever starts next.
    let mut command = home.command(home.program());
    let judge = command.args(["lab", "grade", "--name", "t"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut judge = judge.spawn().expect("it runs");
    eventually(PATIENCE, || book()["open"]["disturbed"].clone(), Value::is_number);
    kill_9(&[cluster.pid("main"), cluster.pid("supervisor")]);
    judge.wait().expect("ours");
    eventually(PATIENCE, again, |said| said.code == 0);
    eventually(PATIENCE, || book()["open"]["disturbed"].clone(), Value::is_null);
    let third = eventually(PATIENCE, grade, |r| r["score"] == 80);
    assert_eq!(third["used"]["undo"], 2, "the judge's own way back is nobody's undo: {third}");

    // Whoever mends while the judge looks whether it mends itself proves nothing. On a busy machine
    // no change may fall into the time in which the judge looks: then it is graded again.
    let mut number = 0;
    let mended = || {
        std::thread::scope(|scope| {
            let graded = scope.spawn(grade);
            while !graded.is_finished() {
                if book()["open"]["disturbed"].is_number() {
                    number += 1;
                    k(&["label", "--overwrite", "namespace", ns, &format!("n=x{number}")]);
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
    eventually(PATIENCE, grade, |r| r["score"] == 80);

    // What cannot be written down is not given away; and whoever learns is told.
    let blocks = ["labs.json.new", "lessons.json.new"].map(|name| dir.join(name));
    // A process that was killed while it wrote may have left a file of that name.
    let block = |path: &std::path::PathBuf| {
        let _ = std::fs::remove_file(path);
        std::fs::create_dir(path)
    };
    blocks.iter().for_each(|path| eventually(PATIENCE, || block(path), Result::is_ok).expect("a directory"));
    lab(&["hint"]).fails("cannot be written down");
    lab(&["solve"]).fails("cannot be written down");
    let lesson = |args: &[&str]| -> Value {
        json(&home.ropewalk(&[&["lesson", "--name", "t", "--lang", "en"], args, &["-o", "json"]].concat()))
    };
    let told = |view: &Value| view["notices"].to_string().contains("cannot be kept");
    assert!(told(&lesson(&["check", "first-voyage/01"])));
    blocks.iter().for_each(|block| std::fs::remove_dir(block).expect("it is empty"));
    eventually(PATIENCE, || lesson(&["show"]), |view| !told(view));
    let kept = std::fs::read_to_string(dir.join("lessons.json")).expect("progress");
    assert!(kept.contains("first-voyage/01"), "{kept}");
    lab(&["hint"]).ok();
}

/// Cheats: hints taken out of the file, an older file put back, the cause read from a grade, a
/// record overwritten.
#[test]
fn nothing_is_won_by_editing_what_is_kept() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let up = ["--workers", "1"];
    let _cluster = home.up(&up);
    let lab =
        |args: &[&str]| -> Said { home.ropewalk(&[&["lab", "--name", "t", "--lang", "en"], args].concat()) };
    let grade = || json(&lab(&["grade", "-o", "json"]));
    let (dir, book) = (home.path().join("clusters/t"), home.path().join("clusters/t/labs.json"));
    let restart = |meanwhile: &dyn Fn()| {
        home.ropewalk(&["down", "--name", "t"]).ok();
        meanwhile();
        home.ropewalk(&[&["up", "--name", "t", "--detach", "--wait"], &up[..]].concat()).ok();
    };

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
    let lab =
        |args: &[&str]| -> Said { home.ropewalk(&[&["lab", "--name", "t", "--lang", "en"], args].concat()) };
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
    lab(&["grade"]).fails("gave up the history");
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
    let lab =
        |args: &[&str]| -> Said { home.ropewalk(&[&["lab", "--name", "t", "--lang", "en"], args].concat()) };
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
