//! The options of `up`.

use super::refused::Refused;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Name of the cluster
    #[arg(long, default_value = "main")]
    pub name: String,
    /// Control-plane nodes: 1, 3 or 5, chosen at the first start [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub control_planes: Option<u8>,
    /// Worker nodes [default: as many as at the last start, 2 at the first]
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=i64::from(cluster::spec::WORKERS_MAX)))]
    pub workers: Option<u8>,
    /// Port of the API on 127.0.0.1 [default: the one that an earlier start named, else 6443 or the
    /// next free one]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub api_port: Option<u16>,
    /// Range of NodePorts [default: that of the last start, 30000-32767 at the first]
    #[arg(long, value_parser = range)]
    pub node_ports: Option<(u16, u16)>,
    /// How many times as fast as real time the cluster's waits run, 1 to 60, for this start: node
    /// monitor grace period, tolerationSeconds, back-offs, probe periods, deadlines of Jobs, the
    /// autoscaler. Limits of real work stay: a probe's timeoutSeconds, grace periods, requests. A
    /// program that needs 3 s to start needs 60 s of a clock x20 [default: 1]
    #[arg(long, value_name = "N")]
    pub clock: Option<u32>,
    /// Servers of an etcd that is already there, e.g. https://127.0.0.1:2379: the cluster runs none
    /// of its own. Whether there is one is chosen at the first start; its servers and each of the
    /// files below can be changed at a later one
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = server)]
    pub etcd: Vec<String>,
    /// The authority of that etcd's certificates (PEM), for https
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,
    /// The certificate that it wants to see (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    pub etcd_certfile: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
    /// Run in the background
    #[arg(long)]
    pub detach: bool,
    /// Return only when every node is Ready and kube-system runs; fail if that takes more than ten
    /// minutes
    #[arg(long, requires = "detach")]
    pub wait: bool,
}

/// Reads the URL of an etcd server. One with a user is refused: `status` and the API server's pod
/// show the URL.
pub(super) fn server(text: &str) -> Result<String, Refused> {
    match text.trim() {
        "" => Err(Refused::EtcdUrl),
        url if url.contains('@') => Err(Refused::EtcdUser),
        url => Ok(url.to_string()),
    }
}

/// Reads a range of ports, `30000-32767`.
pub(super) fn range(text: &str) -> Result<(u16, u16), Refused> {
    let (from, to) = text.split_once('-').ok_or(Refused::PortRange)?;
    let number = |t: &str| t.trim().parse::<u16>().map_err(|_| Refused::NoPort(t.into()));
    match (number(from)?, number(to)?) {
        (0, _) => Err(Refused::PortZero),
        (from, to) if from > to => Err(Refused::Descends(from, to)),
        range => Ok(range),
    }
}
