//! Practice from end to end: a drill over what was met, and the skill map. Each task of a drill is
//! proved on a cluster of its own.

use super::course::part;
use super::support::{
    Cluster, Home, Kubectl, PATIENCE, Said, any_kubectl, capable, eventually, turn, turn_of_many,
};
use serde_json::{Value, json};

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
}

/// The lesson `first-voyage/05` is finished, and `06`.
fn met(home: &Home) {
    let list = json_of(&home.ropewalk(&["lesson", "list", "-o", "json"]));
    let mut lessons = serde_json::Map::new();
    for id in ["first-voyage/05", "first-voyage/06"] {
        let path = format!("{}/lessons", env!("CARGO_MANIFEST_DIR"));
        let name = std::fs::read_dir(format!("{path}/first-voyage")).expect("a track").flatten();
        let number = id.rsplit('/').next().expect("a number");
        let folder = name
            .map(|e| e.path())
            .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{number}-"))));
        let text = std::fs::read_to_string(folder.expect("a lesson").join("lesson.md")).expect("a text");
        let ids = text.lines().filter_map(|line| line.strip_prefix("  - id: ")).map(str::trim);
        let steps: serde_json::Map<String, Value> = ids
            .map(|id| (id.to_string(), json!({"done": true, "state": "done", "at": "2026-01-01T00:00:00Z"})))
            .collect();
        assert!(list.as_array().expect("a list").iter().any(|l| l["id"] == id));
        lessons.insert(id.into(), json!({ "steps": steps }));
    }
    let place = home.path().join("clusters/t");
    std::fs::create_dir_all(&place).expect("a directory");
    let file = json!({"format": 1, "lessons": lessons}).to_string();
    std::fs::write(place.join("lessons.json"), file).expect("progress");
}

/// A shell has none of the commands of the prompt.
#[test]
fn a_shell_is_told_commands_that_it_has() {
    let home = Home::new();
    for (lang, list) in
        [("en", "`ropewalk lesson --name t list` shows"), ("ko", "`ropewalk lesson --name t list`로")]
    {
        let told = home.ropewalk(&["progress", "--lang", lang]).ok();
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("`ropewalk learn first-voyage/"), "{flat}");
        home.ropewalk(&["learn", "nope", "--name", "t", "--lang", lang]).fails(list);
        assert!(!home.path().join("clusters/t/log").exists(), "no cluster was started for it");
    }
}

#[test]
fn a_drill_asks_for_what_was_met_and_takes_away_what_it_made() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let drill = |args: &[&str]| -> Said {
        home.ropewalk(&[&["drill"], args, &["--name", "t", "--lang", "en"]].concat())
    };
    let progress =
        |args: &[&str]| home.ropewalk(&[&["progress", "--name", "t", "--lang", "en"], args].concat());
    let state = |map: &Value, id: &str| {
        let skills = map["skills"].as_array().expect("skills");
        skills.iter().find(|s| s["id"] == id).map(|s| s["state"].clone()).unwrap_or_default()
    };
    // Without a cluster.
    let map = json_of(&progress(&["-o", "json"]));
    assert_eq!((&map["format"], &state(&map, "scale")), (&1.into(), &"notMet".into()));
    assert!(progress(&[]).ok().contains("You have not learned any of these yet"));

    met(&home); // before the lesson engine reads it
    let cluster = home.up(&["--workers", "1"]);
    drill(&["check"]).fails("no drill is open; `ropewalk drill --name t` begins one");
    home.ropewalk(&["lesson", "check", "--name", "t", "--lang", "en"])
        .fails("`ropewalk learn --name t ID` opens one");
    // As the prompt writes it: the cluster's name right behind the word.
    let named = ["drill", "--name", "t", "check", "-o", "json", "--lang", "en"];
    home.ropewalk(&named).fails("no drill is open");
    let map = json_of(&progress(&["-o", "json"]));
    assert_eq!((&state(&map, "scale"), &state(&map, "logs")), (&"rusty".into(), &"notMet".into()));

    // Two skills with three tasks: all of them.
    let begun = json_of(&drill(&["start", "--seed", "417", "-o", "json"]));
    assert_eq!((&begun["phase"], &begun["seed"], &begun["at"]), (&"running".into(), &417.into(), &0.into()));
    let tasks = begun["tasks"].as_array().expect("tasks").clone();
    assert_eq!(tasks.len(), 3, "{begun}");
    assert!(tasks[1]["task"] == "" && tasks[0]["task"] != "", "a task is shown when it is its turn: {begun}");
    drill(&["start"]).fails("already open");
    assert_eq!(begun["namespace"], "drill");
    let any = any_kubectl();
    cluster.kubectl(&any, &["get", "namespace", "drill"]).ok();

    // Not yet, a hint, and on to the next one: it is noted.
    let told = drill(&["check"]);
    assert!(told.code == 1 && told.out.contains("Not yet: "), "{told:?}");
    assert!(drill(&["hint"]).ok().starts_with("hint 1:"));
    assert!(drill(&["skip"]).ok().contains("skipped, first in the next drill"));
    let now = json_of(&drill(&["show", "-o", "json"]));
    assert_eq!((&now["at"], &now["tasks"][0]["outcome"]), (&1.into(), &"skipped".into()));
    // A change in another namespace is no answer, and that is said.
    cluster.kubectl(&any, &["create", "configmap", "astray"]).ok();
    assert!(drill(&["check"]).out.contains("Add `-n drill`: your change"));
    assert!(drill(&["stop"]).ok().contains("0 of 3 done"));
    drill(&["skip"]).fails("no drill is open");
    let skipped = tasks[0]["id"].as_str().expect("an id");
    assert_eq!(drill(&["check", skipped]).code, 1, "a task that was skipped is not done");
    let gone = || cluster.kubectl(&any, &["get", "namespace", "drill"]);
    let gone = eventually(PATIENCE, gone, |said| said.code != 0);
    gone.fails("not found");

    repeats(&home, &cluster, &any, &begun);
}

/// Does the task of a drill that runs with the command that its last hint tells.
fn do_with_last_hint(home: &Home, cluster: &Cluster<'_>, any: &Kubectl, task: &Value) {
    let drill = |args: &[&str]| home.ropewalk(&[&["drill"], args, &["--name", "t", "--lang", "en"]].concat());
    let mut now = json_of(&drill(&["show", "-o", "json"]));
    while now["hintsLeft"] != 0 {
        drill(&["hint"]).ok();
        now = json_of(&drill(&["show", "-o", "json"]));
    }
    let last = now["hints"].as_array().and_then(|hints| hints.last()).and_then(Value::as_str);
    let line = last.expect("a hint").trim_matches('`').strip_prefix("kubectl ").expect("a command");
    let words: Vec<&str> = line.split(' ').collect();
    cluster.kubectl(any, &words).ok();
    let id = task["id"].as_str().expect("an id");
    let told = eventually(PATIENCE, || drill(&["check", id]), |said| said.code == 0);
    assert!(told.out.contains("done with the last hint, first in the next drill"), "{told:?}");
    let now = json_of(&drill(&["show", "-o", "json"]));
    assert_eq!((&now["tasks"][0]["outcome"], &now["at"]), (&"helped".into(), &1.into()), "{now}");
}

/// The same seed has the same tasks, and what was skipped is known.
fn repeats(home: &Home, cluster: &Cluster<'_>, any: &Kubectl, begun: &Value) {
    let drill = |args: &[&str]| home.ropewalk(&[&["drill"], args, &["--name", "t", "--lang", "en"]].concat());
    let progress =
        |args: &[&str]| home.ropewalk(&[&["progress", "--name", "t", "--lang", "en"], args].concat());
    let again = json_of(&drill(&["start", "--seed", "417", "-o", "json"]));
    let ids = |tasks: &Value| -> Vec<String> {
        tasks.as_array().expect("tasks").iter().map(|t| t["id"].to_string()).collect()
    };
    assert_eq!(ids(&again["tasks"]), ids(&begun["tasks"]));
    assert_eq!(again["tasks"][0]["task"], begun["tasks"][0]["task"]);
    do_with_last_hint(home, cluster, any, &again["tasks"][0]);
    drill(&["stop"]).ok();
    let map = json_of(&progress(&["-o", "json"]));
    let skipped = begun["tasks"][0]["skill"].as_str().expect("a skill");
    let line = map["skills"].as_array().expect("skills").iter().find(|s| s["id"] == skipped).expect("it");
    // The skip is the one failure; what was done with the last hint comes back as well.
    assert_eq!(
        (&line["failed"], &line["missed"], &line["helped"], &line["state"]),
        (&true.into(), &1.into(), &true.into(), &"rusty".into())
    );

    // A damaged record is put aside.
    std::fs::write(home.path().join("clusters/t/practice.json"), "{").expect("damaged");
    let told = progress(&[]).ok().replace("\n  ", " "); // a long path folds the line
    assert!(told.contains("practice.json is damaged"), "{told}");
}

/// Each task is red at first and after each wrong answer, and green after its solution.
#[test]
fn every_task_of_a_drill_is_sound() {
    if !capable() {
        return;
    }
    let (_turn, home, part) = (turn_of_many(), Home::new(), part());
    println!("again with: ROPEWALK_COURSE={part}");
    let said = home.ropewalk(&["drill", "test", "--all", "--seed", "7", "--part", &part]);
    print!("{}", said.out);
    let wrong: Vec<&str> = said.out.lines().filter(|line| line.starts_with('✗')).collect();
    assert_eq!(said.code, 0, "{}\n{}", wrong.join("\n"), said.err);
    // Of as many tasks as there are parts, a part has one.
    assert!(said.out.lines().any(|line| line.starts_with('✓')), "{}", said.out);
}
