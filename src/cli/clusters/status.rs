//! `status`: a cluster as it answers for itself, or as its files describe it.

use crate::args::Output;
use crate::codes::{NOT_RUNNING, UNKNOWN};
use crate::words::Word;
use cluster::control::{Ask, Control};
use cluster::home::Home;
use cluster::{Error, Place, Refusal, Spec};
use lang::Lang;
use lang::charset::{eprintln, println};
use serde_json::{Value, json};
use ui::settings;
use ui::texts::Say;
use unicode_width::UnicodeWidthStr;

/// `status`: what a cluster is made of and how it is, as text or JSON. Returns the exit code, which
/// says whether it runs.
pub(crate) async fn status(name: &str, output: Option<Output>) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    let lang = settings::language(None, &place.home);
    let running = match ask(&place).await {
        Ok(status) => Some(status),
        // Ended: between the question and its answer.
        Err(Error::NotRunning(_) | Error::Ended) => None,
        Err(unknown) => {
            eprintln!("ropewalk: {}", unknown.say(lang));
            return Ok(UNKNOWN);
        }
    };
    // What a damaged file says is of no interest as long as the cluster answers for itself.
    let known = if running.is_some() { None } else { Spec::load(&place)? };
    let status = running.unwrap_or_else(|| {
        let nodes: Vec<Value> = known
            .iter()
            .flat_map(Spec::nodes)
            .map(|n| json!({"name": n.name, "role": if n.control_plane { "control-plane" } else { "worker" }, "ready": false}))
            .collect();
        let state = if known.is_some() { "stopped" } else { "absent" };
        let etcd = match known.as_ref().and_then(|spec| spec.external_etcd.as_ref()) {
            Some(external) => external.status(),
            None => cluster::store::listeners::status(&place, &[]),
        };
        json!({"name": name, "state": state, "kubeconfig": place.kubeconfig(), "apiServers": [], "nodes": nodes,
            "etcd": etcd, "pids": null})
    });
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(code(&status));
    }
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_string();
    let say = |what: Word| lang.say(what, &[]);
    println!("{}", line(&say(Word::StatusCluster), &text("name")));
    println!("{}", line(&say(Word::StatusState), &state_in_words(lang, &text("state"))));
    if let Some(api) = status["apiServers"][0].as_str() {
        println!("{}", line("api", api));
    }
    println!("{}", line("kubeconfig", &text("kubeconfig")));
    if let Some(scale) = status["clock"].as_u64() {
        println!("{}", line(&say(Word::StatusClock), &format!("×{scale}")));
    }
    for node in status["nodes"].as_array().into_iter().flatten() {
        let mark = mark(lang, &node["ready"]);
        let word = |key: &str| node[key].as_str().unwrap_or_default().to_string();
        let node = format!("{:<26} {:<14} {mark}", word("name"), word("role"));
        println!("{}", line(&say(Word::StatusNode), &node));
    }
    let code = code(&status);
    if code == NOT_RUNNING {
        println!("\n{}", advice(&place, lang));
    }
    Ok(code)
}

/// Formats a line: what it is about, and behind that the value, in a column of its own.
fn line(about: &str, value: &str) -> String {
    const COLUMN: usize = 12;
    format!("{about}{}{value}", " ".repeat(COLUMN.saturating_sub(about.width())))
}

/// Returns the name of a cluster's state in a language. A state of a newer cluster keeps its own.
fn state_in_words(lang: Lang, state: &str) -> String {
    let known = match state {
        "running" => Word::StatusRunning,
        "starting" => Word::StatusStarting,
        "stopped" => Word::StatusStopped,
        "absent" => Word::StatusAbsent,
        other => return other.into(),
    };
    lang.say(known, &[])
}

/// Asks a cluster for its status.
async fn ask(place: &Place) -> Result<Value, Error> {
    Control::connect(place).await?.ask(&Ask::Status).await
}

/// Returns the exit code for a status. A cluster that is being started has processes: it runs.
fn code(status: &Value) -> i32 {
    match status["state"].as_str() {
        Some("running" | "starting") => 0,
        _ => NOT_RUNNING,
    }
}

/// Returns the state of a node in words. Null: whether it is ready is not known.
fn mark(lang: Lang, ready: &Value) -> String {
    match ready.as_bool() {
        Some(true) => lang.say(Say::StatusReady, &[]),
        Some(false) => lang.say(Say::StatusNotReady, &[]),
        None => lang.say(Word::NodeUnknown, &[]),
    }
}

/// Returns how to start a cluster that does not run. A foreign one is not started but opened.
fn advice(place: &Place, lang: Lang) -> String {
    match place.foreign().exists() {
        true => Refusal::Foreign { name: place.name.clone() }.say(lang),
        false => lang.say(Say::StartWith, &[&place.name]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_which_nothing_is_known_is_not_called_ready() {
        let mark = |ready: Value| mark(Lang::En, &ready);
        assert_eq!([mark(json!(true)), mark(json!(false))], ["ready", "not ready"]);
        assert!(mark(Value::Null).starts_with("not known"));
    }

    #[test]
    fn a_state_has_a_name_in_each_language_and_values_stand_in_one_column() {
        for state in ["running", "starting", "stopped", "absent", "newer"] {
            assert_eq!(state_in_words(Lang::En, state), state);
        }
        assert_eq!(state_in_words(Lang::Ko, "running"), "실행 중");
        let korean = |word: Word| Lang::Ko.say(word, &[]);
        assert_eq!(line("api", "https://h"), "api         https://h");
        assert_eq!(line(&korean(Word::StatusState), "x"), "상태        x");
        assert_eq!(line(&korean(Word::StatusCluster), "main"), "클러스터    main");
    }

    /// A script asks whether it has to start the cluster.
    #[tokio::test]
    async fn the_exit_code_says_whether_a_cluster_runs() {
        let codes = ["running", "starting", "stopped", "absent"].map(|state| code(&json!({"state": state})));
        assert_eq!(codes, [0, 0, NOT_RUNNING, NOT_RUNNING]);
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        assert!(matches!(ask(&place).await, Err(Error::NotRunning(name)) if name == "main"));
        // Whether the cluster behind this runs cannot be found out.
        std::os::unix::fs::symlink(place.socket(), place.socket()).unwrap();
        assert!(!matches!(ask(&place).await, Ok(_) | Err(Error::NotRunning(_) | Error::Ended)));
    }

    /// `up` would refuse to start it.
    #[test]
    fn a_foreign_cluster_is_not_said_to_be_startable() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("foreign-kind-1").unwrap();
        place.make().unwrap();
        assert!(advice(&place, Lang::En).ends_with("ropewalk up --name foreign-kind-1"));
        std::fs::write(place.foreign(), "{}").unwrap();
        for lang in [Lang::En, Lang::Ko] {
            let advice = advice(&place, lang);
            assert!(advice.contains("--kubeconfig") && !advice.contains("ropewalk up"), "{advice}");
        }
    }
}
