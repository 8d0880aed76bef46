//! The components behind the images `ropewalk.io/<component>`: each is a crew of tasks in this
//! process.
//!
//! `manifests` has their static pods and addons, `addon_pods` counts the pods of the addons, and
//! `images` knows the names of their images.

pub(crate) mod addon_pods;
pub(crate) mod images;
pub(crate) mod manifests;

use super::error::chain;
use super::faults::KUBELET;
use super::node::sockets::{dialer, listen_after};
use super::spec::NodeSpec;
use super::store::member::{member_end, start_member};
use super::store::peers::Wires;
use super::world::{FailedStart, Problem, World, asks_from};
use addons::{dns, storage};
use client::Client;
use cni::NodeNetwork;
use linux::cgroup;
use net::{Namespace, addresses};
use raft::driver::Link;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use tap::Component;
use task::Crew;
use tokio::sync::watch;

/// Every component that can be started.
pub(crate) const ALL: [&str; 7] = [
    Component::Etcd.name(),
    Component::ApiServer.name(),
    Component::ControllerManager.name(),
    Component::Scheduler.name(),
    Component::Proxy.name(),
    Component::Dns.name(),
    Component::StorageProvisioner.name(),
];

/// Components that the cluster's own manifests make through the API, as pods of `kube-system`. The
/// others run from static pods only.
pub(crate) const ADDONS: [&str; 3] = ["kube-proxy", "coredns", "storage-provisioner"];

/// Components of which one node may run several: each has a network of its own.
pub(crate) const MANY_ON_A_NODE: [&str; 1] = ["coredns"];

/// The API's port on every control-plane node, as kubeadm has it.
pub(crate) const API_PORT: u16 = 6443;
/// The port on which members of the store listen for each other, as etcd's do.
pub(crate) const PEER_PORT: u16 = 2380;
const DNS_PORT: u16 = 53;

/// The place of a component: its node, its network namespace and its address.
pub(crate) struct Location {
    pub node: String,
    pub network: Arc<dyn NodeNetwork>,
    /// The pod's network namespace: its own, or the node's with `hostNetwork`. `None`: its sandbox
    /// is stopped.
    pub netns: Option<Arc<OwnedFd>>,
    pub ip: Ipv4Addr,
}

/// Starts a component. Its end is the end of the crew. Must be called inside the component's log
/// span.
pub(crate) fn start(world: &Arc<World>, component: &str, place: Location) -> Result<Crew, String> {
    let crew = Crew::new(component);
    let client = |user: &str, group: &str| -> Result<Client, String> {
        let agent = format!("{component}/{}", api::VERSION);
        let node = asks_from(component, &place.node);
        world.client(node, user, group, &agent, dialer(&place.network)).map_err(|e| chain(&e))
    };
    let unknown = || format!("there is no component {component:?}; there are {}", ALL.join(", "));
    let named = component.parse().map_err(|_| unknown())?;
    let tap = world.tap.at(&place.node, named);
    match named {
        Component::Etcd => store(world, &crew, place),
        Component::ApiServer => api(world, &crew, place)?,
        Component::Scheduler => {
            let client = client("system:kube-scheduler", "")?;
            let rng = world.rng.fork("scheduler");
            let identity = candidate(world, component, &place.node);
            scheduler::start(&crew, scheduler::Config { client, tap, rng, identity });
        }
        Component::ControllerManager => {
            let config = controllers::Config {
                client: client("system:kube-controller-manager", "")?,
                tap,
                rng: world.rng.fork("controllers"),
                identity: candidate(world, component, &place.node),
                ca: world.ca.clone(),
                tokens: world.tokens.clone(),
            };
            controllers::start(&crew, config);
        }
        Component::Proxy => {
            let client = client("system:kube-proxy", "")?;
            proxy::start(&crew, proxy::Config { node_name: place.node, client, network: place.network, tap });
        }
        Component::Dns => {
            let client = client("system:serviceaccount:kube-system:coredns", "")?;
            name_server(world, &crew, client, place);
        }
        Component::StorageProvisioner => {
            let client = client("system:serviceaccount:kube-system:storage-provisioner", "")?;
            let root = |node: NodeSpec| (node.name.clone(), world.place.node(&node.name).join("host"));
            let nodes = world.spec.nodes().into_iter().map(root).collect();
            let gone = world.spec.gone_workers(&world.place).into_iter().map(root).collect();
            let known = world.clone();
            let starts_pods = Box::new(move |node: &str| {
                !known.faults.is_off(node) && !known.faults.is_held(KUBELET, node)
            });
            storage::start(&crew, storage::Config { client, tap, nodes, gone, starts_pods });
        }
        _ => return Err(unknown()),
    }
    Ok(crew)
}

/// Who a component is when it stands for election: `NODE_UUID`, as everywhere. Here the UUID is the
/// same after every start, so that one that was killed goes on with its Lease instead of waiting
/// until it runs out.
fn candidate(world: &World, component: &str, node: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{component} {node} {}", world.ca.pem()));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    format!("{node}_{uuid}")
}

/// Runs `undo` when the component's task is gone, however it went.
struct OnEnd<F: FnMut()>(F);
impl<F: FnMut()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn store(world: &Arc<World>, crew: &Crew, place: Location) {
    let (world, stop, inner) = (world.clone(), crew.token(), crew.clone());
    crew.spawn_main(async move {
        let members: Vec<String> = world.control_planes().into_iter().map(|n| n.name).collect();
        let wires = match members.len() {
            1 => None,
            _ => Some(Wires::new(&world, &inner, &place.node, &place.network).map_err(|e| chain(&e))?),
        };
        let dir = world.place.node(&place.node).join("etcd");
        let config = || etcd::Config {
            initial_cluster: members.clone(),
            disk: world.disks.of(&place.node),
            link: wires.as_ref().map(|w| w.link.clone() as Arc<dyn Link>),
            quota_bytes: etcd::quota_for(cgroup::available_memory(), members.len()),
            ..etcd::Config::new(&place.node, dir.clone(), world.tap.clone(), world.rng.fork("etcd"))
        };
        let server = match start_member(&stop, config).await {
            Ok(server) => {
                world.note_start(&place.node, None);
                Arc::new(server)
            }
            Err(error) => {
                let failed = failed_start(&error, world.disks.is_full(&place.node));
                world.note_start(&place.node, Some(failed.clone()));
                return Err(failed.why);
            }
        };
        let door = Crew::new("etcd-clients");
        let clients = door.clone();
        let (gone, killed) = (world.clone(), server.clone());
        let node = place.node.clone();
        // A kill drops this task: then the member ends as kill -9 would end it.
        let _guard = OnEnd(move || {
            door.kill();
            gone.listeners.close(&node);
            gone.stores.send_modify(|stores| drop(stores.remove(&node)));
            killed.kill();
        });
        if let Some(wires) = wires {
            wires.listen(&inner, server.raft()).await.map_err(|e| format!("cannot listen for peers: {e}"))?;
        }
        // Until a majority has met there is nothing to serve.
        let kv = server.kv();
        tokio::select! {
            () = kv.joined() => {}
            () = stop.cancelled() => {
                server.stop().await;
                return Ok(());
            }
            why = member_end(&server) => return Err(why),
        }
        tracing::info!(member = place.node, revision = kv.revision(), "ready to serve client requests");
        let opened = world.listeners.open(&world.spec, &world.etcd_ca, &clients, &place.node, &server);
        if let Err(error) = opened.await {
            tracing::warn!(error, "the store answers the API server, but no etcd clients on the host");
        }
        world.stores.send_modify(|stores| drop(stores.insert(place.node.clone(), Arc::new(kv))));
        tokio::select! {
            () = stop.cancelled() => {
                server.stop().await;
                Ok::<(), String>(())
            }
            // The kubelet starts the container again, as after any crash.
            why = member_end(&server) => Err(why),
        }
    });
}

/// Judges an error of a start. `is_full`: `ropewalk fault disk full` has filled the node's disk.
fn failed_start(error: &etcd::StartError, is_full: bool) -> FailedStart {
    FailedStart { why: chain(error), may_pass: is_full || is_passing(error) }
}

/// True if the next start may succeed: the machine had too little of something (descriptors,
/// memory, space, time), or the member before this one, which was killed, still holds its
/// directory. A member that opened its data and then did not answer in time says nothing about the
/// data: its disk was slow, or had no room for the first write. A log that failed for good passes
/// only if it found no room.
fn is_passing(error: &(dyn std::error::Error + 'static)) -> bool {
    use raft::driver::StartError::InUse;
    const PASSING: [i32; 8] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EAGAIN,
        libc::EINTR,
        libc::ENOSPC,
        libc::EDQUOT,
    ];
    let code = |e: &(dyn std::error::Error + 'static)| e.downcast_ref::<std::io::Error>()?.raw_os_error();
    let is_not_about_data = |e: &(dyn std::error::Error + 'static)| {
        use etcd::StartError::{Ended, Failed, Member};
        use etcd::api::Error::NoSpace;
        matches!(e.downcast_ref(), Some(Member(InUse(_)) | Ended(_) | Failed(NoSpace)))
    };
    std::iter::successors(Some(error), |e| e.source())
        .any(|e| is_not_about_data(e) || code(e).is_some_and(|code| PASSING.contains(&code)))
}

fn api(world: &Arc<World>, crew: &Crew, place: Location) -> Result<(), String> {
    let identity = world.api_identity.clone();
    let (tls, clients) = pki::asking_server_config(&identity, world.ca.pem()).map_err(|e| chain(&e))?;
    let subject = pki::Subject::client("kube-apiserver-kubelet-client", "system:masters");
    let kubelet = world.ca.issue(&subject).map_err(|e| chain(&e))?;
    let kubelet_tls = pki::client_config(Some(&kubelet), world.ca.pem(), &["http/1.1"]);
    let kubelet_tls = kubelet_tls.map_err(|e| chain(&e))?;
    let (world, stop) = (world.clone(), crew.token());
    crew.spawn_main(async move {
        let mut own_store: Option<Arc<dyn etcd::Storage>> = None;
        if let Some(etcd) = &world.spec.external_etcd {
            let remote: Arc<dyn etcd::Storage> = Arc::new(etcd.connect().await.map_err(|t| t.to_string())?);
            let claimed = etcd.claim(&*remote, world.ca.pem(), &world.spec.name).await;
            if !claimed.map_err(|t| t.to_string())? {
                let refusal = etcd.foreign();
                world.problem.send_replace(Some(Problem::Refused(refusal.clone())));
                return Err(refusal.to_string());
            }
            own_store = Some(remote.clone());
            world.stores.send_modify(|stores| drop(stores.insert(place.node.clone(), remote)));
        }
        let mut stores = world.stores.subscribe();
        let kv = match stores.wait_for(|s| s.contains_key(&place.node)).await {
            Ok(stores) => stores.get(&place.node).cloned(),
            Err(_) => None,
        };
        let Some(kv) = kv else { return Err("there is no store".to_string()) };
        let (asked, address) = (kv.clone(), SocketAddr::from((place.ip, API_PORT)));
        let config = apiserver::Config {
            kv,
            tap: world.tap.at(&place.node, Component::ApiServer),
            rng: world.rng.fork("apiserver"),
            tls,
            clients,
            teachers: world.teachers.clone(),
            tokens: world.tokens.clone(),
            service_cidr: world.service_cidr,
            is_inside: addresses::is_inside,
            node_ports: world.spec.node_ports,
            kubelet_tls,
            dial: dialer(&place.network),
            advertise: address,
        };
        let server = apiserver::Server::start(config);
        let (killed, gone, node) = (server.clone(), world.clone(), place.node.clone());
        let _guard = OnEnd(move || {
            remove_own(&gone.api_servers, &node, |server| server.is(&killed));
            remove_own(&gone.stores, &node, |there| {
                own_store.as_ref().is_some_and(|own| Arc::ptr_eq(own, there))
            });
            killed.crew().kill();
        });
        let listener = listen_after(&*place.network, address).await;
        let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        tracing::info!(%address, "Serving securely");
        world.api_servers.send_modify(|servers| drop(servers.insert(place.node.clone(), server.clone())));
        let lost = async {
            let _ = stores.wait_for(|s| !has_own(s, &place.node, |there| Arc::ptr_eq(there, &asked))).await;
        };
        // A stop is the listener's to carry out: it lets running requests end before the
        // connections go.
        let ended = tokio::select! {
            ended = server.serve(listener, stop) => ended.map_err(|e| e.to_string()),
            () = lost => Err("the connection to etcd was lost".into()),
        };
        server.crew().stop().await;
        ended
    });
    Ok(())
}

fn name_server(world: &Arc<World>, crew: &Crew, client: Client, place: Location) {
    let (domain, inner, rng) = (world.domain.clone(), crew.clone(), world.rng.fork("coredns"));
    let (upstream, tap) = (resolvers(), world.tap.at(&place.node, Component::Dns));
    crew.spawn_main(async move {
        let namespace = match place.netns {
            Some(fd) => Namespace::enter(fd).map_err(|e| e.to_string())?,
            None => return Err("the name server has no network: its sandbox is stopped".to_string()),
        };
        // Every address of the pod's network, as CoreDNS: kubectl port-forward comes by localhost.
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DNS_PORT));
        let listen = async |port| {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            namespace.listen(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))
        };
        // The probes come first: the kubelet asks from the moment the container runs.
        let (ready, health) = (listen(dns::READY_PORT).await?, listen(dns::HEALTH_PORT).await?);
        let udp = namespace.bind_udp(address).await.map_err(|e| format!("cannot bind {address}: {e}"))?;
        let tcp = listen(DNS_PORT).await?;
        let server = Crew::new("coredns");
        let ended = server.clone();
        let _guard = OnEnd(move || ended.kill());
        dns::start(&server, dns::Config { client, domain, udp, tcp, health, ready, upstream, rng, tap });
        let stop = inner.token();
        tokio::select! {
            end = server.wait() => match end {
                task::End::Done(result) => result,
                other => Err(format!("{other:?}")),
            },
            () = stop.cancelled() => {
                server.stop().await;
                Ok(())
            }
        }
    });
}

/// True if a node's entry is the caller's own. A watcher sees the latest entries only: where one
/// has gone there may be the next one already.
fn has_own<T>(entries: &BTreeMap<String, T>, node: &str, is_own: impl Fn(&T) -> bool) -> bool {
    entries.get(node).is_some_and(is_own)
}

/// Removes a node's entry if it is the caller's own: another server of the node may be there by
/// now.
fn remove_own<T>(entries: &watch::Sender<BTreeMap<String, T>>, node: &str, is_own: impl Fn(&T) -> bool) {
    entries.send_if_modified(|entries| has_own(entries, node, &is_own) && entries.remove(node).is_some());
}

/// The machine's own resolvers: where names outside the cluster are asked.
fn resolvers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let index = |name: &str| {
        let file = Path::new("/sys/class/net").join(name).join("ifindex");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    name_servers(&text, index)
}

/// The servers that a resolv.conf(5) names. What follows an address is a remark, as for glibc. A
/// link-local address names its interface (`fe80::1%eth0`, or its number): `index` gives the number
/// of a name.
fn name_servers(text: &str, index: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next())?
    });
    let address = |word: &str| {
        let Some((ip, zone)) = word.split_once('%') else {
            return Some(SocketAddr::new(word.parse().ok()?, DNS_PORT));
        };
        let scope = zone.parse().ok().or_else(|| index(zone))?;
        Some(SocketAddr::V6(SocketAddrV6::new(ip.parse().ok()?, DNS_PORT, 0, scope)))
    };
    servers.filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store cannot start")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_server_that_ends_late_leaves_the_entry_of_the_next_one() {
        let (old, new) = (Arc::new("old"), Arc::new("new"));
        let entries = watch::Sender::new(BTreeMap::from([("n".to_string(), new.clone())]));
        let mut seen = entries.subscribe();
        remove_own(&entries, "n", |there| Arc::ptr_eq(there, &old));
        remove_own(&entries, "m", |_| true);
        assert!(entries.borrow().contains_key("n") && !seen.has_changed().unwrap());
        remove_own(&entries, "n", |there| Arc::ptr_eq(there, &new));
        assert!(seen.borrow_and_update().is_empty());
    }

    /// An API server would otherwise go on with a member that is dead.
    #[tokio::test]
    async fn a_store_that_another_one_has_replaced_is_lost() {
        let old = Arc::new("old");
        let entries = watch::Sender::new(BTreeMap::from([("n".to_string(), old.clone())]));
        let mut seen = entries.subscribe();
        let is_own = |there: &Arc<&str>| Arc::ptr_eq(there, &old);
        assert!(has_own(&seen.borrow_and_update(), "n", is_own));
        entries.send_modify(|entries| drop(entries.remove("n")));
        entries.send_modify(|entries| drop(entries.insert("n".into(), Arc::new("new"))));
        let lost = seen.wait_for(|entries| !has_own(entries, "n", is_own));
        assert!(futures::FutureExt::now_or_never(lost).is_some_and(|found| found.is_ok()));
    }

    #[test]
    fn a_name_server_with_a_remark_behind_it_is_asked() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1 # the office\n nameserver ::1\nnameserver\nnameserver x\n\
             nameserver fe80::1%eth0\nnameserver fe80::2%7\nnameserver fe80::3%gone\n";
        let index = |name: &str| (name == "eth0").then_some(2);
        let servers: Vec<String> = name_servers(text, index).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53", "[fe80::1%2]:53", "[fe80::2%7]:53"]);
    }

    #[test]
    fn a_start_that_lacked_descriptors_is_tried_again_and_damage_is_not() {
        let of = |code| Outer(std::io::Error::from_raw_os_error(code));
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSPC] {
            assert!(is_passing(&of(code)), "{code}");
        }
        let held = raft::driver::StartError::InUse("etcd".into());
        assert!(is_passing(&etcd::StartError::Member(held)), "the one before it is just ending");
        let disk = etcd::api::Error::Disk { cause: "Too many open files".into() };
        for error in [etcd::api::Error::Timeout, etcd::api::Error::NoSpace, etcd::api::Error::Stopped, disk] {
            assert!(is_passing(&etcd::StartError::Ended(error.clone())), "{error}");
        }
        assert!(!is_passing(&of(libc::EACCES)) && !is_passing(&Outer(std::io::Error::other("damaged"))));
    }

    #[test]
    fn a_log_that_failed_for_good_is_told_from_one_that_waits() {
        use etcd::StartError::{Ended, Failed};
        let disk = || etcd::api::Error::Disk { cause: "input/output error".into() };
        let failed = failed_start(&Failed(disk()), false);
        assert!(!failed.may_pass && failed.why.contains("input/output error"), "{failed:?}");
        let waits = failed_start(&Ended(disk()), false);
        assert!(waits.may_pass && waits.why.contains("input/output error"), "{waits:?}");
        assert!(failed_start(&Failed(etcd::api::Error::NoSpace), false).may_pass);
        assert!(failed_start(&Failed(disk()), true).may_pass, "`fault heal` makes room");
    }
}
