//! A fair queue: work of which only so much is done at a time, handed out by account and not by
//! arrival.
//!
//! In one queue for all accounts, one with thirty requests would let every other wait for thirty.
//! Here each account has a queue of its own. The next turn goes to the account with the fewest
//! turns running, and among these to the one that was served longest ago. Example with two at a
//! time: eve asks five times, then bob once; served are eve, bob, eve, eve, … No account has all
//! turns at once, because work that has begun is not interrupted.
//!
//! A turn has a weight: 1 for a piece of work, KiB for memory. Work ends by itself, so the account
//! that is next keeps its place until a turn is free. Memory is free again when a client has read
//! its answer, and clients may take long: there an account has at most what it leaves free, as in a
//! pool ([`super::pool`]), and one that has to wait for that holds up no other.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

pub(crate) struct FairQueue {
    /// The weight of all turns that run at a time.
    at_once: usize,
    /// The weight of the turns of one account that run at a time.
    each: usize,
    /// An account has at most what it leaves free.
    leaves_room: bool,
    inner: Mutex<Inner>,
}

struct Request {
    weight: usize,
    turn: oneshot::Sender<Permit>,
}

#[derive(Default)]
struct Inner {
    /// The weight of all turns that are running.
    all: usize,
    /// The weight of the running turns of each account.
    running: HashMap<String, usize>,
    /// Bounded by the callers: each waits with a request that has a place of its own.
    waiting: HashMap<String, VecDeque<Request>>,
    /// Accounts with waiting requests; the one that was served last stands at the end.
    order: VecDeque<String>,
}

/// One turn; dropping it ends it.
pub(crate) struct Permit {
    of: Arc<FairQueue>,
    account: String,
    weight: usize,
}

impl Inner {
    /// Drops requests at the head of the queues whose clients have gone.
    fn prune(&mut self) {
        let Inner { waiting, order, .. } = self;
        order.retain(|account| {
            let Some(queue) = waiting.get_mut(account) else { return false };
            while queue.front().is_some_and(|request| request.turn.is_closed()) {
                queue.pop_front();
            }
            let waits = !queue.is_empty();
            if !waits {
                waiting.remove(account);
            }
            waits
        });
    }

    /// Takes the request that is next, and counts its turn.
    fn next(&mut self, turns: &FairQueue) -> Option<(String, Request)> {
        self.prune();
        let running = |account: &String| self.running.get(account).copied().unwrap_or(0);
        let weight = |account: &String| self.waiting.get(account)?.front().map(|request| request.weight);
        let accounts = self.order.iter().enumerate().filter_map(|(place, account)| {
            let (has, wants) = (running(account), weight(account)?);
            turns.may_have(has, wants, self.all).then_some((has, place, wants))
        });
        let (_, place, wants) = accounts.min()?;
        if self.all + wants > turns.at_once {
            return None;
        }
        let account = self.order.remove(place)?;
        let queue = self.waiting.get_mut(&account)?;
        let request = queue.pop_front()?;
        match queue.is_empty() {
            true => drop(self.waiting.remove(&account)),
            false => self.order.push_back(account.clone()),
        }
        self.all += wants;
        *self.running.entry(account.clone()).or_default() += wants;
        Some((account, request))
    }

    fn give_back(&mut self, account: &str, weight: usize) {
        self.all -= weight;
        if let Some(running) = self.running.get_mut(account) {
            *running -= weight;
            if *running == 0 {
                self.running.remove(account);
            }
        }
    }
}

impl FairQueue {
    /// `at_once` turns at a time; one account has all but one of them at most.
    pub(crate) fn new(at_once: usize) -> Arc<FairQueue> {
        let each = at_once.saturating_sub(1).max(1);
        Arc::new(FairQueue { at_once, each, leaves_room: false, inner: Mutex::default() })
    }

    /// Turns of `at_once` weight together at a time, and of `each` for one account, if it leaves as
    /// much free.
    pub(crate) fn weighted(at_once: usize, each: usize) -> Arc<FairQueue> {
        Arc::new(FairQueue { at_once, each, leaves_room: true, inner: Mutex::default() })
    }

    /// Returns whether an account that has turns of weight `has` may have `more`, while all turns
    /// weigh `all`.
    ///
    /// Memory of 100 with at most 80 for one account; 40 are in use, 30 of it by eve. Eve wants 20
    /// more, and has to wait: she would have 50, and would leave 40 free. Bob, who has nothing,
    /// gets 20.
    fn may_have(&self, has: usize, more: usize, all: usize) -> bool {
        let left = self.at_once.saturating_sub(all + more);
        has + more <= self.each && (!self.leaves_room || has + more <= left)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Waits for a turn of weight 1. Dropping the future leaves the queue.
    pub(crate) async fn take(self: &Arc<FairQueue>, account: &str) -> Option<Permit> {
        self.take_many(account, 1).await
    }

    /// Waits for a turn of this weight; one that is heavier than an account's share takes the whole
    /// share.
    pub(crate) async fn take_many(self: &Arc<FairQueue>, account: &str, weight: usize) -> Option<Permit> {
        let (turn, taken) = oneshot::channel();
        {
            let mut inner = self.lock();
            if !inner.waiting.contains_key(account) {
                inner.order.push_back(account.to_string());
            }
            let request = Request { weight: weight.min(self.each), turn };
            inner.waiting.entry(account.to_string()).or_default().push_back(request);
        }
        self.serve();
        taken.await.ok()
    }

    /// Hands out what turns are free.
    fn serve(self: &Arc<FairQueue>) {
        loop {
            let next = self.lock().next(self);
            let Some((account, Request { weight, turn })) = next else { return };
            // Not under the lock: the turn of a request that has just gone ends here.
            drop(turn.send(Permit { of: self.clone(), account, weight }));
        }
    }

    /// Returns the weight of the turns that are running now.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn running(&self) -> usize {
        self.lock().all
    }

    /// Returns how many requests wait, once the turns that are free have been handed out.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn waiting(self: &Arc<FairQueue>) -> usize {
        self.serve(); // a request that was just made may be before that
        self.lock().waiting.values().map(VecDeque::len).sum()
    }
}

impl Permit {
    /// Gives back what is more than `weight`.
    pub(crate) fn shrink(&mut self, weight: usize) {
        let more = self.weight.saturating_sub(weight);
        if more > 0 {
            self.weight -= more;
            self.of.lock().give_back(&self.account, more);
            self.of.serve();
        }
    }

    /// Grows to `weight`, or to the account's share, if so much is free now; false otherwise.
    pub(crate) fn grow(&mut self, weight: usize) -> bool {
        let more = weight.min(self.of.each).saturating_sub(self.weight);
        if more == 0 {
            return true;
        }
        let mut inner = self.of.lock();
        let has = inner.running.get(&self.account).copied().unwrap_or(0);
        if inner.all + more > self.of.at_once || !self.of.may_have(has, more, inner.all) {
            return false;
        }
        inner.all += more;
        *inner.running.entry(self.account.clone()).or_default() += more;
        drop(inner);
        self.weight += more;
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.lock().give_back(&self.account, self.weight);
        self.of.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::pin::Pin;

    type Waiting = Pin<Box<dyn Future<Output = Option<Permit>>>>;

    fn ask(turns: &Arc<FairQueue>, account: &'static str) -> Waiting {
        let turns = turns.clone();
        let mut waiting: Waiting = Box::pin(async move { turns.take(account).await });
        assert!(waiting.as_mut().now_or_never().is_none(), "it is served later");
        waiting
    }

    fn now(turns: &Arc<FairQueue>, account: &str) -> Permit {
        turns.take(account).now_or_never().flatten().expect("a free turn")
    }

    #[test]
    fn many_requests_of_one_account_delay_another_by_one() {
        let turns = FairQueue::new(2);
        let first = now(&turns, "eve");
        let mut eves: Vec<Waiting> = (0..30).map(|_| ask(&turns, "eve")).collect();
        // One place is never eve's alone: bob has it at once, although thirty came before.
        let bob = now(&turns, "bob");
        let mut again = ask(&turns, "bob");
        drop(bob);
        let bob = again.as_mut().now_or_never().flatten().expect("the account with fewer turns is next");
        drop(first);
        let served: Vec<_> = eves.iter_mut().filter_map(|eve| eve.as_mut().now_or_never()).collect();
        assert_eq!(served.len(), 1, "eve's own turn is free again, and no more");
        drop((bob, served, eves));
        assert_eq!((turns.running(), turns.lock().order.len()), (0, 0));
    }

    #[test]
    fn accounts_are_served_in_turn() {
        let turns = FairQueue::new(1);
        let held = now(&turns, "x");
        let names = ["a", "a", "a", "b", "b", "c"];
        let mut waiting: Vec<(&str, Waiting)> = names.map(|name| (name, ask(&turns, name))).into();
        let mut order = vec![];
        let mut running = Some(held);
        while running.take().is_some() {
            let served = waiting.iter_mut().position(|(name, waiting)| {
                running = waiting.as_mut().now_or_never().flatten();
                running.as_ref().inspect(|_| order.push(*name)).is_some()
            });
            served.map(|at| waiting.remove(at));
        }
        assert_eq!(order, ["a", "b", "c", "a", "b", "a"]);
    }

    #[test]
    fn a_request_that_is_given_up_takes_no_turn() {
        let turns = FairQueue::new(1);
        let held = now(&turns, "a");
        let (gone, mut stays) = (ask(&turns, "b"), ask(&turns, "b"));
        drop(gone);
        drop(held);
        let turn = stays.as_mut().now_or_never().flatten();
        assert!(turn.is_some() && turns.running() == 1);
        // One that is handed a turn and is dropped before it looks gives it back.
        let late = ask(&turns, "c");
        drop(turn);
        assert_eq!(turns.running(), 1);
        drop(late);
        assert_eq!(turns.running(), 0);
    }

    #[test]
    fn the_weight_of_all_turns_and_of_an_account_has_a_bound() {
        let turns = FairQueue::weighted(90, 30);
        let take = |account: &'static str, weight: usize| {
            let turns = turns.clone();
            let mut waiting: Waiting = Box::pin(async move { turns.take_many(account, weight).await });
            let turn = waiting.as_mut().now_or_never().flatten();
            (turn, waiting)
        };
        // Heavier than the share: the whole share. More of the same account waits, others do not.
        let (first, _) = take("eve", 1000);
        let mut first = first.expect("a turn");
        let (second, mut eve) = take("eve", 10);
        assert!(second.is_none() && turns.running() == 30);
        // A second account of the same person has no more than it leaves free, and holds up no
        // other account while it waits.
        let second = take("eve's robot", 30).0.expect("a turn");
        assert!(take("another robot", 16).0.is_none());
        let bob = take("bob", 15).0.expect("a turn");
        assert_eq!(turns.running(), 75);
        drop(second);
        // An account gives back what it does not need, and takes more while there is some.
        first.shrink(5);
        let eve = eve.as_mut().now_or_never().flatten().expect("room");
        assert!(first.grow(15) && !first.grow(60) && !first.grow(30));
        assert_eq!(turns.running(), 15 + 10 + 15);
        drop((bob, eve, first));
        assert_eq!((turns.running(), turns.lock().running.len()), (0, 0));
    }
}
