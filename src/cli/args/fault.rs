//! The commands that break and mend parts of a cluster.

use super::output::Output;
use super::refused::Refused;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(crate) enum Fault {
    /// End a component without asking it; it is started again and counted
    Kill {
        /// COMPONENT or COMPONENT/NODE
        target: String,
    },
    /// End a component and keep it down until it is started
    Stop {
        /// COMPONENT or COMPONENT/NODE
        target: String,
    },
    /// Start a component that was stopped
    Start {
        /// COMPONENT or COMPONENT/NODE
        target: String,
    },
    /// What is broken now
    List {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Lose everything between two nodes
    Cut { a: String, b: String },
    /// Leave a store no room on its disk: it takes no writes, and reads go on
    Disk {
        #[arg(value_enum)]
        state: DiskState,
        /// A control plane; every one if none is named
        node: Option<String>,
    },
    /// Mend every link, and make room on every disk
    Heal,
    /// Delay what two nodes send (needs the kernel's netem)
    Slow {
        a: String,
        b: String,
        /// Milliseconds
        millis: u64,
    },
    /// Lose a share of the packets between two nodes
    Loss {
        a: String,
        b: String,
        /// Percent, e.g. 20 or 0.5
        #[arg(value_parser = share)]
        percent: f64,
    },
    /// Switch a node off, on, or pull its plug
    Node {
        #[arg(value_enum)]
        act: NodeAct,
        node: String,
    },
}

/// Reads a share in percent. `NaN` and `inf` are refused here, although Rust reads them as numbers:
/// JSON has no form for them, so the cluster could not read the request.
fn share(text: &str) -> Result<f64, Refused> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err(Refused::Percent),
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskState {
    Full,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeAct {
    /// Properly: pods and components are asked to end
    Stop,
    Start,
    /// At once, as when the power fails
    Crash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_of_percent() {
        assert_eq!((share("0"), share("0.5"), share("100")), (Ok(0.0), Ok(0.5), Ok(100.0)));
        for nonsense in ["NaN", "inf", "-1", "100.1", "many", ""] {
            assert!(share(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
