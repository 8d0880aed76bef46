//! Faults on purpose, as people write them and as records hold them.

use serde::{Deserialize, Serialize};

/// A fault on purpose, or its repair: what `ropewalk fault` takes. Nodes and components by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Lists what is broken now. It changes nothing and leaves no record.
    List,
    /// Ends a component without asking it; on every node if none is named.
    Kill {
        /// The component's name, e.g. `kube-scheduler`.
        component: String,
        /// The only node on which it ends.
        node: Option<String>,
    },
    /// Ends a component and holds it down until it is started; on every node if none is named.
    Stop {
        /// The component's name, e.g. `kubelet`.
        component: String,
        /// The only node on which it stops.
        node: Option<String>,
    },
    /// Starts a component that is held down.
    Start {
        /// The component's name.
        component: String,
        /// The only node on which it starts.
        node: Option<String>,
    },
    /// Loses everything between two nodes.
    Cut {
        /// One of the two nodes.
        a: String,
        /// The other one. Both directions are cut.
        b: String,
    },
    /// Delays what two nodes send, by milliseconds.
    Slow {
        /// One of the two nodes.
        a: String,
        /// The other one. Both directions are slow.
        b: String,
        /// Added to each packet of either node; a round trip has it twice.
        millis: u64,
    },
    /// Loses a share of what passes between two nodes, in percent.
    Loss {
        /// One of the two nodes.
        a: String,
        /// The other one. Both directions lose packets.
        b: String,
        /// From 0 to 100, of the packets in each direction.
        percent: f64,
    },
    /// Fills the disk of a store; of every control plane's store if no node is named.
    Disk {
        /// The node whose store runs full.
        node: Option<String>,
    },
    /// Mends every link and empties every disk that was filled.
    Heal,
    /// Switches a node's machine off or on.
    Node {
        /// The name of the node.
        node: String,
        /// Off, on, or off at once.
        act: Act,
    },
}

/// How a node's machine is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Off, in order: its components are asked to end first.
    Stop,
    /// On again.
    Start,
    /// Off at once: power is lost.
    Crash,
}

impl Fault {
    /// Reads the words after `fault`, as a lesson or a lab writes them.
    ///
    /// # Errors
    /// No fault is written like this; the message lists all forms. Or a word of it is no number, or
    /// not within its bounds; the message names the word and what to write. It is in English: the
    /// author of the line reads it, with the file and the line.
    pub fn parse(words: &[String]) -> Result<Fault, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let share = |word: &str| match word.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
            _ => Err(format!("{word:?} is not a share in percent; write a number from 0 to 100")),
        };
        let whole = |word: &str| {
            let wrong =
                |_| format!("{word:?} is not a number of milliseconds; write a whole number, e.g. 200");
            word.parse::<u64>().map_err(wrong)
        };
        let owned = |word: &str| word.to_string();
        Ok(match words.as_slice() {
            ["list"] => Fault::List,
            ["heal"] => Fault::Heal,
            ["disk", "full"] => Fault::Disk { node: None },
            ["disk", "full", node] => Fault::Disk { node: Some(owned(node)) },
            ["kill", target] => {
                let (component, node) = component_and_node(target);
                Fault::Kill { component, node }
            }
            ["stop", target] => {
                let (component, node) = component_and_node(target);
                Fault::Stop { component, node }
            }
            ["start", target] => {
                let (component, node) = component_and_node(target);
                Fault::Start { component, node }
            }
            ["cut", a, b] => Fault::Cut { a: owned(a), b: owned(b) },
            ["slow", a, b, millis] => Fault::Slow { a: owned(a), b: owned(b), millis: whole(millis)? },
            ["loss", a, b, percent] => Fault::Loss { a: owned(a), b: owned(b), percent: share(percent)? },
            ["node", act, node] => {
                let act = match *act {
                    "stop" => Act::Stop,
                    "start" => Act::Start,
                    "crash" => Act::Crash,
                    other => return Err(format!("{other:?} is none of stop, start, crash")),
                };
                Fault::Node { node: owned(node), act }
            }
            other => {
                return Err(format!(
                    "no fault is written {:?}; write list, heal, kill|stop|start COMPONENT[/NODE], cut A B, slow A B MS, loss A B PERCENT, disk full [NODE] or node stop|start|crash NODE",
                    other.join(" ")
                ));
            }
        })
    }
}

/// Reads `COMPONENT` or `COMPONENT/NODE`.
pub fn component_and_node(target: &str) -> (String, Option<String>) {
    match target.split_once('/') {
        Some((component, node)) => (component.into(), Some(node.into())),
        None => (target.into(), None),
    }
}

/// The words that [`Fault::parse`] reads.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let target = |component: &str, node: &Option<String>| match node {
            Some(node) => format!("{component}/{node}"),
            None => component.to_string(),
        };
        match self {
            Fault::List => f.write_str("list"),
            Fault::Heal => f.write_str("heal"),
            Fault::Disk { node: Some(node) } => write!(f, "disk full {node}"),
            Fault::Disk { node: None } => f.write_str("disk full"),
            Fault::Kill { component, node } => write!(f, "kill {}", target(component, node)),
            Fault::Stop { component, node } => write!(f, "stop {}", target(component, node)),
            Fault::Start { component, node } => write!(f, "start {}", target(component, node)),
            Fault::Cut { a, b } => write!(f, "cut {a} {b}"),
            Fault::Slow { a, b, millis } => write!(f, "slow {a} {b} {millis}"),
            Fault::Loss { a, b, percent } => write!(f, "loss {a} {b} {percent}"),
            Fault::Node { node, act: Act::Stop } => write!(f, "node stop {node}"),
            Fault::Node { node, act: Act::Start } => write!(f, "node start {node}"),
            Fault::Node { node, act: Act::Crash } => write!(f, "node crash {node}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Fault, String> {
        Fault::parse(&line.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn faults_are_written_as_on_the_command_line() {
        for line in [
            "list",
            "heal",
            "disk full",
            "disk full a",
            "kill etcd",
            "kill etcd/n1",
            "stop kubelet",
            "stop etcd/n1",
            "start kube-scheduler",
            "start kubelet/n1",
            "cut a b",
            "slow a b 30",
            "loss a b 0.5",
            "node stop a",
            "node start a",
            "node crash a",
        ] {
            assert_eq!(parse(line).map(|f| f.to_string()), Ok(line.to_string()));
        }
        let kill = Fault::Kill { component: "etcd".into(), node: Some("n1".into()) };
        assert_eq!(parse("kill etcd/n1"), Ok(kill));
        assert_eq!(parse("cut a b"), Ok(Fault::Cut { a: "a".into(), b: "b".into() }));
        assert_eq!(parse("loss a b 0.5"), Ok(Fault::Loss { a: "a".into(), b: "b".into(), percent: 0.5 }));
        assert_eq!(parse("node crash a"), Ok(Fault::Node { node: "a".into(), act: Act::Crash }));
    }

    #[test]
    fn a_word_that_is_wrong_is_named_with_what_to_write() {
        assert!(parse("node burn a").unwrap_err().contains("stop, start, crash"));
        for nonsense in ["much", "0.9", "-5", "NaN", "18446744073709551616"] {
            let said = parse(&format!("slow a b {nonsense}")).unwrap_err();
            assert!(said.contains("not a number of milliseconds"), "{nonsense}: {said}");
        }
        // "NaN" has no form in JSON: the cluster would not understand the question.
        for nonsense in ["NaN", "inf", "-1", "100.1", "150", "many"] {
            let said = parse(&format!("loss a b {nonsense}")).unwrap_err();
            assert!(said.contains(&format!("{nonsense:?} is not a share in percent")), "{said}");
        }
        assert_eq!(["0", "100"].map(|share| parse(&format!("loss a b {share}")).is_ok()), [true, true]);
        for line in ["", "cut a", "disk empty", "list all"] {
            assert!(parse(line).unwrap_err().contains("cut A B"), "{line:?}");
        }
    }
}
