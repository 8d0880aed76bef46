//! The size, ports and store of a cluster, kept in `cluster.json`. The number of control planes and
//! whose the store is are chosen at the first start; workers, ports and the addresses of an
//! external etcd at each start that names them, otherwise they stay.

use super::error::Error;
use super::home::Place;
use super::store::external::ExternalEtcd;
use serde::{Deserialize, Serialize};
use std::fs;

/// Names of the first control plane and the first worker; later ones have their number behind it.
pub(crate) const CONTROL_PLANE_BASE: &str = "ropewalk-control-plane";
pub(crate) const WORKER_BASE: &str = "ropewalk-worker";
/// Numbers of nodes before the first worker's: the most control planes that there can be, so that a
/// worker's addresses do not depend on their number.
pub(crate) const CONTROL_PLANES_MAX: u8 = 5;
/// `net` makes 200 nodes at most.
pub const WORKERS_MAX: u8 = 200 - CONTROL_PLANES_MAX;

/// The format of the data directory. Older ones are migrated (there are none yet), newer ones
/// refused.
pub(crate) const FORMAT: u32 = 1;

/// Size, ports and store of one cluster, as `cluster.json` has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The number of the data directory's format; a newer one than the program's is refused.
    pub format: u32,
    /// The cluster's name.
    pub name: String,
    /// 1, 3 or 5.
    pub control_planes: u8,
    /// 0 to [`WORKERS_MAX`].
    pub workers: u8,
    /// The API's port on 127.0.0.1 if the user insisted on one.
    pub api_port: Option<u16>,
    /// First and last NodePort.
    pub node_ports: (u16, u16),
    /// How many times as fast as real time the cluster's waits run, 1 to [`clock::SCALE_MAX`]. It
    /// holds for one start: a later one that does not name it runs in real time.
    #[serde(default = "real_time", skip_serializing_if = "is_real_time")]
    pub clock: u32,
    /// The store, if it is not the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_etcd: Option<ExternalEtcd>,
}

fn real_time() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_real_time(scale: &u32) -> bool {
    *scale == 1
}

/// Returns whether a cluster's clock can run so many times as fast as real time.
pub fn is_scale(scale: u32) -> bool {
    (1..=clock::SCALE_MAX).contains(&scale)
}

impl Spec {
    /// Returns the default: one control plane, two workers, NodePorts 30000 to 32767, a store of
    /// its own.
    pub fn new(name: &str) -> Spec {
        Spec {
            format: FORMAT,
            name: name.into(),
            control_planes: 1,
            workers: 2,
            api_port: None,
            node_ports: (30000, 32767),
            clock: 1,
            external_etcd: None,
        }
    }

    /// Reads the one kept from an earlier start, if there is one.
    ///
    /// # Errors
    /// [`Error::File`]: the file cannot be read. [`Error::Newer`]: a newer program wrote it.
    /// [`Error::Damaged`]: it is no such JSON, or no cluster can have its numbers. A user can mend
    /// the file, or wipe the cluster with `ropewalk reset --name NAME`.
    pub fn load(place: &Place) -> Result<Option<Spec>, Error> {
        let path = place.spec();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::File { path, cause }),
        };
        let name = place.name.clone();
        let damaged = |why: serde_json::Error| {
            let (name, path) = (name.clone(), path.clone());
            Error::Damaged { name, path, why: why.to_string() }
        };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
        match value["format"].as_u64() {
            Some(found) if found > u64::from(FORMAT) => {
                Err(Error::Newer { name, path, found: found.min(u64::from(u32::MAX)) as u32, known: FORMAT })
            }
            _ => {
                let spec: Spec = serde_json::from_value(value).map_err(damaged)?;
                if let Some(why) = spec.impossible() {
                    return Err(Error::Damaged { name, path, why });
                }
                // A copied directory is a cluster of its own.
                Ok(Some(Spec { name, ..spec }))
            }
        }
    }

    /// Returns why there can be no such cluster. A person may have edited the file.
    fn impossible(&self) -> Option<String> {
        let (first, last) = self.node_ports;
        if !matches!(self.control_planes, 1 | 3 | 5) {
            return Some(format!("controlPlanes is {}, and can be 1, 3 or 5", self.control_planes));
        }
        if self.workers > WORKERS_MAX {
            return Some(format!("workers is {}, and can be {WORKERS_MAX} at most", self.workers));
        }
        if self.api_port == Some(0) {
            return Some("apiPort is 0, and can be 1 to 65535".into());
        }
        if !is_scale(self.clock) {
            return Some(format!("clock is {}, and can be 1 to {}", self.clock, clock::SCALE_MAX));
        }
        if let Some(etcd) = &self.external_etcd {
            if etcd.endpoints.is_empty() {
                return Some("externalEtcd has no endpoints".into());
            }
            // One without the other would be left out, and the etcd sees no certificate.
            if etcd.cert.is_some() != etcd.key.is_some() {
                return Some("externalEtcd has one of cert and key, which need each other".into());
            }
        }
        (first == 0 || first > last).then(|| format!("nodePorts is {first} to {last}, which is no range"))
    }

    /// Writes the file, which stays whole over a power failure.
    ///
    /// # Errors
    /// [`Error::Pki`] with the path: the file cannot be written. [`Error::File`]: JSON has no form
    /// for a path of the external etcd's files that is not UTF-8. The earlier file stays.
    pub fn save(&self, place: &Place) -> Result<(), Error> {
        // How fast the clock runs is a choice for one start.
        let kept = Spec { clock: 1, ..self.clone() };
        let text = serde_json::to_string_pretty(&kept)
            .map_err(|why| Error::File { path: place.spec(), cause: why.into() })?;
        Ok(pki::write_private(&place.spec(), &(text + "\n"))?)
    }

    /// Lists all nodes with their names, control planes first, with the index that decides their
    /// addresses.
    pub fn nodes(&self) -> Vec<NodeSpec> {
        let numbered = |base: &str, n: u8| if n == 1 { base.to_string() } else { format!("{base}{n}") };
        let mut nodes = Vec::new();
        for n in 1..=self.control_planes {
            nodes.push(NodeSpec { name: numbered(CONTROL_PLANE_BASE, n), index: n, control_plane: true });
        }
        for n in 1..=self.workers {
            let index = CONTROL_PLANES_MAX.saturating_add(n);
            nodes.push(NodeSpec { name: numbered(WORKER_BASE, n), index, control_plane: false });
        }
        nodes
    }

    /// Returns the workers that an earlier start had beside those of this one, and whose
    /// directories are left.
    pub(crate) fn gone_workers(&self, place: &Place) -> Vec<NodeSpec> {
        let most = Spec { workers: WORKERS_MAX, ..self.clone() }.nodes().into_iter();
        most.skip(self.nodes().len()).filter(|node| place.node(&node.name).is_dir()).collect()
    }
}

/// One node of a cluster: its name, and the index that decides its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// `ropewalk-control-plane`, `ropewalk-worker`, `ropewalk-worker2`, …
    pub name: String,
    /// 1 and up: 172.30.0.(10+index), 10.244.index.0/24.
    pub index: u8,
    /// A control plane; else a worker.
    pub control_plane: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn nodes_have_the_names_that_scripts_rely_on() {
        let spec = Spec { workers: 3, ..Spec::new("main") };
        let names: Vec<String> = spec.nodes().into_iter().map(|n| n.name).collect();
        assert_eq!(
            names,
            ["ropewalk-control-plane", "ropewalk-worker", "ropewalk-worker2", "ropewalk-worker3"]
        );
    }

    #[test]
    fn a_worker_that_is_gone_is_known_by_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        for name in ["ropewalk-control-plane", "ropewalk-worker", "ropewalk-worker3", "mine"] {
            fs::create_dir_all(place.node(name)).unwrap();
        }
        let gone = Spec { workers: 1, ..Spec::new("main") }.gone_workers(&place);
        assert_eq!(gone.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["ropewalk-worker3"]);
    }

    /// [`net::Fabric::node`] takes 1 to 200, and 10 + 200 is still an address of the fabric's /24.
    #[test]
    fn the_largest_cluster_has_a_place_for_every_node() {
        let spec = Spec { workers: WORKERS_MAX, control_planes: CONTROL_PLANES_MAX, ..Spec::new("main") };
        let indices: Vec<u8> = spec.nodes().iter().map(|n| n.index).collect();
        assert_eq!((indices.first(), indices.last(), indices.len()), (Some(&1), Some(&200), 200));
    }

    #[test]
    fn a_copied_directory_is_a_cluster_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let (main, copy) = (home.cluster("main").unwrap(), home.cluster("try").unwrap());
        main.make().unwrap();
        copy.make().unwrap();
        Spec { workers: 3, ..Spec::new("main") }.save(&main).unwrap();
        fs::copy(main.spec(), copy.spec()).unwrap();
        assert_eq!(Spec::load(&copy).unwrap(), Some(Spec { workers: 3, ..Spec::new("try") }));
    }

    /// `--etcd-cafile` with such a path. An empty file would be a damaged cluster.
    #[test]
    fn a_path_that_is_no_text_does_not_empty_the_file() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("t").unwrap();
        place.make().unwrap();
        let kept = Spec { workers: 3, ..Spec::new("t") };
        kept.save(&place).unwrap();
        let cacert = Some(std::ffi::OsStr::from_bytes(b"/ca\xff").into());
        let external_etcd = Some(ExternalEtcd { cacert, ..ExternalEtcd::default() });
        let refused = Spec { external_etcd, ..Spec::new("t") }.save(&place).unwrap_err();
        assert!(crate::chain(&refused).contains("UTF-8"), "{}", crate::chain(&refused));
        assert_eq!(Spec::load(&place).unwrap(), Some(kept));
    }

    #[test]
    fn a_newer_or_damaged_directory_is_refused_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let place = home.cluster("t").unwrap();
        place.make().unwrap();
        assert!(Spec::load(&place).unwrap().is_none());
        Spec::new("t").save(&place).unwrap();
        assert_eq!(Spec::load(&place).unwrap(), Some(Spec::new("t")));
        std::fs::write(place.spec(), r#"{"format": 99, "other": 1}"#).unwrap();
        let newer = Spec::load(&place).unwrap_err().to_string();
        assert!(newer.contains("newer") && newer.contains("`ropewalk reset --name t`"), "{newer}");
        let there = || ExternalEtcd { endpoints: vec!["https://e:2379".into()], ..ExternalEtcd::default() };
        let with = |etcd| Spec { external_etcd: Some(etcd), ..Spec::new("t") };
        let both = ExternalEtcd { cert: Some("/c".into()), key: Some("/k".into()), ..there() };
        with(both.clone()).save(&place).unwrap();
        assert_eq!(Spec::load(&place).unwrap(), Some(with(both)));
        for (bad, part) in [
            (Spec { control_planes: 0, ..Spec::new("t") }, "controlPlanes"),
            (Spec { control_planes: 2, ..Spec::new("t") }, "controlPlanes"),
            (Spec { workers: WORKERS_MAX + 1, ..Spec::new("t") }, "workers"),
            (Spec { node_ports: (32767, 30000), ..Spec::new("t") }, "nodePorts"),
            (Spec { node_ports: (0, 30000), ..Spec::new("t") }, "nodePorts"),
            (Spec { api_port: Some(0), ..Spec::new("t") }, "apiPort"),
            (Spec { clock: 0, ..Spec::new("t") }, "clock"),
            (Spec { clock: 61, ..Spec::new("t") }, "clock"),
            (with(ExternalEtcd::default()), "endpoints"),
            (with(ExternalEtcd { cert: Some("/c".into()), ..there() }), "cert and key"),
            (with(ExternalEtcd { key: Some("/k".into()), ..there() }), "cert and key"),
        ] {
            std::fs::write(place.spec(), serde_json::to_string(&bad).unwrap()).unwrap();
            let said = Spec::load(&place).unwrap_err().to_string();
            assert!(said.contains("damaged") && said.contains(part), "{said}");
        }
        std::fs::write(place.spec(), b"{\"name\": \"\xff\"}").unwrap();
        assert!(Spec::load(&place).unwrap_err().to_string().contains("damaged"), "it is no text");
        std::fs::write(place.spec(), "{").unwrap();
        // `main` would be wiped by `ropewalk reset` alone.
        let damaged = Spec::load(&place).unwrap_err();
        for lang in [lang::Lang::En, lang::Lang::Ko] {
            assert!(damaged.say(lang).contains("`ropewalk reset --name t`"), "{}", damaged.say(lang));
        }
    }
}
