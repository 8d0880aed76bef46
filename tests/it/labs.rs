//! A graded lab from end to end, as a class would use it: started from a seed, half done, graded, mended, graded, the record forged, reset.

use super::support::{Home, Said, any_kubectl, capable, turn};
use serde_json::Value;

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

/// Over its variants each lab is red at the start and after each wrong answer, and has full marks after the solution and each other way.
#[test]
fn every_lab_is_sound() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let said = home.ropewalk(&["lab", "test", "--all", "--jobs", "8"]);
    print!("{}", said.out);
    let lines = |mark: char| said.out.lines().filter(move |l| l.trim_start().starts_with(mark));
    let wrong: Vec<&str> = lines('✗').collect();
    assert_eq!(said.code, 0, "{}\n{}", wrong.join("\n"), said.err);
    assert!(lines('✓').count() >= 5, "too few were played");
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
    lab(&["start", "no-such-lab"]).fails("there is no lab no-such-lab");
    let started = json(&lab(&["start", "broken-selector", "--seed", "417", "-o", "json"]));
    assert_eq!((&started["seed"], &started["minutes"]), (&417.into(), &10.into()));
    lab(&["grade", "broken-selector", "--seed", "418"]).fails("with seed 417");
    assert_eq!(lab(&["check"]).code, 1);

    // Nothing done: only what was never broken has points.
    let red = lab(&["grade", "broken-selector", "--seed", "417", "--learner", "seat-07", "-o", "json"]);
    assert_eq!(red.code, 1);
    let red = json(&red);
    assert_eq!((&red["score"], &red["max"], &red["passed"]), (&10.into(), &100.into(), &false.into()));
    assert_eq!(
        (&red["learner"], &red["schema"], &red["lab"]),
        (&"seat-07".into(), &1.into(), &"broken-selector".into())
    );
    assert_eq!(red["used"], serde_json::json!({"hints": 0, "undo": 0, "solve": false}));
    let variant = &red["variant"];
    let (app, ns) = (variant["app"].as_str().expect("an app"), variant["ns"].as_str().expect("a namespace"));
    let service = format!("svc/{app}");
    assert!(k(&["get", &service, "-n", ns]).ok().contains(app));

    // The learner mends it; the report is missing; one step is undone and done again.
    let mend = ["set", "selector", &service, "-n", ns, &format!("app={app}")];
    k(&mend).ok();
    home.ropewalk(&["undo", "--name", "t"]).ok();
    k(&mend).ok();
    let pods = || k(&["get", "pods", "-n", ns, "-l", &format!("app={app}"), "-o", "name"]).ok();
    let before = pods();
    let most = lab(&["grade", "-o", "json"]);
    assert_eq!(most.code, 1, "{most:?}");
    let record = json(&most);
    assert_eq!((&record["score"], &record["used"]["undo"]), (&90.into(), &1.into()), "{record}");
    let of = |id: &str| {
        record["tasks"].as_array().into_iter().flatten().find(|t| t["id"] == id).cloned().unwrap_or_default()
    };
    assert_eq!((&of("durable")["verdict"], &of("same")["at_s"]), (&"green".into(), &serde_json::json!(0.0)));
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
    let full = json(&lab(&["grade", "-o", "json"]));
    assert_eq!(
        (&full["score"], &full["passed"], &full["used"]["solve"]),
        (&100.into(), &false.into(), &true.into())
    );
    assert_eq!(lab(&["grade"]).code, 0, "full marks, however they came");

    // Again: everything is broken as before, and nothing of the first try is left.
    let again = json(&lab(&["start", "broken-selector", "--seed", "417", "-o", "json"]));
    assert_eq!(again["tasks"], started["tasks"]);
    k(&["get", "configmap", "report", "-n", ns]).fails("not found");
    let csv = lab(&["grade", "-o", "csv"]);
    assert_eq!((csv.code, csv.out.lines().count()), (1, 6), "{}", csv.out);
}
