//! The commands that break and mend parts of a cluster.

use super::Output;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub enum Fault {
    /// End a component without asking it; it is started again and counted
    Kill {
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
        percent: f64,
    },
    /// Switch a node off, on, or pull its plug
    Node {
        #[arg(value_enum)]
        act: NodeAct,
        node: String,
    },
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    Full,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAct {
    /// Properly: pods and components are asked to end
    Stop,
    Start,
    /// At once, as when the power fails
    Crash,
}
