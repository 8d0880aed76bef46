//! The cluster's DNS: names of services and pods. [`answer`](answer::answer) is pure; schema:
//! `kubernetes/dns/docs/specification.md` 1.1.0.

mod answer;
mod current_zone;
mod limits;
mod lookup;
mod message;
mod places;
mod probes;
mod resolvers;
mod tcp;
mod zone;

use client::{Client, Informer};
use current_zone::CurrentZone;
use hickory_proto::op::{Message, ResponseCode};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use limits::EDNS_MAX;
use message::{Outside, Served, complete, encode, question_for, response_to, serve};
use places::{Place, Places};
use resolvers::Resolvers;
use rng::Rng;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tap::{Event, Record, Tap};
use task::Crew;
use tokio::net::{TcpListener, UdpSocket};
use zone::Zone;

/// The port of `/health`, for the kubelet's liveness probe, as in kubeadm's manifest.
pub const HEALTH_PORT: u16 = 8080;
/// The port of `/ready`, for the readiness probe.
pub const READY_PORT: u16 = 8181;

/// The start waits this long until the informers are synced, as in CoreDNS. Without them names
/// outside are answered, and those of the cluster with SERVFAIL.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);
/// A readiness probe waits this long for the first zone: less than its time-out of a second. So a
/// start is not delayed by the probe's period.
const READY_WAIT: Duration = Duration::from_millis(800);
/// Questions are answered this long after a request to stop: until every kube-proxy has left this
/// server out (`lameduck` in the Corefile).
const LAME_DUCK: Duration = Duration::from_secs(1);
/// Bytes of an answer over UDP, unless the client allows more ([`EDNS_MAX`]).
const UDP_MAX: usize = 512;
/// Questions that are asked outside at the same time, of all addresses and of one. What comes
/// beyond is dropped, over TCP with its connection, and so is the oldest question of the address
/// with the most when another address needs its place; the resolver asks again.
const FORWARDS_MAX: usize = 512;
const FORWARDS_OF_ONE: usize = FORWARDS_MAX / 8;

/// The name server's connections to the cluster and to the networks.
pub struct Config {
    /// Watches the Services and EndpointSlices that have names.
    pub client: Client,
    /// The cluster's domain, e.g. `cluster.local`.
    pub domain: String,
    /// Port 53 in the pod's network.
    pub udp: UdpSocket,
    /// Port 53 in the pod's network, for answers that are too large for UDP.
    pub tcp: TcpListener,
    /// [`HEALTH_PORT`] in the pod's network.
    pub health: TcpListener,
    /// [`READY_PORT`] in the pod's network.
    pub ready: TcpListener,
    /// Resolvers for other names, which are asked from the machine's own network.
    pub upstream: Vec<SocketAddr>,
    /// Chooses the address that an answer begins with.
    pub rng: Rng,
    /// Gets the records of look-ups.
    pub tap: Tap,
}

/// Makes the places of questions that are asked outside.
fn forwards() -> Arc<Places> {
    Arc::new(Places::new(FORWARDS_MAX, FORWARDS_OF_ONE))
}

/// Starts the name server, which answers until the crew ends.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move { run(&own, config).await });
}

async fn run(crew: &Crew, config: Config) -> Result<(), String> {
    // A crew that was asked to stop takes no new tasks, and questions are answered for a while yet.
    let work = crew.part();
    let zone = CurrentZone::new(Zone::unsynced(&config.domain));
    let full = zone.clone();
    let is_ready = move || {
        let zone = full.clone();
        async move { tokio::time::timeout(READY_WAIT, zone.complete()).await.is_ok() }
    };
    work.spawn(probes::serve(config.health, work.clone(), "/health", || std::future::ready(true)));
    work.spawn(probes::serve(config.ready, work.clone(), "/ready", is_ready));
    let lists = Lists::watch(crew, &config.client);
    work.spawn(lists.keep(config.domain.clone(), zone.clone()));
    let stop = crew.token();
    tokio::select! {
        complete = tokio::time::timeout(SYNC_TIMEOUT, zone.complete()) => if complete.is_err() {
            tracing::warn!("starting server with unsynced Kubernetes API");
        },
        () = stop.cancelled() => return Ok(()), // without an API server it is never complete
    }
    tracing::info!(domain = config.domain, "CoreDNS-like server of Ropewalk, serving on :53");
    let upstream = Resolvers::new(config.upstream);
    let (rng, tap) = (config.rng, config.tap);
    let server = Arc::new(Server { zone, upstream, forwards: forwards(), rng, tap });
    let (checking, ended) = (server.clone(), work.token());
    work.spawn(async move { checking.upstream.check(&ended).await });
    let tcp_server = server.clone();
    work.spawn(tcp::serve(config.tcp, work.clone(), move |bytes: Vec<u8>, from| {
        let server = tcp_server.clone();
        async move { server.answer_tcp(&bytes, from).await }
    }));
    let mut serving = std::pin::pin!(server.serve_udp(config.udp, &work));
    tokio::select! {
        failed = &mut serving => return Err(failed),
        () = stop.cancelled() => {}
    }
    match tokio::time::timeout(LAME_DUCK, serving).await {
        Ok(failed) => Err(failed),
        Err(_) => Ok(()),
    }
}

/// The informers of the objects that the zone is made from.
struct Lists {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    namespaces: Informer<Namespace>,
}

impl Lists {
    fn watch(crew: &Crew, client: &Client) -> Lists {
        Lists {
            services: Informer::all(crew, client),
            slices: Informer::all(crew, client),
            namespaces: Informer::all(crew, client),
        }
    }

    /// Rebuilds the zone at every change, once the informers are synced. Never returns.
    async fn keep(self, domain: String, zone: Arc<CurrentZone>) {
        let Lists { services, slices, namespaces } = self;
        futures::join!(services.synced(), slices.synced(), namespaces.synced());
        let [on_service, on_slice, on_namespace] = [(); 3].map(|()| zone.clone());
        services.on(move |_| on_service.mark_changed());
        slices.on(move |_| on_slice.mark_changed());
        namespaces.on(move |_| on_namespace.mark_changed());
        zone.mark_changed();
        zone.rebuild(move || Zone::of(&domain, &services.list(), &slices.list(), &namespaces.list())).await;
    }
}

struct Server {
    zone: Arc<CurrentZone>,
    upstream: Resolvers,
    forwards: Arc<Places>,
    rng: Rng,
    tap: Tap,
}

impl Server {
    /// Records which address looked a name up, and the reply. A pod may look names up without end:
    /// such records have a share of those that are kept.
    fn record(&self, question: &[u8], reply: &[u8], from: IpAddr) {
        if let Some(lookup) = lookup::lookup(question, reply, from) {
            self.tap.emit_read(Record::new(Event::Lookup(lookup)));
        }
    }

    fn serve(&self, bytes: &[u8], limit: usize) -> Served {
        let chance = usize::try_from(self.rng.range(0, u32::MAX.into())).unwrap_or_default();
        serve(&self.zone.get(), bytes, limit, chance)
    }

    /// Answers questions over UDP until the socket fails. Returns why it failed.
    async fn serve_udp(self: &Arc<Self>, udp: UdpSocket, work: &Crew) -> String {
        let (udp, mut buffer) = (Arc::new(udp), vec![0; EDNS_MAX]);
        loop {
            let (count, from) = match udp.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return format!("cannot receive: {error}"),
            };
            match self.serve(&buffer[..count], UDP_MAX) {
                // A full socket drops it, as it would drop a question.
                Served::Reply(reply) => {
                    let _ = udp.try_send_to(&reply, from);
                    self.record(&buffer[..count], &reply, from.ip());
                }
                Served::Outside(outside) => {
                    let Some(place) = Place::begin(&self.forwards, from.ip()) else { continue };
                    let (bytes, server, udp) = (buffer[..count].to_vec(), self.clone(), udp.clone());
                    work.spawn(async move {
                        let forwarded = place.end.run_until_cancelled(server.ask(*outside, &bytes, UDP_MAX));
                        if let Some(reply) = forwarded.await.flatten() {
                            let _ = udp.send_to(&reply, from).await; // the client may have left
                            server.record(&bytes, &reply, from.ip());
                        }
                    });
                }
                Served::Nothing => {}
            }
        }
    }

    /// Answers a message over TCP. A question that is asked outside takes a place as those over UDP
    /// do. `None` ends the connection: the message gets no reply, there is no place, or another
    /// address got it.
    async fn answer_tcp(&self, bytes: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        // An answer of 64 KiB takes milliseconds, and the client may have sent many questions
        // ahead: others have their turn in between.
        tokio::task::yield_now().await;
        let reply = match self.serve(bytes, usize::from(u16::MAX)) {
            Served::Reply(reply) => Some(reply),
            Served::Outside(outside) => {
                let place = Place::begin(&self.forwards, from)?;
                let asked = self.ask(*outside, bytes, usize::from(u16::MAX));
                place.end.run_until_cancelled(asked).await.flatten()
            }
            Served::Nothing => None,
        }?;
        self.record(bytes, &reply, from);
        Some(reply)
    }

    /// Asks outside a client's question, or one for the name that the answer so far leads to.
    async fn ask(&self, outside: Outside, bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
        // A client that came by TCP may take a long answer, and came perhaps because it was cut off
        // over UDP.
        let long = limit > EDNS_MAX;
        let Outside { request, follow } = outside;
        match follow {
            None => self.forward(bytes, &request, long).await,
            Some((response, target)) => {
                let question = question_for(&request, &target)?;
                let found = self.forward(&question, &request, long).await?;
                encode(&request, complete(response, &target, &found)?, limit)
            }
        }
    }

    /// Asks the resolvers outside. If none answers, the reply is SERVFAIL.
    async fn forward(&self, bytes: &[u8], request: &Message, long: bool) -> Option<Vec<u8>> {
        if let Some(reply) = self.upstream.ask(bytes, long).await {
            return Some(reply);
        }
        let mut response = response_to(request);
        response.metadata.response_code = ResponseCode::ServFail;
        encode(request, response, UDP_MAX)
    }
}

#[cfg(test)]
mod tests;
