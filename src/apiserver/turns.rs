//! Turns: work of which only so much is done at a time, handed out by account and not by arrival.
//!
//! In one line for everybody, an account with thirty requests would let every other wait for thirty. Here each account has a
//! line of its own. The next turn goes to the account with the fewest turns running, and among these to the one that was
//! served longest ago. Example with two at a time: eve asks five times, then bob once; served are eve, bob, eve, eve, … No account
//! has all turns at once, because work that has begun is not interrupted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

pub struct Turns {
    at_once: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// All turns that are running, and those of each account.
    all: usize,
    running: HashMap<String, usize>,
    /// Bounded by the callers: each waits with a request that has a place of its own.
    waiting: HashMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// Accounts with waiting requests; the one that was served last stands at the end.
    order: VecDeque<String>,
}

/// One turn; dropping it ends it.
pub struct Turn {
    of: Arc<Turns>,
    account: String,
}

impl Inner {
    /// Takes the request that is next, and counts its turn.
    fn next(&mut self, at_once: usize) -> Option<(String, oneshot::Sender<Turn>)> {
        let each = at_once.saturating_sub(1).max(1);
        while self.all < at_once {
            let running = |account: &String| self.running.get(account).copied().unwrap_or(0);
            let accounts = self.order.iter().enumerate().map(|(place, account)| (running(account), place));
            let (_, place) = accounts.filter(|(running, _)| *running < each).min()?;
            let account = self.order.remove(place)?;
            let Some(line) = self.waiting.get_mut(&account) else { continue };
            // A request whose client has gone waits no longer.
            let next = std::iter::from_fn(|| line.pop_front()).find(|request| !request.is_closed());
            match line.is_empty() {
                true => drop(self.waiting.remove(&account)),
                false => self.order.push_back(account.clone()),
            }
            if let Some(request) = next {
                self.all += 1;
                *self.running.entry(account.clone()).or_default() += 1;
                return Some((account, request));
            }
        }
        None
    }
}

impl Turns {
    /// `at_once` turns at a time; one account has all but one of them at most.
    pub fn new(at_once: usize) -> Arc<Turns> {
        Arc::new(Turns { at_once, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn. Dropping the future leaves the line.
    pub async fn take(self: &Arc<Turns>, account: &str) -> Option<Turn> {
        let (request, turn) = oneshot::channel();
        {
            let mut inner = self.lock();
            if !inner.waiting.contains_key(account) {
                inner.order.push_back(account.to_string());
            }
            inner.waiting.entry(account.to_string()).or_default().push_back(request);
        }
        self.serve();
        turn.await.ok()
    }

    /// Hands out what turns are free.
    fn serve(self: &Arc<Turns>) {
        loop {
            let next = self.lock().next(self.at_once);
            let Some((account, request)) = next else { return };
            // Not under the lock: the turn of a request that has just gone ends here.
            drop(request.send(Turn { of: self.clone(), account }));
        }
    }

    /// Turns that are running now.
    #[cfg(test)]
    pub fn running(&self) -> usize {
        self.lock().all
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = self.of.lock();
        inner.all -= 1;
        if let Some(running) = inner.running.get_mut(&self.account) {
            *running -= 1;
            if *running == 0 {
                inner.running.remove(&self.account);
            }
        }
        drop(inner);
        self.of.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::pin::Pin;

    type Waiting = Pin<Box<dyn Future<Output = Option<Turn>>>>;

    fn ask(turns: &Arc<Turns>, account: &'static str) -> Waiting {
        let turns = turns.clone();
        let mut waiting: Waiting = Box::pin(async move { turns.take(account).await });
        assert!(waiting.as_mut().now_or_never().is_none(), "it is served later");
        waiting
    }

    fn now(turns: &Arc<Turns>, account: &str) -> Turn {
        turns.take(account).now_or_never().flatten().expect("a free turn")
    }

    #[test]
    fn many_requests_of_one_account_delay_another_by_one() {
        let turns = Turns::new(2);
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
        let turns = Turns::new(1);
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
        let turns = Turns::new(1);
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
}
