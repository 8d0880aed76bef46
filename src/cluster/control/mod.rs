//! The control socket: what the learner's side asks the running cluster, one JSON document a line.
//! `own` answers for a cluster that this program has started; [`foreign`](super::foreign) has its
//! own answers.

pub mod network;
pub(crate) mod own;
mod reply;

use super::boot::ready::Progress;
use super::error::Error;
use super::faults::Fault;
use super::guest::Guest;
use super::home::Place;
use super::refusal::Refusal;
use super::undo::Past;
use clock::Instant;
use futures::StreamExt;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use futures::stream::BoxStream;
use linux::tcp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

pub use reply::Reply;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum Ask {
    /// Checks that the cluster answers.
    Hello,
    /// Answers with what `ropewalk status` shows, as JSON: nodes, store, ports, progress.
    Status,
    /// Answers with progress lines until the cluster is ready.
    Wait,
    /// Ends the cluster; the answer comes before it has ended.
    Stop,
    /// Breaks something, or mends it.
    Fault {
        /// The act: what to break or mend, and where.
        fault: Fault,
    },
    /// Records that followed from the last command, a request, or about an object.
    Trace {
        /// Which records.
        what: Trace,
    },
    /// Answers with what the kernels of the nodes have for connections to Services
    /// ([`Network`](network::Network)).
    Network,
    /// The cluster's past: what can be undone, and going back.
    Past {
        /// What is asked, or done.
        past: Past,
    },
    /// Answers with every record after this number, the kept ones first, then each new one, without
    /// end. `{"lost": N}` stands for N records that a slow reader missed.
    Records {
        /// The number of a record; 0 begins with the oldest that is kept.
        since: u64,
    },
    /// A question to a guest, in the guest's own words.
    Guest {
        /// [`Guest::name`], e.g. `lesson`.
        name: String,
        /// JSON that only the guest reads.
        question: Value,
    },
}

/// Selects the records that [`Ask::Trace`] answers with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trace {
    /// All requests of the last command, of kubectl or curl, and what followed from them.
    Last,
    /// The request with this id, and what followed from it.
    Request(String),
    /// One object, and what followed from requests for it.
    Object {
        /// The plural: `pods`, `widgets.example.com`.
        resource: String,
        /// Empty for an object without one.
        namespace: String,
        /// `metadata.name`.
        name: String,
    },
}

/// The cluster behind a control socket, Ropewalk's own or a foreign one: it answers what [`serve`]
/// cannot answer alone.
pub(crate) trait Target: Send + Sync + 'static {
    fn tap(&self) -> &tap::Tap;
    /// Returns what `ropewalk status` shows.
    fn status<'a>(&'a self, progress: &'a Progress) -> BoxFuture<'a, Value>;
    /// Breaks something, or mends it.
    fn fault(&self, fault: Fault) -> BoxFuture<'_, Reply>;
    /// Answers about the cluster's past, or goes back in it.
    fn past(&self, past: Past) -> BoxFuture<'_, Reply>;
    /// Returns what the kernels of the nodes have for connections to Services.
    fn network(&self) -> BoxFuture<'_, Reply>;
    /// Says why a guest of this name is not here.
    fn without(&self, guest: &str) -> Reply;
}

/// Everything that [`serve`] needs to answer the clients of one control socket.
pub(crate) struct Server {
    pub target: Arc<dyn Target>,
    pub progress: watch::Receiver<Progress>,
    pub stop: CancellationToken,
    pub guests: Vec<Arc<dyn Guest>>,
}

/// Answers until the crew ends.
pub(crate) fn serve(crew: &Crew, listener: UnixListener, server: Server) {
    let (own, server) = (crew.clone(), Arc::new(server));
    crew.spawn(async move {
        loop {
            let stream = tcp::accept_local(&listener).await;
            let server = server.clone();
            own.spawn(async move {
                let _ = talk(stream, &server).await; // the other side may hang up
            });
        }
    });
}

type Lines = tokio::io::Lines<BufReader<tokio::net::unix::OwnedReadHalf>>;

/// Returns when the client has closed the connection: what waits for news would else stay until
/// there are some, with its descriptor. A client that has asked further questions already, or that
/// only sends no more, is still there.
async fn hung_up(lines: &mut Lines) {
    let socket: &UnixStream = lines.get_mut().get_ref().as_ref();
    // The readiness of the connection's own descriptor belongs to its reader and its writer.
    let watched = socket.as_fd().try_clone_to_owned();
    let Ok(watched) = watched.and_then(|fd| linux::fds::async_fd(fd, Interest::PRIORITY)) else {
        return std::future::pending().await; // too few descriptors: the next news notice it
    };
    // The kernel tells of a hang-up whatever was asked for (EPOLLHUP, epoll_ctl(2)).
    while let Ok(mut guard) = watched.ready(Interest::PRIORITY).await {
        if guard.ready().is_read_closed() {
            return;
        }
        guard.clear_ready();
    }
}

/// Sends what a guest answers. The first answer is waited for also when the client has hung up: a
/// lab that is being started would stop half done. What follows it is only for the client.
async fn pass_on(
    mut replies: BoxStream<'static, Reply>,
    lines: &mut Lines,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    if let Some(first) = replies.next().await {
        send(write, &first).await?;
    }
    let further = async {
        while let Some(reply) = replies.next().await {
            send(write, &reply).await?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        sent = further => sent,
        () = hung_up(lines) => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

async fn talk(stream: UnixStream, server: &Server) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let reply = match serde_json::from_str::<Ask>(&line) {
            Ok(Ask::Wait) => {
                tokio::select! {
                    waited = wait(server.progress.clone(), &mut write) => waited?,
                    () = hung_up(&mut lines) => return Ok(()),
                }
                continue;
            }
            Ok(Ask::Stop) => {
                // A client that has hung up meanwhile has asked all the same.
                let _ = send(&mut write, &Reply::Ok(json!({"stopping": true}))).await;
                server.stop.cancel();
                // The end of this connection is the end of the program.
                std::future::pending::<()>().await;
                return Ok(());
            }
            Ok(Ask::Records { since }) => {
                return tokio::select! {
                    ended = records(server.target.tap(), since, &mut write) => ended,
                    () = hung_up(&mut lines) => Ok(()),
                };
            }
            Ok(Ask::Guest { name, question }) => {
                let Some(guest) = server.guests.iter().find(|g| g.name() == name) else {
                    send(&mut write, &server.target.without(&name)).await?;
                    continue;
                };
                pass_on(guest.ask(question), &mut lines, &mut write).await?;
                continue;
            }
            Ok(ask) => answer(server, ask).await,
            Err(error) => Reply::Error(format!("not a question: {error}")),
        };
        send(&mut write, &reply).await?;
    }
    Ok(())
}

/// Sends the progress until the cluster is ready.
async fn wait(
    mut progress: watch::Receiver<Progress>,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    loop {
        let now = progress.borrow_and_update().clone();
        send(write, &Reply::Ok(json!(now))).await?;
        if now.ready || progress.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Sends the records from a number on, and then each new one.
async fn records(
    tap: &tap::Tap,
    since: u64,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    let mut live = tap.subscribe(); // before the past is read, so that nothing falls between
    let mut last = since;
    for record in tap.since(since) {
        last = record.seq;
        send(write, &Reply::Ok(json!(*record))).await?;
    }
    loop {
        match live.recv().await {
            Ok(record) if record.seq <= last => {}
            Ok(record) => send(write, &Reply::Ok(json!(*record))).await?,
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                send(write, &Reply::Ok(json!({ "lost": lost }))).await?;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    write.write_all(&line).await
}

async fn answer(server: &Server, ask: Ask) -> Reply {
    let target = &server.target;
    match ask {
        Ask::Hello => Reply::Ok(Value::Null),
        Ask::Status => {
            let progress = server.progress.borrow().clone();
            Reply::Ok(target.status(&progress).await)
        }
        Ask::Past { past } => target.past(past).await,
        Ask::Fault { fault } => target.fault(fault).await,
        Ask::Network => target.network().await,
        Ask::Trace { what } => {
            let records = target.tap().since(0);
            let chain = match what {
                Trace::Last => match last_command(&records) {
                    Some(ids) => tap::follow(&records, &ids),
                    None => return Reply::Refusal(Refusal::NothingTraced),
                },
                Trace::Request(id) => tap::follow(&records, &[id]),
                Trace::Object { resource, namespace, name } => about(&records, &resource, &namespace, &name),
            };
            Reply::Ok(json!(chain.iter().map(|r| &**r).collect::<Vec<_>>()))
        }
        Ask::Wait | Ask::Stop | Ask::Records { .. } | Ask::Guest { .. } => {
            Reply::Error("asked in the wrong place".into())
        }
    }
}

/// Returns the ids of the last command's requests. A kubectl command is all requests of its
/// session; each request of a client without sessions that people use by hand is a command of its
/// own.
///
/// ```text
/// kubectl run web; curl …/pods              the request of curl
/// curl …/pods; kubectl get pods             the requests of `kubectl get`
/// kubectl run web; a controller in Python   the requests of `kubectl run`
/// kubectl run web; curl … in a pod          the requests of `kubectl run`
/// ```
fn last_command(records: &[Arc<tap::Record>]) -> Option<Vec<String>> {
    let mut requests = records.iter().rev().filter_map(|r| r.request.as_ref());
    let is_typed = |q: &&tap::Request| q.by_hand().is_some() || (q.is_persons() && !q.session.is_empty());
    let last = requests.find(is_typed)?;
    if last.session.is_empty() {
        return Some(vec![last.id.clone()]);
    }
    // Clients choose their sessions: the same one of two users is two.
    let of = |q: &tap::Request| (q.session.clone(), q.user.clone(), q.impersonator.clone());
    let session = of(last);
    let own = records.iter().filter_map(|r| r.request.as_ref()).filter(|q| of(q) == session);
    Some(own.map(|q| q.id.clone()).collect())
}

/// Returns the records of one object. A resource is a plural, with its group
/// (`widgets.example.com`) or without: that of a custom resource may be left out if no other one is
/// called so.
fn about(records: &[Arc<tap::Record>], resource: &str, namespace: &str, name: &str) -> Vec<Arc<tap::Record>> {
    let of = |is_meant: &dyn Fn(&tap::ObjectRef) -> bool| -> Vec<Arc<tap::Record>> {
        let named = |o: &tap::ObjectRef| {
            o.name == name && (o.namespace == namespace || o.namespace.is_empty()) && is_meant(o)
        };
        records.iter().filter(|r| r.object.as_ref().is_some_and(named)).cloned().collect()
    };
    let exact = of(&|o| o.qualified() == resource);
    if exact.is_empty() { of(&|o| o.resource == resource) } else { exact }
}

/// Returns whether an answer to [`Ask::Wait`] tells that the start was complete once. Unlike
/// `ready` it stays true when a node is switched off or a pod of kube-system fails: a client that
/// comes later need not wait for these.
pub fn has_started(progress: &Value) -> bool {
    progress["started"] == true || progress["ready"] == true
}

/// A cluster that has not said in this time that it is there hangs: the answer takes no work.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// Pause before a connection is tried again while the accept queue is full.
const QUEUE_AGAIN: Duration = Duration::from_millis(100);

/// Connects to the control socket. While its accept queue is full, retries until `over`.
async fn dial(place: &Place, over: Instant) -> Result<UnixStream, Error> {
    loop {
        match UnixStream::connect(place.socket()).await {
            Ok(stream) => return Ok(stream),
            Err(full) if full.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < over => {
                clock::pause_until(Instant::now() + QUEUE_AGAIN).await;
            }
            Err(cause) => return Err(not_connected(place, cause)),
        }
    }
}

/// Returns what it means that the control socket takes no connection.
fn not_connected(place: &Place, cause: std::io::Error) -> Error {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, NotADirectory, NotFound, WouldBlock};
    match cause.kind() {
        // Reset: it ended while the connection waited to be accepted.
        NotFound | NotADirectory | ConnectionRefused | ConnectionReset => {
            Error::NotRunning(place.name.clone())
        }
        // Its queue is full: no connection was accepted for a while.
        WouldBlock => Error::Hangs { name: place.name.clone(), main: None },
        // Another user's cluster, or a machine that has too little of something.
        _ => Error::File { path: place.socket(), cause },
    }
}

/// Returns a handle of the cluster's main process, whose number a connection has shown
/// ([`Control::main`]). `None`: it has ended, and the number may be another process's by now.
pub async fn main_process(place: &Place, pid: i32) -> Option<OwnedFd> {
    let handle = linux::process::pidfd_open(pid).ok()?;
    // Only the main process has the listening socket, so it lives, and had its number all the time.
    let again = UnixStream::connect(place.socket()).await.ok()?;
    (again.peer_cred().ok()?.pid() == Some(pid)).then_some(handle)
}

/// A connection to a running cluster.
pub struct Control {
    lines: Lines,
    write: tokio::net::unix::OwnedWriteHalf,
    /// The main process of the cluster.
    pub main: Option<i32>,
}

impl Control {
    /// Connects to a running cluster.
    ///
    /// # Errors
    /// The cluster is not running ([`Error::NotRunning`]), has not answered for [`HELLO_PATIENCE`]
    /// ([`Error::Hangs`], never sooner: a loop may ask again at once), or its socket may not be
    /// used, so nothing is known of it ([`Error::File`]).
    pub fn connect(place: &Place) -> BoxFuture<'_, Result<Control, Error>> {
        Box::pin(async move {
            let over = Instant::now() + HELLO_PATIENCE;
            let stream = dial(place, over).await?;
            let main = stream.peer_cred().ok().and_then(|peer| peer.pid());
            let (read, write) = stream.into_split();
            let mut control = Control { lines: BufReader::new(read).lines(), write, main };
            // The kernel takes connections for a process that is just dying.
            match tokio::time::timeout_at(over, control.ask(&Ask::Hello)).await {
                Ok(Ok(_)) => Ok(control),
                Ok(Err(_)) => Err(Error::NotRunning(place.name.clone())),
                Err(_) => Err(Error::Hangs { name: place.name.clone(), main }),
            }
        })
    }

    /// Asks one question and returns its answer.
    ///
    /// # Errors
    /// The cluster refused, or ended before it answered ([`Error::Ended`]).
    pub fn ask<'a>(&'a mut self, ask: &'a Ask) -> BoxFuture<'a, Result<Value, Error>> {
        Box::pin(async move {
            let lost = |_: std::io::Error| Error::Ended;
            let mut line = serde_json::to_vec(ask).unwrap_or_default();
            line.push(b'\n');
            self.write.write_all(&line).await.map_err(lost)?;
            self.answer().await?.ok_or(Error::Ended)
        })
    }

    /// Waits for a further answer to the same question; `None`: the cluster has ended.
    ///
    /// # Errors
    /// The cluster refused ([`Error::Refusal`], [`Error::Message`]), or the line is no [`Reply`]
    /// ([`Error::Control`]), e.g. that of a program of another version.
    pub async fn next(&mut self) -> Result<Option<Value>, Error> {
        self.answer().await
    }

    fn answer(&mut self) -> BoxFuture<'_, Result<Option<Value>, Error>> {
        Box::pin(async move {
            match self.lines.next_line().await {
                Ok(Some(line)) => match serde_json::from_str::<Reply>(&line) {
                    Ok(reply) => reply.into_result().map(Some),
                    Err(error) => Err(Error::Control(format!("not an answer: {error}"))),
                },
                Ok(None) | Err(_) => Ok(None),
            }
        })
    }
}

#[cfg(test)]
mod tests;
