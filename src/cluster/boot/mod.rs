//! The start of a cluster, from the supervisor's first system call to the first pod. `ready`
//! follows how far it has come, and `waits` says what it waits for.

pub(crate) mod ready;
mod waits;

use super::components::{API_PORT, manifests};
use super::control::own::OwnTarget;
use super::control::{self, Reply};
use super::error::{Error, chain};
use super::guest::Guests;
use super::guest::own::OwnCluster;
use super::home::{Home, Place};
use super::launch::Unlimited;
use super::launch::order::{Order, StartReport};
use super::node::kubelets::supervise_all;
use super::node::{Node, Parts, objects};
use super::refusal::Refusal;
use super::spec::Spec;
use super::world::{Problem, World};
use super::{balancer, logs};
use ::kubelet::pressure::{Machine, Memory, Meter};
use linux::cgroup::Shared;
use linux::{self, boot};
use ready::Progress;
use rng::Rng;
use runtime::{self, Images, Zygote};
use std::io::{Read, Write};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waits::{STORE_MAX, no_store, until_done};

/// A stopping cluster gives its components this long; then it ends anyway.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Components in the order in which they are stopped, those of a row on all nodes at once, and how
/// long each may take. API servers let requests that are under way end (500 ms); a store hands its
/// leadership over (500 ms) and closes its log.
const STOP_ORDER: [(&[&str], Duration); 3] = [
    (&["kube-scheduler", "kube-controller-manager"], Duration::from_millis(200)),
    (&["kube-apiserver"], Duration::from_millis(600)),
    (&["etcd"], Duration::from_millis(800)),
];

/// Writes a report to standard output, where the program that started this cluster reads it.
fn report(report: &StartReport) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush()); // the reader may have left
}

/// Becomes the supervisor of a cluster with these guests. Returns the exit code when the cluster
/// has ended.
pub fn supervise(order: &str, guests: Guests) -> i32 {
    let order: Order = match serde_json::from_str(order) {
        Ok(order) => order,
        Err(error) => {
            report(&StartReport::Failed(Reply::Error(format!("a damaged order: {error}"))));
            return 2;
        }
    };
    let place = match Home::at(&order.home).cluster(&order.spec.name).and_then(|p| p.make().map(|()| p)) {
        Ok(place) => place,
        Err(error) => {
            report(&StartReport::Failed(error.into()));
            return 1;
        }
    };
    let config = boot::Config {
        lock: place.lock(),
        scratch: place.scratch(),
        socket: Some(place.socket()),
        new_session: true,
    };
    let result = boot::supervise(&config, runtime::images::lay_out, |main| {
        // Again, now that the lock is held: a `reset` that had it may have removed them meanwhile.
        let made = place.make();
        let built = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Kernel);
        let code = match made.and(built) {
            Ok(runtime) => runtime.block_on(run(main, place.clone(), order.clone(), guests)),
            Err(error) => Err(error),
        };
        match code {
            Ok(()) => 0,
            Err(error) => {
                // The program that started it may not listen any more: then only the log explains
                // the end.
                tracing::error!(error = chain(&error), "the cluster ends");
                report(&StartReport::Failed(error.into()));
                1
            }
        }
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let busy = error.cause.kind() == std::io::ErrorKind::WouldBlock;
            let why = match busy {
                true => Reply::Refusal(Refusal::Running { name: place.name.clone() }),
                false => Reply::Error(format!(
                    "{}\nwhat this machine lacks, and how to mend it: ropewalk doctor",
                    chain(&error)
                )),
            };
            report(&StartReport::Failed(why));
            1
        }
    }
}

/// Runs the whole cluster in the process `main`, until it is asked to stop.
async fn run(main: boot::Main, place: Place, order: Order, guests: Guests) -> Result<(), Error> {
    logs::install(Some(place.log()));
    clock::set_scale(order.spec.clock);
    let asked = linux::signal::stop_requested().map_err(Error::Kernel)?;
    let _ = linux::fds::raise_limit(); // fewer descriptors only mean fewer connections
    let zygote = Zygote::start(main.zygote)?;
    if !main.ids.rootless() {
        api::unhonoured::pods_have_own_users();
    }
    let parts = Parts {
        zygote: zygote.clone(),
        images: Arc::new(Images::new(&main.layers)),
        cgroups: main.cgroups,
        ids: main.ids,
        writable: main.writable,
    };
    run_until_end(main.pids, parts, zygote.died(), asked, place, order, guests).await
}

/// Runs the cluster until there is a [`reason_to_end`], e.g. that the zygote has died.
async fn run_until_end(
    pids: boot::Pids,
    parts: Parts,
    zygote_died: impl Future<Output = ()>,
    asked: impl Future<Output = &'static str>,
    place: Place,
    order: Order,
    guests: Guests,
) -> Result<(), Error> {
    let rng = Rng::from_os();
    let api = bind_api(order.spec.api_port).await?;
    let api_port = api.local_addr().map_err(Error::Kernel)?.port();
    let socket = place.socket();
    let _ = std::fs::remove_file(&socket); // left by a killed cluster: we hold the lock
    let listener = tokio::net::UnixListener::bind(&socket)
        .map_err(|cause| Error::File { path: socket.clone(), cause })?;
    pki::remove_unfinished(&place.root); // e.g. a kubeconfig, which has a key
    let machine = Arc::new(Machine::new(memory_meter(parts.cgroups.clone())));
    let world =
        Arc::new(World::new(place.clone(), order.spec.clone(), api_port, rng.clone(), machine).await?);
    super::kubeconfig::write_kubeconfig(&world)?;

    let crew = world.crew.clone();
    let stop = CancellationToken::new();
    let progress = watch::Sender::new(Progress { nodes: order.spec.nodes().len(), ..Progress::default() });
    serve_control(&world, pids, listener, &progress, &stop, guests);
    let inside = world.fabric.listen(API_PORT).await.map_err(Error::Kernel)?;
    balancer::start(&crew, &world, vec![api, inside]);
    let strangers = parts.zygote.clone();
    crew.spawn(async move {
        if let Err(error) = strangers.reap_strangers().await {
            tracing::warn!(%error, "cannot reap orphaned processes");
        }
    });

    let unlimited = parts.cgroups.lacks().map(Unlimited::from);
    if let Some(Unlimited { controllers, why }) = &unlimited {
        tracing::warn!(controllers, why, "limits of containers are not enforced");
    }
    let mut end = pin!(reason_to_end(&world, zygote_died, &stop, asked, front_gone(order.attached)));
    if let Err(error) = wait_for_store(&world, &parts, &order.spec, &place, end.as_mut()).await {
        let _ = tokio::time::timeout(STOP_PATIENCE, shut_down(&world)).await;
        crew.kill();
        return Err(error);
    }
    report(&StartReport::Started { api_port, unlimited });

    let agent = format!("ropewalk/{}", api::VERSION);
    let client = world.client("", tap::ADMIN, "system:masters", &agent, world.dialer())?;
    start_upkeep(&world, &client, progress);
    let ended = end.await;
    let _ = tokio::time::timeout(STOP_PATIENCE, shut_down(&world)).await;
    crew.kill();
    ended.map(|why| tracing::info!("{why}")).map_err(of_running)
}

/// Starts the nodes and waits until a store serves. Meanwhile the program that started this cluster
/// gets the reasons why none does.
///
/// # Errors
/// A node or its kubelet cannot be made, the cluster has to `end` before a store serves, or none
/// serves within [`STORE_MAX`].
async fn wait_for_store(
    world: &Arc<World>,
    parts: &Parts,
    spec: &Spec,
    place: &Place,
    end: Pin<&mut impl Future<Output = Result<String, Error>>>,
) -> Result<(), Error> {
    let (etcd, failed) = (world.spec.external_etcd.as_ref(), &world.failed_starts);
    let begin = tokio::time::timeout(STORE_MAX, start_nodes(world, parts, spec, place));
    let begin = waits::report_reasons(begin, etcd, failed, |why| report(&StartReport::Waits(why)));
    tokio::select! {
        biased; // a start that needs the zygote would wait for ever for what it was to make
        end = end => match end {
            Ok(why) => Err(Error::Start(format!("{why} before it had begun"))),
            Err(error) => Err(error),
        },
        begun = begin => match begun {
            Ok(begun) => begun,
            Err(_) => Err(Error::Start(no_store(etcd, failed))),
        },
    }
}

/// Says what ended a cluster that had begun. [`reason_to_end`] does not know that it is no start
/// that failed.
fn of_running(error: Error) -> Error {
    match error {
        Error::Start(why) => Error::Message(why),
        other => other,
    }
}

/// Starts the guests, and answers on the cluster's socket.
fn serve_control(
    world: &Arc<World>,
    pids: boot::Pids,
    listener: tokio::net::UnixListener,
    progress: &watch::Sender<Progress>,
    stop: &CancellationToken,
    guests: Guests,
) {
    let api_url = format!("https://127.0.0.1:{}", world.api_port);
    let server = control::Server {
        target: Arc::new(OwnTarget { world: world.clone(), pids, api_url }),
        progress: progress.subscribe(),
        stop: stop.clone(),
        guests: guests(),
    };
    for guest in &server.guests {
        guest.start(&world.crew, Arc::new(OwnCluster { world: world.clone() }));
    }
    control::serve(&world.crew, listener, server);
}

/// Starts what works on a cluster whose API answers: the progress of its start, the Services of
/// this machine, the addons, and the Node objects of an earlier run.
fn start_upkeep(world: &Arc<World>, client: &::client::Client, progress: watch::Sender<Progress>) {
    let crew = &world.crew;
    // The end of the cluster's own crew is not waited for: a panic in it ends one task alone.
    // What is made of several tasks that need each other has a crew of its own, which is kept.
    let (ready_world, ready_client, noted) = (world.clone(), client.clone(), progress.clone());
    crew.keep("ready", move |crew| {
        ready::follow(crew, &ready_world, &ready_client, progress.clone());
    });
    let (host, host_client) = (world.fabric.host(), client.clone());
    let host_tap = world.tap.at("", tap::Component::Localhost);
    crew.keep("localhost", move |crew| {
        proxy::host::start(crew, &host_client, host.clone(), host_tap.clone());
    });
    let (addons, addons_world) = (client.clone(), world.clone());
    crew.spawn(async move {
        let answered = OnceLock::new();
        let apply = || manifests::apply(&addons_world, &addons, &answered);
        until_done("addons are not made yet", apply, |why| waits::note(&noted, why)).await;
        manifests::follow_addons(&addons_world, &addons, || noted.borrow().started).await;
    });
    let (nodes, nodes_world) = (client.clone(), world.clone());
    crew.spawn(async move {
        let reconcile = || objects::reconcile(&nodes_world, &nodes);
        until_done("the nodes of an earlier run are not brought up to date yet", reconcile, |_| ()).await;
    });
}

/// Resolves when the cluster has to end, with the reason.
///
/// # Errors
/// The end was not asked for: something went wrong that no restart mends.
async fn reason_to_end(
    world: &World,
    zygote_died: impl Future<Output = ()>,
    stop: &CancellationToken,
    asked: impl Future<Output = &'static str>,
    front_gone: impl Future<Output = ()>,
) -> Result<String, Error> {
    let mut problem = world.problem.subscribe();
    tokio::select! {
        () = zygote_died => Err(Error::Start("the zygote died; no more containers can be made".into())),
        problem = has_problem(&mut problem) => Err(problem.into()),
        () = stop.cancelled() => Ok("the cluster was asked to stop".into()),
        signal = asked => Ok(format!("the cluster was asked to stop by {signal}")),
        () = front_gone => Ok("the program that started this cluster has ended".into()),
    }
}

/// Makes the nodes and starts their kubelets, and returns when a store serves.
async fn start_nodes(world: &Arc<World>, parts: &Parts, spec: &Spec, place: &Place) -> Result<(), Error> {
    for spec in world.spec.nodes() {
        let node = Node::new(world, parts, spec).await?;
        world.nodes.lock().insert(node.spec.name.clone(), node);
    }
    save_around(spec, place, start_store(world)).await
}

/// Saves what the cluster is made of at the moment from which on that holds for later starts. A
/// store of its own has its members before it serves. Whether an external one can be used is known
/// when it serves: it may hold another cluster's objects, and then nothing was made.
///
/// # Errors
/// Those of `store_serves`, and of [`Spec::save`].
async fn save_around(
    spec: &Spec,
    place: &Place,
    store_serves: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let is_own = spec.external_etcd.is_none();
    if is_own {
        spec.save(place)?;
    }
    store_serves.await?;
    if is_own { Ok(()) } else { spec.save(place) }
}

/// Starts the kubelets, and returns when a store serves.
async fn start_store(world: &Arc<World>) -> Result<(), Error> {
    supervise_all(world).await?;
    match world.stores.subscribe().wait_for(|stores| !stores.is_empty()).await {
        Ok(_) => Ok(()),
        Err(_) => std::future::pending().await, // `world` has the sender
    }
}

/// Resolves when something went wrong that no restart mends.
async fn has_problem(problem: &mut watch::Receiver<Option<Problem>>) -> Problem {
    let found = problem.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
    match found {
        Some(problem) => problem,
        None => std::future::pending().await, // `world` has the sender
    }
}

/// Resolves when the front closes its end; never if the cluster is on its own.
async fn front_gone(attached: bool) {
    if !attached {
        return std::future::pending().await;
    }
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    // A thread of its own: a runtime that ends waits for its blocking tasks, and the front may stay
    // after the cluster.
    let reader = std::thread::Builder::new().name("front".into()).spawn(move || {
        let mut byte = [0u8; 1];
        while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
        let _ = closed.send(()); // the cluster may have ended for another reason
    });
    if reader.is_err() || is_closed.await.is_err() {
        std::future::pending().await
    }
}

/// Stops the components one kind after the other, so that the store's log is whole and the leases
/// are free; containers end with the PID namespace.
async fn shut_down(world: &World) {
    for node in world.all_nodes() {
        if let Some(kubelet) = node.kubelet.lock().take() {
            kubelet.kill();
        }
    }
    let nodes = world.all_nodes();
    for (components, patience) in STOP_ORDER {
        let stops = nodes.iter().map(|node| async move {
            let containers = node.cri.list_containers().await.unwrap_or_default();
            let own = containers.iter().filter(|c| components.contains(&c.name.as_str()));
            futures::future::join_all(own.map(|c| node.cri.stop_container(&c.id, patience))).await;
        });
        futures::future::join_all(stops).await;
    }
}

/// Binds the API's port on loopback: the one that was asked for, or 6443, or the next free one.
async fn bind_api(port: Option<u16>) -> Result<tokio::net::TcpListener, Error> {
    if let Some(port) = port {
        return match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => Ok(listener),
            Err(error) => Err(match error.kind() {
                std::io::ErrorKind::AddrInUse => Refusal::PortTaken { port }.into(),
                std::io::ErrorKind::PermissionDenied => Refusal::PortForbidden { port }.into(),
                _ => Error::Kernel(error),
            }),
        };
    }
    for port in API_PORT..=API_PORT + 100 {
        match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(Error::Kernel(error)),
        }
    }
    Err(Refusal::PortTaken { port: API_PORT }.into())
}

/// Tells the kubelets what their pods, and the machine, have left of memory. Without control groups
/// the machine's is all that is known.
fn memory_meter(cgroups: Arc<dyn linux::cgroup::Backend>) -> Meter {
    Box::new(move || {
        let machine = linux::usage::of_machine()?;
        let of_machine =
            Shared { limit: machine.total, working_set: machine.total.saturating_sub(machine.available) };
        let pods = cgroups.memory().unwrap_or(of_machine);
        Some(Memory {
            limit: pods.limit.min(machine.total),
            used: pods.working_set,
            machine: machine.available,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::external::ExternalEtcd;

    /// `up --etcd` in a Korean session: only the cluster's process finds out whose etcd it is.
    #[tokio::test]
    async fn an_etcd_of_another_cluster_is_refused_in_the_learners_language() {
        let etcd = ExternalEtcd { endpoints: vec!["https://e:2379".into()], ..ExternalEtcd::default() };
        let problem = watch::Sender::new(None);
        let mut seen = problem.subscribe();
        problem.send_replace(Some(Problem::Refused(etcd.foreign())));
        let error = of_running(has_problem(&mut seen).await.into());
        let Reply::Refusal(refusal) = Reply::from(error) else { panic!("it is a text in one language") };
        assert_eq!(refusal, Refusal::EtcdTaken { endpoints: "https://e:2379".into() });
    }

    /// `up --etcd URL` with the etcd of another cluster. The next `up`, without `--etcd`, was
    /// refused for the same reason, and `--control-planes` because of a store that there never was.
    #[tokio::test]
    async fn a_start_that_an_external_etcd_refuses_decides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("t").unwrap();
        place.make().unwrap();
        let saved = || Spec::load(&place).unwrap();
        let etcd = ExternalEtcd { endpoints: vec!["https://e:2379".into()], ..ExternalEtcd::default() };
        let external = Spec { external_etcd: Some(etcd), ..Spec::new("t") };
        let refused = std::future::ready(Err(Error::Start("another cluster has it".into())));
        assert!(save_around(&external, &place, refused).await.is_err() && saved().is_none());
        save_around(&external, &place, std::future::ready(Ok(()))).await.unwrap();
        assert_eq!(saved(), Some(external));
        let own = Spec::new("t");
        let begun = async {
            assert_eq!(saved(), Some(own.clone()), "its members are chosen");
            Ok::<(), Error>(())
        };
        save_around(&own, &place, begun).await.unwrap();
    }

    /// The log of a cluster that ran for days would end with "the cluster did not start".
    #[test]
    fn what_ends_a_running_cluster_is_no_start_that_failed() {
        let why = "the zygote died; no more containers can be made";
        assert_eq!(chain(&of_running(Error::Start(why.into()))), why);
        assert_eq!(chain(&of_running(Error::Ended)), chain(&Error::Ended));
    }
}
