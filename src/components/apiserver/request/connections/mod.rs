//! The connections of a listener: how many each source and each account may have, and which one
//! makes room for another.
//!
//! A connection is a stranger until its client has authenticated on it, by a certificate or by a
//! token. Strangers cost the server as much as others, and any program that reaches the port can
//! make them: a flood of silent connections would keep the learner's own client waiting until each
//! of them times out. So the oldest stranger is closed where a new connection needs its place.
//!
//! Clients that are known could do the same: one pod's token, used from many addresses. So all
//! users together have half of the places, all kubelets a fourth and the addons an eighth; what is
//! left is for strangers, of whom one may be the scheduler, and for the control plane and
//! administrators. Among users, and among kubelets, the account with the most connections makes
//! room for an account with fewer: its oldest idle connection is closed, or its oldest one where
//! none is idle. An account that has as many as any other may only exchange an idle connection of
//! its own for the new one.

use crate::auth::user::User;
use crate::flowcontrol::flow::{Flow, Level};
use crate::request::heads::Heads;
use crate::request::idle::Activity;
use crate::request::sources::Known;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) struct Connections {
    /// Connections of all sources together, at most. One source has three fourths of them, and half
    /// of them as strangers.
    most: usize,
    known: Known,
    inner: Mutex<Inner>,
    /// Notified when a connection has ended.
    ended: Notify,
    /// Memory for heads that have not come whole.
    pub heads: Arc<Heads>,
}

/// Classes of accounts. All accounts of a class share its places.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    /// The control plane and administrators: only the bound of their source holds.
    Own,
    Nodes,
    Addons,
    Users,
}

impl Class {
    fn of(flow: &Flow) -> Class {
        match flow.level {
            Level::Exempt | Level::Control => Class::Own,
            Level::Nodes => Class::Nodes,
            Level::Addons => Class::Addons,
            Level::Users => Class::Users,
        }
    }

    /// Returns the places that all accounts of the class have together.
    fn places(self, most: usize) -> usize {
        match self {
            Class::Own => most,
            Class::Nodes => most.div_ceil(4),
            Class::Addons => most.div_ceil(8),
            Class::Users => most / 2,
        }
    }
}

#[derive(Default)]
struct Inner {
    next: u64,
    sources: HashMap<IpAddr, Source>,
    /// The source and the end of each stranger, by its number: the oldest is the first.
    strangers: BTreeMap<u64, (IpAddr, CancellationToken)>,
    /// The connections whose clients are known, by their numbers.
    settled: HashMap<u64, Settled>,
    /// The numbers of each account's connections: the oldest is the first.
    accounts: HashMap<(Class, String), BTreeSet<u64>>,
    /// The number of connections, without those that are just being closed.
    open: usize,
}

#[derive(Default)]
struct Source {
    open: usize,
    strangers: BTreeSet<u64>,
}

struct Settled {
    source: IpAddr,
    account: (Class, String),
    activity: Arc<Activity>,
    end: CancellationToken,
}

impl Inner {
    /// Makes room for one more connection of a source, if the source or all together have as many
    /// as they may. False: there is no stranger to close for it.
    fn make_room_for_source(&mut self, source: IpAddr, most: usize) -> bool {
        let (open, oldest, strangers) = match self.sources.get(&source) {
            Some(of) => (of.open, of.strangers.first().copied(), of.strangers.len()),
            None => (0, None, 0),
        };
        let is_over = open >= most - most / 4 || strangers >= most.div_ceil(2);
        if is_over && !self.close_stranger(oldest) {
            return false;
        }
        if self.open >= most {
            let oldest = self.strangers.keys().next().copied();
            return self.close_stranger(oldest);
        }
        true
    }

    /// Counts a stranger on its source.
    fn count_stranger(&mut self, source: IpAddr, number: u64, end: CancellationToken) {
        self.open += 1;
        self.strangers.insert(number, (source, end));
        let of = self.sources.entry(source).or_default();
        of.open += 1;
        of.strangers.insert(number);
    }

    /// Takes a connection off the counts of all connections and of its source.
    fn count_out(&mut self, source: IpAddr, number: u64) {
        self.open -= 1;
        if let Some(of) = self.sources.get_mut(&source) {
            of.open -= 1;
            of.strangers.remove(&number);
            if of.open == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Closes a stranger, which then counts no longer. False if the number is that of no stranger.
    fn close_stranger(&mut self, number: Option<u64>) -> bool {
        let Some(number) = number else { return false };
        let Some((source, end)) = self.strangers.remove(&number) else { return false };
        self.count_out(source, number);
        tracing::debug!(%source, "closed the oldest connection that had not said who it is");
        end.cancel();
        true
    }

    /// Takes a known connection off the lists. False if the number is that of none.
    fn unsettle(&mut self, number: u64) -> bool {
        let Some(one) = self.settled.remove(&number) else { return false };
        if let Some(numbers) = self.accounts.get_mut(&one.account) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.accounts.remove(&one.account);
            }
        }
        self.count_out(one.source, number);
        true
    }

    /// Makes room for one more connection of `account`, if its class has as many as it may. False:
    /// there is no room for it.
    fn make_room_for_account(&mut self, account: &(Class, String), places: usize) -> bool {
        let class = account.0;
        let of_class = || self.accounts.iter().filter(|((of, _), _)| *of == class);
        if class == Class::Own || of_class().map(|(_, numbers)| numbers.len()).sum::<usize>() < places {
            return true;
        }
        let has = self.accounts.get(account).map_or(0, BTreeSet::len);
        // The name only makes the choice among equals the same each time.
        let largest = of_class().max_by_key(|((_, name), numbers)| (numbers.len(), name));
        let (gives, numbers) = match largest {
            Some((_, numbers)) if numbers.len() > has => (true, Some(numbers)),
            _ => (false, self.accounts.get(account)),
        };
        let is_idle = |number: &&u64| self.settled.get(number).is_some_and(|one| !one.activity.is_busy());
        let Some(numbers) = numbers else { return false };
        let idle = numbers.iter().find(is_idle);
        let Some(number) = idle.or_else(|| numbers.first().filter(|_| gives)).copied() else { return false };
        if let Some(one) = self.settled.get(&number) {
            tracing::debug!(account = one.account.1, source = %one.source, "closed a connection of the account with the most");
            one.end.cancel();
        }
        self.unsettle(number)
    }
}

/// A connection that counts until it is dropped.
pub(crate) struct Counted {
    of: Arc<Connections>,
    from: SocketAddr,
    /// The address of the client for which a balancer has made the connection.
    client: OnceLock<SocketAddr>,
    number: u64,
    /// The requests on the connection.
    pub activity: Arc<Activity>,
    /// Cancelled when another connection needs the place.
    pub end: CancellationToken,
    is_known: AtomicBool,
    /// The flow of the first user that the client has shown.
    flow: OnceLock<Flow>,
}

impl Connections {
    pub(crate) fn new(most: usize, known: Known) -> Arc<Connections> {
        let heads = Arc::default();
        Arc::new(Connections { most, known, inner: Mutex::default(), ended: Notify::new(), heads })
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// True if one more connection could be admitted, if need be in the place of a stranger.
    fn has_room(&self) -> bool {
        let inner = self.lock();
        inner.open < self.most || !inner.strangers.is_empty()
    }

    /// Waits until one more connection could be admitted. The listener cannot wait for its tasks
    /// alone: an upgraded connection ends with its session, after the task that served it.
    pub(crate) async fn wait_for_room(&self) {
        while !self.has_room() {
            self.ended.notified().await;
        }
    }

    /// Counts one more connection. `None`: its source has as many as it may, and all of them are
    /// known.
    pub(crate) fn admit(self: &Arc<Connections>, from: SocketAddr) -> Option<Counted> {
        let mut inner = self.lock();
        if !inner.make_room_for_source(from.ip(), self.most) {
            return None;
        }
        let (number, end) = (inner.next, CancellationToken::new());
        inner.next += 1;
        inner.count_stranger(from.ip(), number, end.clone());
        Some(Counted {
            of: self.clone(),
            from,
            client: OnceLock::new(),
            number,
            activity: Activity::new(),
            end,
            is_known: AtomicBool::new(false),
            flow: OnceLock::new(),
        })
    }
}

impl Counted {
    /// Returns the client's address and port.
    pub(crate) fn source(&self) -> SocketAddr {
        self.client.get().copied().unwrap_or(self.from)
    }

    /// Counts the connection on its client's address from now on, if a balancer has made it.
    /// Called once the first byte has come, when the balancer has named the client.
    ///
    /// False: that address has as many connections as it may, and all of them are known.
    pub(crate) fn find_client(&self) -> bool {
        let Some(client) = self.of.known.lock().clients.get(&self.from).copied() else { return true };
        let _ = self.client.set(client); // the first one
        let mut inner = self.of.lock();
        // None: it is being closed.
        let Some((source, end)) = inner.strangers.get(&self.number).cloned() else { return true };
        if source == client.ip() {
            return true;
        }
        inner.strangers.remove(&self.number);
        inner.count_out(source, self.number);
        if !inner.make_room_for_source(client.ip(), self.of.most) {
            return false;
        }
        inner.count_stranger(client.ip(), self.number, end);
        true
    }

    /// Returns the flow of the first user that the client has shown; `None` as long as it is a
    /// stranger.
    pub(crate) fn flow(&self) -> Option<&Flow> {
        self.flow.get()
    }

    /// Counts the connection as one of this user, whose credentials its client has shown. Later
    /// requests of other users change nothing.
    ///
    /// False: its account has as many connections as it may, none of them is idle, and this one
    /// stays a stranger.
    pub(crate) fn mark_known(&self, user: &User) -> bool {
        if self.is_known.load(Ordering::Acquire) {
            return true;
        }
        let flow = Flow::of(user);
        let mut inner = self.of.lock();
        if !inner.strangers.contains_key(&self.number) {
            return true; // it is being closed, or another request was quicker
        }
        let account = (Class::of(&flow), flow.account.clone());
        if !inner.make_room_for_account(&account, account.0.places(self.of.most)) {
            tracing::debug!(account = account.1, source = %self.source(), "an account has too many connections");
            return false;
        }
        inner.strangers.remove(&self.number);
        let source = self.source().ip();
        if let Some(of) = inner.sources.get_mut(&source) {
            of.strangers.remove(&self.number);
        }
        inner.accounts.entry(account.clone()).or_default().insert(self.number);
        let (activity, end) = (self.activity.clone(), self.end.clone());
        inner.settled.insert(self.number, Settled { source, account, activity, end });
        let _ = self.flow.set(flow); // the first one, under the lock
        self.is_known.store(true, Ordering::Release);
        self.of.known.lock().add_authenticated(self.from);
        true
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut inner = self.of.lock();
        // A connection that was closed to make room for another one has been counted out already.
        if !inner.unsettle(self.number)
            && let Some((source, _)) = inner.strangers.remove(&self.number)
        {
            inner.count_out(source, self.number);
        }
        drop(inner);
        if self.is_known.load(Ordering::Acquire) {
            self.of.known.lock().remove_authenticated(self.from);
        }
        self.of.ended.notify_one();
    }
}

#[cfg(test)]
mod tests;
