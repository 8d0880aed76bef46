//! What a cluster which is not Ropewalk's own may lack, and what may stand under `requires:`.

use crate::format::Declared;
use crate::words::{self, Word};
use cluster::guest::Offers;

/// Something that a cluster which is not Ropewalk's own does not have, or does not give.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A word or a function of Ropewalk's own cluster. It stands first: where a step needs several
    /// things, this says most.
    OwnCluster(String),
    /// What happens between components: no API tells it.
    Hops,
    /// A NodePort that is open on localhost.
    LocalhostPort,
    /// Another namespace than the lesson's own.
    OtherNamespace(String),
    /// A change that no namespace holds.
    WholeCluster(String),
    /// A node of our own by its name.
    Node(String),
    /// An image that no registry has.
    Image(String),
    /// As written under `requires:`.
    Requires(String),
    /// To list and watch these.
    Right(String),
    /// Exactly the cluster that the lesson or lab declares.
    Cluster(Declared),
}

impl Need {
    /// For people: what completes "it needs …".
    pub(crate) fn say(&self, lang: &str) -> String {
        let with = |word, with: &String| words::say(lang, word, &[with]);
        match self {
            Need::Hops => words::say(lang, Word::NeedHops, &[]),
            Need::LocalhostPort => words::say(lang, Word::NeedLocalhostPort, &[]),
            Need::OwnCluster(what) => with(Word::NeedOwnCluster, what),
            Need::OtherNamespace(namespace) => with(Word::NeedOtherNamespace, namespace),
            Need::WholeCluster(line) => with(Word::NeedWholeCluster, line),
            Need::Node(node) => with(Word::NeedNode, node),
            Need::Image(image) => with(Word::NeedImage, image),
            Need::Requires(what) => match requirement(what) {
                Some(Required::Workers(n)) => with(Word::NeedWorkers, &n.to_string()),
                Some(Required::ControlPlanes(n)) => with(Word::NeedControlPlanes, &n.to_string()),
                Some(Required::Fault) => with(Word::NeedOwnCluster, what),
                Some(Required::Kernel) | None => what.clone(),
            },
            Need::Right(kinds) => with(Word::NeedRight, kinds),
            Need::Cluster(declared) => {
                let (control_planes, workers) = (declared.control_planes, declared.workers);
                words::say(lang, Word::NeedCluster, &[&control_planes.to_string(), &workers.to_string()])
            }
        }
    }
}

/// Returns whether a cluster has what stands under `requires:`.
pub(crate) fn met(need: &str, offers: &Offers) -> bool {
    match requirement(need) {
        Some(Required::Kernel) => true,
        Some(Required::Fault) => offers.own,
        Some(Required::Workers(n)) => offers.workers >= n,
        Some(Required::ControlPlanes(n)) => offers.control_planes >= n,
        None => false,
    }
}

/// What may stand under `requires:`.
enum Required {
    Kernel,
    Fault,
    /// `workers>=2`
    Workers(u8),
    /// `control-planes>=3`
    ControlPlanes(u8),
}

fn requirement(need: &str) -> Option<Required> {
    let at_least = |name: &str| need.strip_prefix(name)?.trim().strip_prefix(">=")?.trim().parse().ok();
    match need {
        "kernel" => Some(Required::Kernel),
        "fault" => Some(Required::Fault),
        _ => at_least("workers")
            .map(Required::Workers)
            .or_else(|| at_least("control-planes").map(Required::ControlPlanes)),
    }
}

/// What is wrong with a requirement that no cluster could ever meet.
pub(crate) fn odd_requirement(need: &str) -> Option<String> {
    let odd = requirement(need).is_none();
    odd.then(|| {
        format!("nothing is called {need:?}; there are kernel, fault, workers>=N and control-planes>=N")
    })
}
