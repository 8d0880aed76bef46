//! A real etcd: servers that are started from PATH, with mutual TLS, as many as ours has members.

use super::super::figure::PeerName;
use super::super::members::Members;
use super::super::stderr;
use ::etcd::grpc::client::Endpoint;
use anyhow::bail;
use pki::{Ca, Subject, client_config};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::signal::unix::{SignalKind, signal};

/// Of what a server that has ended printed, so many lines are shown, of so many bytes at its end: a
/// panic's trace has to fit, since the reason stands before it.
const LINES_SHOWN: usize = 3;
const TAIL_BYTES: u64 = 64 << 10;

/// A cluster of etcd whose members answer. Its servers end with this.
pub(crate) struct Etcd {
    /// With the version that its first member says.
    pub name: PeerName,
    servers: Servers,
}

impl Etcd {
    /// Starts so many members, whose files lie in this directory, and waits until all answer.
    /// `None`, and a line that says why: etcd does not run here.
    ///
    /// # Errors
    /// The files cannot be written, or there are no free ports.
    pub(crate) async fn start(dir: &Path, members: usize) -> anyhow::Result<Option<Etcd>> {
        match Servers::start(dir, members)? {
            Some(servers) => Ok(Etcd::once_answering(servers).await),
            None => Ok(None),
        }
    }

    /// Waits until every member answers. `None`, and a line that says why: etcd does not run here.
    async fn once_answering(mut servers: Servers) -> Option<Etcd> {
        match servers.version().await {
            Ok(version) => Some(Etcd { name: PeerName::program("etcd", &version), servers }),
            Err(error) => {
                stderr::write_line(format!("etcd does not run here: {error:#}"));
                None
            }
        }
    }

    pub(crate) fn members(&self) -> &Members {
        &self.servers.members
    }
}

/// Servers of etcd that may still be starting.
struct Servers {
    members: Members,
    processes: Vec<Server>,
}

/// One process of etcd.
struct Server {
    process: Child,
    /// What it prints to standard error.
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended by itself
        let _ = self.process.wait();
    }
}

/// The ports of a member of etcd on 127.0.0.1.
struct Ports {
    client: u16,
    peer: u16,
}

impl Servers {
    /// Starts the members of a new cluster. `None`, and a line that says why: there is no etcd.
    ///
    /// # Errors
    /// The files cannot be written, or there are no free ports.
    fn start(dir: &Path, members: usize) -> anyhow::Result<Option<Servers>> {
        std::fs::create_dir_all(dir)?;
        let ca = Ca::load_or_create(dir, "etcd-ca")?;
        let server = ca.issue(&Subject::server("etcd", &["127.0.0.1"]))?;
        std::fs::write(dir.join("server.crt"), &server.cert_pem)?;
        std::fs::write(dir.join("server.key"), &server.key_pem)?;
        let free = free_ports(2 * members)?;
        let ports: Vec<Ports> =
            free.chunks_exact(2).map(|two| Ports { client: two[0], peer: two[1] }).collect();
        let peers = ports.iter().enumerate().map(|(n, at)| format!("m{n}=http://127.0.0.1:{}", at.peer));
        let cluster = peers.collect::<Vec<String>>().join(",");
        let endpoint = |at: &Ports| Endpoint { tls: true, host: "127.0.0.1".into(), port: at.client };
        let client = ca.issue(&Subject::client("bench", ""))?;
        let tls = client_config(Some(&client), ca.pem(), &["h2"])?;
        let members = Members { endpoints: ports.iter().map(endpoint).collect(), tls };
        let mut servers = Servers { members, processes: Vec::new() };
        for (n, at) in ports.iter().enumerate() {
            let name = format!("m{n}");
            let log = dir.join(format!("{name}.log"));
            let mut command = command(dir, &name, at, &cluster);
            match command.stderr(File::create(&log)?).spawn() {
                Ok(process) => servers.processes.push(Server { process, log }),
                Err(error) => {
                    stderr::write_line(format!("no etcd on PATH to stand beside: {error}"));
                    return Ok(None);
                }
            }
        }
        Ok(Some(servers))
    }

    /// Waits until every member answers; returns etcd's version. A server that ends is not waited
    /// for.
    ///
    /// # Errors
    /// A server has ended, or a member does not answer.
    async fn version(&mut self) -> anyhow::Result<String> {
        tokio::select! {
            version = self.members.version() => version,
            ended = first_end(&mut self.processes) => bail!(ended),
        }
    }
}

/// Returns the command line of a member. `cluster`: the peer addresses of all members.
fn command(dir: &Path, name: &str, ports: &Ports, cluster: &str) -> Command {
    let file = |name: &str| dir.join(name).display().to_string();
    let client = format!("https://127.0.0.1:{}", ports.client);
    let peer = format!("http://127.0.0.1:{}", ports.peer);
    let mut command = Command::new("etcd");
    for (setting, _) in std::env::vars_os().filter(|(variable, _)| is_setting(variable)) {
        command.env_remove(setting);
    }
    command
        .args(["--name", name, "--log-level", "error", "--data-dir", &file(name)])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", cluster, "--client-cert-auth"])
        .args(["--trusted-ca-file", &file("ca.crt"), "--cert-file", &file("server.crt")])
        .args(["--key-file", &file("server.key")])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Waits until one of these servers has ended; returns how it did, and what it printed last.
async fn first_end(servers: &mut [Server]) -> String {
    // Before the first look: an end in between is not missed.
    let Ok(mut child_ended) = signal(SignalKind::child()) else { return std::future::pending().await };
    loop {
        for server in servers.iter_mut() {
            if let Ok(Some(status)) = server.process.try_wait() {
                return format!("it ended ({status}){}", last_lines(&server.log));
            }
        }
        if child_ended.recv().await.is_none() {
            return std::future::pending().await;
        }
    }
}

/// Returns the last lines of a file, each behind a line break; nothing if there are none. The trace
/// of a Go panic, which would hide the reason, is left out:
///
/// ```text
/// panic: create wal error: no space left on device
///
/// goroutine 1 [running]:
/// go.etcd.io/etcd/server/v3/etcdserver.startNode(...)
/// ```
fn last_lines(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let (mut file, mut bytes) = (File::open(log)?, Vec::new());
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let before_trace = text.split("\ngoroutine ").next().unwrap_or_default();
    let lines: Vec<&str> = before_trace.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().map(|line| format!("\n  {line}")).collect()
}

/// Returns so many free ports of 127.0.0.1, no two the same: all are held until the last one is
/// known, since the kernel may give a port that was let go a second time.
///
/// # Errors
/// There are not so many, or no descriptor is left.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Vec<_> =
        (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    listeners.iter().map(|listener| listener.local_addr().map(|at| at.port())).collect()
}

/// Returns whether etcd would take a setting from this variable of the environment: each flag that
/// is not given has one, `ETCD_` and the flag's name. A shell in which another etcd is set up must
/// not change the peer, nor let it write without syncing. `ETCD_UNSUPPORTED_ARCH` is no flag:
/// without it etcd does not start on some machines.
fn is_setting(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("ETCD_") && name != "ETCD_UNSUPPORTED_ARCH"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::PATIENCE;

    /// A member at this port, whose process is this shell script and whose log lies in this
    /// directory.
    fn servers(dir: &Path, port: u16, script: &str) -> Servers {
        let ca = Ca::load_or_create(dir, "etcd-ca").unwrap();
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let tls = client_config(None, ca.pem(), &["h2"]).unwrap();
        let log = dir.join("m0.log");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).stdin(Stdio::null()).stderr(File::create(&log).unwrap());
        let processes = vec![Server { process: shell.spawn().unwrap(), log }];
        Servers { members: Members { endpoints: vec![endpoint], tls }, processes }
    }

    #[tokio::test(start_paused = true)]
    async fn an_etcd_that_does_not_run_here_is_no_peer() {
        let dir = tempfile::tempdir().unwrap();
        let servers = servers(dir.path(), free_ports(1).unwrap()[0], "exit 3");
        let etcd = clock::limit(2 * PATIENCE, Etcd::once_answering(servers)).await.expect("an end");
        assert!(etcd.is_none());
    }

    /// Its port is taken by a listener that never takes a connection: only the end of the process
    /// shows that it will not answer.
    #[tokio::test]
    async fn an_etcd_that_ends_is_noticed_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = "for line in 1 2 3 '' 4; do echo \"$line\" >&2; done; exit 3";
        let mut servers = servers(dir.path(), silent.local_addr().unwrap().port(), script);
        let version = clock::limit(PATIENCE / 2, servers.version()).await.expect("it is noticed");
        assert_eq!(version.unwrap_err().to_string(), "it ended (exit status: 3)\n  2\n  3\n  4");
    }

    #[test]
    fn the_trace_of_a_panic_is_left_out() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let trace = "main.main()\n\tmain.go:28 +0x17\n".repeat(100);
        let text = format!("a notice\npanic: no space left\n\ngoroutine 1 [running]:\n{trace}");
        std::fs::write(log.path(), text).unwrap();
        assert_eq!(last_lines(log.path()), "\n  a notice\n  panic: no space left");
    }

    #[test]
    fn no_port_is_given_twice() {
        let ports = free_ports(400).unwrap();
        let all: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!((ports.len(), all.len()), (400, 400));
    }

    #[test]
    fn another_etcd_s_settings_are_not_the_peer_s() {
        for (variable, wanted) in [
            ("ETCD_UNSAFE_NO_FSYNC", true),
            ("ETCD_INITIAL_CLUSTER_STATE", true),
            ("ETCD_UNSUPPORTED_ARCH", false),
            ("ETCDCTL_ENDPOINTS", false),
            ("PATH", false),
        ] {
            assert_eq!(is_setting(OsStr::new(variable)), wanted, "{variable}");
        }
    }
}
