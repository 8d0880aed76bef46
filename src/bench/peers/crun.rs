//! crun from PATH: the same program from the same file as ours runs, as the specification that crun
//! writes itself says (namespaces, mounts, masked paths), once without a network of its own and
//! once with one.

use super::super::figure::PeerName;
use super::super::program::{PROGRAM, failure_reason};
use super::super::stderr;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What the containers of both runtimes run.
pub(crate) const CONTAINER_PROGRAM: &str = "/bin/true";
/// The directory of the bundle whose container shares the host's network.
const HOST_NETWORK: &str = "host-network";
/// The directory of the bundle whose container has an empty network of its own.
const OWN_NETWORK: &str = "own-network";
/// A bundle's specification.
const CONFIG: &str = "config.json";

/// A crun that runs on this machine, and its two bundles.
pub(crate) struct Crun {
    /// With the version that it says.
    pub name: PeerName,
    /// How it makes control groups: `--cgroup-manager`.
    manager: &'static str,
    /// Where it keeps what it knows of containers: `--root`.
    state: PathBuf,
    /// Where the two bundles are, beside the file system that they share.
    bundles: PathBuf,
}

/// How long crun needed for a container, from nothing to the end of its program.
pub(crate) struct Round {
    pub host_network: Duration,
    pub own_network: Duration,
}

impl Crun {
    /// Writes the bundles into this directory, and finds a way to run them. `None`, and a line that
    /// says why: crun does not run here.
    ///
    /// # Errors
    /// A bundle cannot be written.
    pub(crate) fn find(dir: &Path) -> anyhow::Result<Option<Crun>> {
        match prepare(dir)? {
            Ok(crun) => Ok(Some(crun)),
            Err(reason) => {
                stderr::write_line(reason);
                Ok(None)
            }
        }
    }

    /// Runs a container of each bundle to its end, one after the other.
    ///
    /// # Errors
    /// crun cannot be run, or fails: what it printed.
    pub(crate) fn run_round(&self, number: usize) -> anyhow::Result<Round> {
        Ok(Round {
            host_network: self.run(HOST_NETWORK, &format!("host-{number}"))?,
            own_network: self.run(OWN_NETWORK, &format!("own-{number}"))?,
        })
    }

    /// Runs a container to its end, in a process group of its own: Ctrl-C is for the bench. It
    /// would end crun in the middle, and the container's control group would stay.
    fn run(&self, bundle: &str, id: &str) -> anyhow::Result<Duration> {
        let mut command = Command::new("crun");
        command.arg("--root").arg(&self.state).arg(format!("--cgroup-manager={}", self.manager));
        command.args(["run", "--bundle"]).arg(self.bundles.join(bundle));
        command.arg(format!("rwb{}-{id}", std::process::id()));
        let start = Instant::now();
        let output = command.stdin(Stdio::null()).process_group(0).output()?;
        let time = start.elapsed();
        ensure!(output.status.success(), "{}", failure_reason(&output));
        Ok(time)
    }
}

/// Writes the bundles, and tries how crun runs them. Control groups of its own, as ours have them,
/// come first, where crun can make them. The inner error is the reason why crun does not run here.
///
/// # Errors
/// A bundle cannot be written.
fn prepare(dir: &Path) -> anyhow::Result<Result<Crun, String>> {
    let (bundles, state) = (dir.join("bundle"), dir.join("crun"));
    let version = output_of(Command::new("crun").arg("--version"));
    let version = match version.and_then(|output| version_in(&String::from_utf8_lossy(&output.stdout))) {
        Ok(version) => version,
        Err(reason) => return Ok(Err(reason)),
    };
    if let Err(reason) = write_bundles(&bundles)? {
        return Ok(Err(reason));
    }
    let mut reason = String::new();
    for manager in ["cgroupfs", "disabled"] {
        let name = PeerName::program("crun", &version);
        let crun = Crun { name, manager, state: state.clone(), bundles: bundles.clone() };
        // A name for each try: one that failed may have left its container's state, and crun
        // refuses the name then.
        let try_bundle = |bundle| crun.run(bundle, &format!("try-{manager}-{bundle}")).map(drop);
        let tried = try_bundle(HOST_NETWORK).and_then(|()| try_bundle(OWN_NETWORK));
        match tried {
            Ok(()) => return Ok(Ok(crun)),
            Err(error) => reason = format!("crun does not run here: {error:#}"),
        }
    }
    Ok(Err(reason))
}

/// Runs crun; the error is the reason why it does not run here.
fn output_of(crun: &mut Command) -> Result<Output, String> {
    match crun.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => Err(format!("crun does not run here: {}", failure_reason(&output))),
        Err(error) => Err(format!("no crun on PATH to stand beside: {error}")),
    }
}

/// Returns the version from what `crun --version` prints: a line `crun version 1.8.1`, and others.
fn version_in(text: &str) -> Result<String, String> {
    let version = text.lines().find_map(|line| line.strip_prefix("crun version ")).map(str::trim);
    let version = version.filter(|version| !version.is_empty());
    version.map(String::from).ok_or_else(|| "no crun to stand beside: it does not say its version".into())
}

/// Writes both bundles, and the file system that they share. The inner error is the reason why crun
/// does not run here.
///
/// # Errors
/// A file cannot be written, or crun's own specification is no JSON.
fn write_bundles(bundles: &Path) -> anyhow::Result<Result<(), String>> {
    let root = bundles.join("rootfs");
    for dir in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(dir))?;
    }
    let program = root.join(CONTAINER_PROGRAM.trim_start_matches('/'));
    std::fs::copy(PROGRAM, program).context("the bundle's program")?;
    let (own, host) = (bundles.join(OWN_NETWORK), bundles.join(HOST_NETWORK));
    for bundle in [&own, &host] {
        std::fs::create_dir(bundle)?;
    }
    let is_rootless = !nix::unistd::geteuid().is_root();
    let mut specification = Command::new("crun");
    specification.arg("spec").args(is_rootless.then_some("--rootless")).current_dir(&own);
    if let Err(reason) = output_of(&mut specification) {
        return Ok(Err(reason));
    }
    let mut config: Value = serde_json::from_slice(&std::fs::read(own.join(CONFIG))?)?;
    config["process"]["args"] = json!([CONTAINER_PROGRAM]);
    config["process"]["terminal"] = json!(false);
    config["root"]["path"] = json!("../rootfs");
    std::fs::write(own.join(CONFIG), serde_json::to_vec(&config)?)?;
    share_host_network(&mut config);
    std::fs::write(host.join(CONFIG), serde_json::to_vec(&config)?)?;
    Ok(Ok(()))
}

/// Makes a specification of crun's that of a container in a pod that is there: it shares the host's
/// network and host name. IPC stays its own, since an ordinary user may not mount `/dev/mqueue` of
/// the host's.
fn share_host_network(config: &mut Value) {
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|one| one["type"] != "network" && one["type"] != "uts");
    }
    if let Some(config) = config.as_object_mut() {
        config.remove("hostname"); // it is refused without a UTS namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container in a pod that is there makes no network, so the peer must not pay for one.
    #[test]
    fn the_peer_of_a_container_alone_makes_no_network() {
        let namespaces = |types: &[&str]| types.iter().map(|one| json!({"type": one})).collect::<Value>();
        let all = namespaces(&["pid", "network", "ipc", "uts", "mount"]);
        let mut config = json!({"hostname": "crun", "linux": {"namespaces": all}, "process": {}});
        share_host_network(&mut config);
        let left = namespaces(&["pid", "ipc", "mount"]);
        assert_eq!(config, json!({"linux": {"namespaces": left}, "process": {}}));
    }

    #[test]
    fn a_crun_without_a_version_is_no_peer() {
        let debian = "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\nspec: 1.0.0\n";
        assert_eq!(version_in(debian).as_deref(), Ok("1.8.1"));
        for text in ["", "runc version 1.1.4\n", "crun version \n"] {
            assert!(version_in(text).is_err(), "{text:?}");
        }
    }
}
