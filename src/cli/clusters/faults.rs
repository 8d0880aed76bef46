//! `fault`: asks a running cluster for a fault, and says what was done.

use crate::args::{self, NodeAct, Output};
use cluster::control::{Ask, Control};
use cluster::faults::{Act, Broken, Fault, HELD, component_and_node};
use cluster::home::Home;
use lang::charset::println;
use lang::{Lang, texts};
use serde_json::Value;
use ui::settings;
use ui::texts::Say;

texts! {
    /// The kinds of faults, as `fault list` names them (its JSON has the names of
    /// [`Broken::fault`]), and the line about a node that runs nothing.
    enum Word {
    Cut: "cut", "끊김";
    Slow: "slow", "지연";
    Loss: "loss", "패킷 손실";
    DiskFull: "disk full", "디스크 가득 참";
    Stopped: "stopped", "노드 꺼짐";
    Crashed: "crashed", "노드 전원 끊김";
    Held: "component stopped", "컴포넌트 멈춤";
    NodeAsleep: "nothing runs on it yet, because its kubelet is stopped; `ropewalk fault start kubelet/{}` starts it", "kubelet이 멈춰 있어 이 노드에서는 아직 아무것도 실행되지 않습니다. `ropewalk fault start kubelet/{}` 명령으로 kubelet을 시작하세요";
    }
}

/// `fault`: one fault on a running cluster, or the list of those that hold.
pub(crate) async fn fault(name: &str, fault: args::Fault) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(None, &home);
    let place = home.cluster(name)?;
    let mut control = Control::connect(&place).await?;
    let (fault, output) = to_request(fault);
    let answer = control.ask(&Ask::Fault { fault: fault.clone() }).await?;
    match fault {
        Fault::Kill { .. } => {
            for killed in answer["killed"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", lang.say(Say::Killed, &[killed]));
            }
        }
        Fault::Stop { .. } => {
            for stopped in answer["stopped"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", lang.say(Say::Held, &[stopped, stopped]));
            }
            if answer["silent"] == true {
                println!("{}", lang.say(Say::Silent, &[]));
            }
        }
        Fault::Start { .. } => {
            for started in answer["started"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", start_line(lang, started, &answer));
            }
        }
        Fault::List => list_faults(&answer["faults"], output, lang)?,
        Fault::Cut { a, b } => println!("{}", lang.say(Say::LinkCut, &[&a, &b])),
        Fault::Slow { a, b, millis } => {
            println!("{}", lang.say(Say::LinkSlow, &[&a, &b, &millis.to_string()]))
        }
        Fault::Loss { a, b, percent } => {
            println!("{}", lang.say(Say::LinkLossy, &[&a, &b, &percent.to_string()]))
        }
        Fault::Disk { .. } => {
            for full in answer["full"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", lang.say(Say::DiskFull, &[full]));
            }
        }
        Fault::Heal => println!("{}", lang.say(Say::LinksWhole, &[])),
        Fault::Node { node, act: Act::Start } => {
            for line in switched_on(lang, &node, &answer) {
                println!("{line}");
            }
        }
        Fault::Node { node, .. } => {
            for line in switched_off(lang, &node, &answer) {
                println!("{line}");
            }
        }
    }
    Ok(0)
}

/// Returns the lines about a node that was switched on. The cluster's answer says if its kubelet is
/// held down (`asleep`).
fn switched_on(lang: Lang, node: &str, answer: &Value) -> Vec<String> {
    let asleep = (answer["asleep"] == true).then(|| lang.say(Word::NodeAsleep, &[node]));
    std::iter::once(lang.say(Say::NodeStarts, &[node])).chain(asleep).collect()
}

/// Returns the lines about a node that was switched off. The cluster's answer says if the node is
/// the only control plane (`onlyControlPlane`), and if no API server can answer any more since the
/// node is off (`silent`).
fn switched_off(lang: Lang, node: &str, answer: &Value) -> Vec<String> {
    let mut lines = vec![lang.say(Say::NodeIsOff, &[node, node])];
    if answer["onlyControlPlane"] == true {
        lines.push(lang.say(Say::NobodyAnswers, &[]));
    } else if answer["silent"] == true {
        lines.push(lang.say(Say::Silent, &[]));
    }
    lines
}

/// Returns the line about a component that was started, `component/node`. The cluster's answer has
/// the components that wait for a kubelet that is held down (`asleep`), and the seconds that others
/// still wait (`waits`).
fn start_line(lang: Lang, started: &str, answer: &Value) -> String {
    let mut asleep = answer["asleep"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if asleep.any(|one| one == started) {
        let node = component_and_node(started).1.unwrap_or_default();
        return lang.say(Say::ReleasedAsleep, &[started, &format!("kubelet/{node}")]);
    }
    match answer["waits"][started].as_u64() {
        Some(seconds) => lang.say(Say::ReleasedLater, &[started, &seconds.to_string()]),
        None => lang.say(Say::Released, &[started]),
    }
}

/// Returns the fault that the arguments name, as the cluster takes it, and the form of the answer.
fn to_request(fault: args::Fault) -> (Fault, Option<Output>) {
    let mut output = None;
    let fault = match fault {
        args::Fault::Kill { target } => {
            let (component, node) = component_and_node(&target);
            Fault::Kill { component, node }
        }
        args::Fault::Stop { target } => {
            let (component, node) = component_and_node(&target);
            Fault::Stop { component, node }
        }
        args::Fault::Start { target } => {
            let (component, node) = component_and_node(&target);
            Fault::Start { component, node }
        }
        args::Fault::List { output: form } => {
            output = form;
            Fault::List
        }
        args::Fault::Cut { a, b } => Fault::Cut { a, b },
        args::Fault::Disk { state: args::DiskState::Full, node } => Fault::Disk { node },
        args::Fault::Heal => Fault::Heal,
        args::Fault::Slow { a, b, millis } => Fault::Slow { a, b, millis },
        args::Fault::Loss { a, b, percent } => Fault::Loss { a, b, percent },
        args::Fault::Node { act, node } => {
            let act = match act {
                NodeAct::Stop => Act::Stop,
                NodeAct::Start => Act::Start,
                NodeAct::Crash => Act::Crash,
            };
            Fault::Node { node, act }
        }
    };
    (fault, output)
}

/// Prints the faults that hold, a line each, or as JSON.
fn list_faults(faults: &Value, output: Option<Output>, lang: Lang) -> anyhow::Result<()> {
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(faults)?);
        return Ok(());
    }
    let faults: Vec<Broken> = serde_json::from_value(faults.clone())?;
    if faults.is_empty() {
        println!("{}", lang.say(Say::NothingBroken, &[]));
    }
    for broken in faults {
        let amount = match (broken.fault.as_str(), broken.amount) {
            ("slow", Some(millis)) => lang.say(Say::BrokenBy, &[&millis.to_string()]),
            ("loss", Some(percent)) => lang.say(Say::BrokenOf, &[&percent.to_string()]),
            _ => broken.component.as_ref().map(|component| format!(": {component}")).unwrap_or_default(),
        };
        let since = clock::rfc3339(broken.since);
        let kind = kind_in_words(&broken.fault, lang);
        let with = [kind.as_str(), &amount, &broken.nodes.join(" - "), &since];
        println!("{}", lang.say(Say::BrokenSince, &with));
    }
    Ok(())
}

/// Returns the name of a kind of fault in a language. A kind of a newer cluster keeps its own.
fn kind_in_words(fault: &str, lang: Lang) -> String {
    let kind = match fault {
        "cut" => Word::Cut,
        "slow" => Word::Slow,
        "loss" => Word::Loss,
        "disk full" => Word::DiskFull,
        "stopped" => Word::Stopped,
        "crashed" => Word::Crashed,
        HELD => Word::Held,
        other => return other.to_string(),
    };
    lang.say(kind, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_has_a_name_in_each_language() {
        for fault in ["cut", "slow", "loss", "disk full", "stopped", "crashed", HELD, "newer"] {
            assert_eq!(kind_in_words(fault, Lang::En), fault);
        }
        assert_eq!(kind_in_words("stopped", Lang::Ko), "노드 꺼짐");
        assert_eq!(kind_in_words(HELD, Lang::Ko), "컴포넌트 멈춤");
    }

    #[test]
    fn a_node_whose_kubelet_is_stopped_runs_nothing_yet() {
        let lines = |answer: Value| switched_on(Lang::En, "n2", &answer);
        for answer in [json!({"started": "n2"}), json!({"started": "n2", "asleep": false})] {
            assert_eq!(lines(answer), ["n2 starts"]);
        }
        let asleep = lines(json!({"started": "n2", "asleep": true}));
        assert!(asleep.len() == 2 && asleep[1].contains("`ropewalk fault start kubelet/n2`"), "{asleep:?}");
    }

    /// The second of three control planes.
    #[test]
    fn a_node_whose_end_silences_the_api_is_said_to_do_so() {
        let lines = |answer: Value| switched_off(Lang::En, "n2", &answer);
        let off = "n2 is off; `ropewalk fault node start n2` starts it";
        assert_eq!(lines(json!({"off": "n2", "onlyControlPlane": false, "silent": false})), [off]);
        let silent = lines(json!({"off": "n2", "onlyControlPlane": false, "silent": true}));
        assert!(silent.len() == 2 && silent[1].contains("no API server answers"), "{silent:?}");
        let only = lines(json!({"off": "n2", "onlyControlPlane": true, "silent": true}));
        assert!(only.len() == 2 && only[1].contains("only control plane"), "{only:?}");
        assert!(only[1].contains("pods on other nodes keep running"), "its own have ended: {only:?}");
    }

    #[test]
    fn a_component_that_is_started_without_its_kubelet_is_not_said_to_start() {
        let started = "kube-scheduler/n1";
        let line = |answer: Value| start_line(Lang::En, started, &answer);
        assert_eq!(line(json!({"started": [started], "asleep": []})), "kube-scheduler/n1 starts");
        assert!(line(json!({"started": [started], "waits": {started: 40}})).contains("in 40 s"));
        let asleep = line(json!({"started": [started], "asleep": [started], "waits": {started: 40}}));
        assert!(asleep.ends_with("`ropewalk fault start kubelet/n1`"), "{asleep}");
    }
}
