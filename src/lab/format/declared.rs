//! The cluster that a lesson or lab declares with `cluster:`. It is played on exactly that one: its
//! texts name the nodes, and how many members the store may lose depends on their number. What a
//! larger cluster has as well stands under `requires:`.

use super::raw;
use cluster::Spec;
use cluster::guest::Offers;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A declared cluster runs beside the learner's own, so it has so many workers at most.
const WORKERS_MAX: u8 = 5;
/// Memory of a node at rest: the usual cluster of three takes 70 MB.
const NODE_MB: u32 = 25;
/// What the declared cluster's name has behind that of the learner's. It is always the same, so
/// that there is one declared cluster at a time, and one that a crash left is found again.
const SUFFIX: &str = "-lesson";

/// The nodes of a declared cluster. What is not named is as in the usual cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Declared {
    /// 1, 3 or 5: as many members has the store.
    pub control_planes: u8,
    /// 0 to 5.
    pub workers: u8,
}

impl Declared {
    /// Reads what is written under `cluster:`, except its clock.
    ///
    /// # Errors
    /// There can be no such cluster, or it would be too large; the text is for the author.
    pub(crate) fn read(raw: &raw::Cluster) -> Result<Declared, String> {
        let usual = Spec::new("");
        let declared = Declared {
            control_planes: raw.control_planes.unwrap_or(usual.control_planes),
            workers: raw.workers.unwrap_or(usual.workers),
        };
        if !matches!(declared.control_planes, 1 | 3 | 5) {
            return Err(format!("a cluster has 1, 3 or 5 control planes, not {}", declared.control_planes));
        }
        if declared.workers > WORKERS_MAX {
            let workers = declared.workers;
            return Err(format!("a declared cluster has {WORKERS_MAX} workers at most, not {workers}"));
        }
        Ok(declared)
    }

    /// Whether the lesson can be played on a cluster that has this.
    pub fn fits(&self, offers: &Offers) -> bool {
        offers.own && (offers.control_planes, offers.workers) == (self.control_planes, self.workers)
    }

    /// What such a cluster is made of.
    pub fn spec(&self, name: &str) -> Spec {
        Spec { control_planes: self.control_planes, workers: self.workers, ..Spec::new(name) }
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> u32 {
        u32::from(self.control_planes) + u32::from(self.workers)
    }

    /// The memory that it takes at rest, in megabytes: an estimate, for where no cluster runs that
    /// could be measured.
    pub fn megabytes(&self) -> u32 {
        NODE_MB * self.nodes()
    }

    /// The line that starts it under this name.
    pub fn command(&self, name: &str) -> String {
        let (control_planes, workers) = (self.control_planes, self.workers);
        format!(
            "ropewalk up --name {name} --control-planes {control_planes} --workers {workers} --detach --wait"
        )
    }
}

impl fmt::Display for Declared {
    /// For authors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (control_planes, workers) = (self.control_planes, self.workers);
        write!(f, "control planes: {control_planes}, workers: {workers}, about {} MB", self.megabytes())
    }
}

/// The name of the declared cluster beside the learner's own. Seen from a declared cluster it is
/// the same name: there is one at a time.
pub fn beside(own: &str) -> String {
    format!("{}{SUFFIX}", own.strip_suffix(SUFFIX).unwrap_or(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(control_planes: Option<u8>, workers: Option<u8>) -> Result<Declared, String> {
        Declared::read(&raw::Cluster { control_planes, workers, clock: None })
    }

    #[test]
    fn a_declared_cluster_is_a_cluster_that_there_can_be() {
        assert_eq!(read(Some(3), None), Ok(Declared { control_planes: 3, workers: 2 }));
        assert_eq!(read(None, Some(0)), Ok(Declared { control_planes: 1, workers: 0 }));
        for even in [0, 2, 4, 7] {
            assert!(read(Some(even), None).is_err_and(|why| why.contains("1, 3 or 5")), "{even}");
        }
        assert!(read(None, Some(WORKERS_MAX)).is_ok());
        assert!(read(None, Some(WORKERS_MAX + 1)).is_err_and(|why| why.contains("5 workers at most")));
    }

    #[test]
    fn the_learners_cluster_fits_if_it_has_exactly_these_nodes() {
        let declared = Declared { control_planes: 3, workers: 2 };
        let offers = |own, control_planes, workers| Offers { own, control_planes, workers };
        assert!(declared.fits(&offers(true, 3, 2)));
        for other in [offers(true, 1, 2), offers(true, 5, 2), offers(true, 3, 3), offers(false, 3, 2)] {
            assert!(!declared.fits(&other), "{other:?}");
        }
    }

    #[test]
    fn the_line_and_the_proof_start_the_same_cluster_under_one_name() {
        let declared = Declared { control_planes: 3, workers: 1 };
        let name = beside("main");
        assert_eq!((name.as_str(), beside(&name)), ("main-lesson", name.clone()));
        assert_eq!(
            declared.command(&name),
            "ropewalk up --name main-lesson --control-planes 3 --workers 1 --detach --wait"
        );
        let spec = declared.spec(&name);
        assert_eq!((spec.name.as_str(), spec.control_planes, spec.workers), ("main-lesson", 3, 1));
        assert_eq!(declared.to_string(), "control planes: 3, workers: 1, about 100 MB");
    }
}
