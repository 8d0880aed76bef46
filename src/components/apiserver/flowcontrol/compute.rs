//! Work on large objects and long lists, so that it holds up nothing else.
//!
//! To decode, patch and validate an object of some megabytes takes a processor for parts of a
//! second. On one of the runtime's threads, of which there are as many as processors, that would
//! hold up health checks, leases and watches. So a request with much to work on runs on a thread of
//! its own, and few of these run at a time. A list of ten thousand objects takes as long, in ten
//! thousand small steps: it stays on the runtime's threads and lets others on between the steps
//! ([`Pace`]), and few long lists are made at a time. Accounts are served in turn
//! ([`super::fair_queue`]). The bodies of long lists are in memory until their clients have read
//! them: they share a pool, counted in KiB ([`Compute::body`]).

use crate::auth::user::User;
use crate::flowcontrol::fair_queue::{FairQueue, Permit};
use crate::flowcontrol::flow::{Flow, Level};
use crate::flowcontrol::pool::Pool;
use api::Status;
use futures::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's body, and of the object that it changes, up to which it is worked on where
/// it is.
pub(crate) const LARGE: usize = 64 << 10;
/// Bytes of a list up to which it is encoded without waiting for a turn.
pub(crate) const LONG_LIST: usize = 1 << 20;
/// Bytes that are worked on before others are let on: some hundred microseconds.
const STRIDE: usize = 32 << 10;
/// An item counts as so many bytes at least.
const ITEM_LEAST: usize = 256;
/// Large requests of users that are worked on at a time, and as many long lists of theirs.
const AT_ONCE: usize = 4;
/// Large requests, and long lists, of addons that are worked on at a time.
const OF_ADDONS: usize = 2;
/// Large requests, and long lists, of nodes that are worked on at a time.
const OF_NODES: usize = 3;
/// Large requests, and long lists, of the control plane and administrators at a time.
const OF_COMPONENTS: usize = 4;
/// KiB of the bodies of users' lists in memory at a time. One account has a third, if it leaves as
/// much free; a longer list than that takes the whole third.
const LISTS_KIB: usize = 96 << 10;
/// KiB of the bodies of addons' lists in memory at a time.
const LISTS_KIB_OF_ADDONS: usize = 48 << 10;
/// KiB of the bodies of nodes' lists in memory at a time.
const LISTS_KIB_OF_NODES: usize = 48 << 10;
/// KiB of the bodies of lists of the control plane and administrators in memory at a time.
const LISTS_KIB_OF_COMPONENTS: usize = 112 << 10;
/// Bytes of a list up to which it does not count. Each holds one of the places for requests, so
/// these are few megabytes together.
pub(crate) const COUNTED_LIST: usize = 128 << 10;
/// A list that has waited so long for others to be read is refused: longer than an answer is kept
/// for its client.
const LIST_WAIT: Duration = Duration::from_secs(70);
/// Large requests that wait or are worked on: of users, of addons and of nodes as many each.
const WAITING: usize = 64;

/// The limits of one kind of clients. Each kind has its own, so that no user's requests hold up
/// those of addons and nodes, and no node's those of the control plane.
struct Limits {
    large: Arc<FairQueue>,
    lists: Arc<FairQueue>,
    /// KiB.
    bodies: Arc<FairQueue>,
    /// `None`: as many as the bound on requests in flight allows.
    waiting: Option<Arc<Pool>>,
}

impl Limits {
    fn new(at_once: usize, kib: usize, waiting: Option<usize>) -> Limits {
        Limits {
            large: FairQueue::new(at_once),
            lists: FairQueue::new(at_once),
            bodies: FairQueue::weighted(kib, kib / 3),
            waiting: waiting.map(Pool::new),
        }
    }
}

pub(crate) struct Compute {
    users: Limits,
    addons: Limits,
    nodes: Limits,
    components: Limits,
}

impl Default for Compute {
    fn default() -> Compute {
        Compute {
            users: Limits::new(AT_ONCE, LISTS_KIB, Some(WAITING)),
            addons: Limits::new(OF_ADDONS, LISTS_KIB_OF_ADDONS, Some(WAITING)),
            nodes: Limits::new(OF_NODES, LISTS_KIB_OF_NODES, Some(WAITING)),
            components: Limits::new(OF_COMPONENTS, LISTS_KIB_OF_COMPONENTS, None),
        }
    }
}

impl Compute {
    fn limits(&self, flow: &Flow) -> &Limits {
        match flow.level {
            Level::Exempt | Level::Control => &self.components,
            Level::Nodes => &self.nodes,
            Level::Addons => &self.addons,
            Level::Users => &self.users,
        }
    }

    /// Returns how many large requests of administrators and the control plane are worked on now,
    /// and how many wait for a turn.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn large_of_components(&self) -> (usize, usize) {
        (self.components.large.running(), self.components.large.waiting())
    }

    /// Returns the turns of the long lists of administrators and the control plane.
    #[cfg(test)]
    pub(crate) fn lists_of_components(&self) -> Arc<FairQueue> {
        self.components.lists.clone()
    }

    /// Runs `work` on `bytes` bytes: here if they are few, on a thread of its own otherwise. There
    /// it ends at the latest when `stop` is cancelled, even if its client has gone.
    ///
    /// # Errors
    /// Those of `work`; 429 if too many large requests wait, or too many of this account's; 503
    /// when the server stops.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        user: &User,
        bytes: usize,
        stop: CancellationToken,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        if bytes <= LARGE {
            return work.await;
        }
        let flow = Flow::of(user);
        let limits = self.limits(&flow);
        let waiting = match &limits.waiting {
            None => None,
            Some(pool) => Some(pool.take(&flow, 1).ok_or_else(crate::flowcontrol::bounds::too_many)?),
        };
        let stopped = || Status::unavailable("the server is stopping");
        let turn = limits.large.take(&flow.account).await.ok_or_else(stopped)?;
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || {
            let done = runtime.block_on(stop.run_until_cancelled(work));
            drop((turn, waiting));
            done
        });
        match done.await {
            Ok(done) => done.unwrap_or_else(|| Err(stopped())),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(stopped()),
        }
    }

    /// Waits until a list of `bytes` bytes may be encoded; hold the turn meanwhile. `None` at once
    /// for a short list.
    pub(crate) async fn list(&self, user: &User, bytes: usize) -> Option<Permit> {
        if bytes <= LONG_LIST {
            return None;
        }
        let flow = Flow::of(user);
        self.limits(&flow).lists.take(&flow.account).await
    }

    /// Waits until there is memory for the body of a list of about `bytes` bytes.
    ///
    /// # Errors
    /// 429 if there is none for a long time, because clients do not read their lists.
    pub(crate) async fn body(&self, user: &User, bytes: usize) -> Result<ListBody, Status> {
        let flow = Flow::of(user);
        let pool = self.limits(&flow).bodies.clone();
        let mut body = ListBody { pool, account: flow.account, turn: None };
        body.reserve(bytes).await?;
        Ok(body)
    }
}

/// Memory for the body of one list: keep it with the body until its client has read it.
pub(crate) struct ListBody {
    pool: Arc<FairQueue>,
    account: String,
    turn: Option<Permit>,
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 10)
}

impl ListBody {
    async fn reserve(&mut self, bytes: usize) -> Result<(), Status> {
        if bytes > COUNTED_LIST {
            let turn = clock::limit(LIST_WAIT, self.pool.take_many(&self.account, kib(bytes))).await;
            self.turn = Some(turn.flatten().ok_or_else(crate::flowcontrol::bounds::too_many)?);
        }
        Ok(())
    }

    /// Takes more for a list that turned out to have `bytes` bytes. It does not wait for memory
    /// that other lists hold: two lists that waited for each other would wait for ever.
    ///
    /// # Errors
    /// 429 if there is no more.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Status> {
        let covered = match &mut self.turn {
            _ if bytes <= COUNTED_LIST => true,
            Some(turn) => turn.grow(kib(bytes)),
            turn => {
                *turn = self.pool.take_many(&self.account, kib(bytes)).now_or_never().flatten();
                turn.is_some()
            }
        };
        if covered { Ok(()) } else { Err(crate::flowcontrol::bounds::too_many()) }
    }

    /// Gives back what a list of `bytes` bytes does not need; `None` if that is all.
    pub(crate) fn settle(self, bytes: usize) -> Option<Permit> {
        let mut turn = self.turn.filter(|_| bytes > COUNTED_LIST)?;
        turn.shrink(kib(bytes));
        Some(turn)
    }
}

/// Lets the other tasks of the thread on in the middle of long work.
#[derive(Default)]
pub(crate) struct Pace(usize);

impl Pace {
    /// Counts an item of `bytes` bytes as done; waits for the other tasks when it is their turn.
    pub(crate) async fn step(&mut self, bytes: usize) {
        self.0 += bytes.max(ITEM_LEAST);
        if self.0 >= STRIDE {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn bob() -> User {
        User::new("bob", &[])
    }

    /// The runtime has one thread, and goes on while work on large objects holds the processor.
    #[tokio::test]
    async fn large_work_holds_up_nothing_else() {
        let compute = Arc::new(Compute::default());
        let (go, wait) = mpsc::channel::<()>();
        let (inner, stop) = (compute.clone(), CancellationToken::new());
        let large = tokio::spawn({
            let stop = stop.clone();
            async move {
                let work = async move { Ok(wait.recv().is_ok()) }; // blocks its thread
                inner.run(&bob(), LARGE + 1, stop, work).await
            }
        });
        let user = bob();
        let small = compute.run(&user, LARGE, stop, async { Ok(7) });
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), small).await.unwrap().unwrap(), 7);
        go.send(()).unwrap();
        assert!(large.await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn large_work_has_bounds_and_components_have_places_of_their_own() {
        let compute = Arc::new(Compute::default());
        let stop = CancellationToken::new();
        let run = |user: User| {
            let (inner, stop) = (compute.clone(), stop.clone());
            tokio::spawn(async move {
                inner.run(&user, LARGE + 1, stop, std::future::pending::<Result<(), Status>>()).await
            })
        };
        let (users, waiting) = (&compute.users, compute.users.waiting.as_ref().unwrap());
        let bobs: Vec<_> = (0..WAITING / 2).map(|_| run(bob())).collect();
        while waiting.taken() < WAITING / 2 || users.large.running() < AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(run(bob()).await.unwrap().unwrap_err().code, 429);
        // Other accounts have their turn meanwhile: another user, a node, a component, an
        // administrator.
        for (name, groups) in [
            ("jane", &[][..]),
            ("system:serviceaccount:kube-system:coredns", &[]),
            ("system:node:n1", &["system:nodes"]),
            ("system:kube-scheduler", &[]),
            ("admin", &["system:masters"]),
        ] {
            let user = User::new(name, groups);
            let own = compute.run(&user, LARGE + 1, CancellationToken::new(), async { Ok(1) });
            assert_eq!(own.await.unwrap(), 1, "{name}");
        }
        stop.cancel();
        for one in bobs {
            assert_eq!(one.await.unwrap().unwrap_err().code, 503);
        }
        assert_eq!((waiting.taken(), users.large.running()), (0, 0));
    }

    /// An account that does not read its lists holds a third of the memory for lists; the others
    /// have the rest.
    #[tokio::test(start_paused = true)]
    async fn the_bodies_of_lists_have_a_bound_in_bytes() {
        let compute = Compute::default();
        let (eve, pool) = (User::new("eve", &[]), compute.users.bodies.clone());
        let mib = 1 << 20;
        let mut held = vec![];
        for _ in 0..LISTS_KIB / 1024 / 3 {
            held.push(compute.body(&eve, mib).await.unwrap());
        }
        assert_eq!(pool.running(), LISTS_KIB / 3);
        assert_eq!(compute.body(&eve, mib).await.err().map(|status| status.code), Some(429));
        assert!(compute.body(&eve, COUNTED_LIST).await.is_ok(), "a short list does not count");
        let mut bobs = compute.body(&bob(), 0).await.unwrap();
        assert!(bobs.cover(COUNTED_LIST).is_ok() && pool.running() == LISTS_KIB / 3);
        // More than its share is the whole share, and less is given back.
        bobs.cover(1000 * mib).unwrap();
        assert_eq!(pool.running(), LISTS_KIB / 3 * 2);
        assert!(compute.body(&bob(), 0).await.unwrap().cover(mib).is_err());
        let node = User::new("system:node:n1", &["system:nodes"]);
        assert!(compute.body(&node, mib).await.is_ok(), "nodes have memory of their own");
        let turn = bobs.settle(2 * mib);
        assert_eq!(pool.running(), LISTS_KIB / 3 + 2048);
        drop((turn, held));
        assert_eq!(pool.running(), 0);
    }
}
