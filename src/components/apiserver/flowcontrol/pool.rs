//! Shares: pools of places of which no account may take all.
//!
//! One client with as many slow requests as there are places would lock out all others. So an
//! account ([`super::flow`]) takes at most its share of a pool, and never more than it leaves
//! free. Upstream's priority and fairness queues by flow for the same reason.
//!
//! The second rule is for a person with several accounts: the editor of a namespace has one of its
//! own and that of the namespace's ServiceAccounts. Shares alone would add up to the whole pool.
//! Example with 90 places: one account gets 45. Two accounts that take all they can get 45 and then
//! 22, or 30 each, and 23 to 30 places stay free: an account that has none always gets one, however
//! many others there are. (Switches share their buffers by the same rule: A. K. Choudhury, E. L.
//! Hahne, "Dynamic queue length thresholds in a shared memory packet switch", 1998.)

use crate::flowcontrol::flow::Flow;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, and how many each account has.
pub(crate) struct Pool {
    all: usize,
    free: Arc<Semaphore>,
    by_account: Mutex<HashMap<String, usize>>,
}

/// Some places of a pool. They are free again when this is dropped.
pub(crate) struct Place {
    pool: Arc<Pool>,
    account: String,
    share: usize,
    count: usize,
    permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(all: usize) -> Arc<Pool> {
        Arc::new(Pool { all, free: Arc::new(Semaphore::new(all)), by_account: Mutex::default() })
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Returns whether an account may have `wants` places if `free` are left then. An account whose
    /// share is the whole pool is alone there.
    fn may_have(&self, wants: usize, share: usize, free: usize) -> bool {
        wants <= share && (share >= self.all || wants <= free)
    }

    /// Counts `count` more places for an account, which have been taken from the free ones; false
    /// if it may not have so many.
    fn count(&self, account: &str, count: usize, share: usize) -> bool {
        let mut by_account = self.by_account.lock();
        let has = by_account.get(account).copied().unwrap_or(0);
        if !self.may_have(has + count, share, self.free.available_permits()) {
            return false;
        }
        by_account.insert(account.to_string(), has + count);
        true
    }

    fn give_back(&self, account: &str, count: usize) {
        let mut by_account = self.by_account.lock();
        if let Some(has) = by_account.get_mut(account) {
            *has -= count.min(*has);
            if *has == 0 {
                by_account.remove(account);
            }
        }
    }

    /// True if a place for this account is free now.
    pub(crate) fn has_room(&self, flow: &Flow) -> bool {
        let by_account = self.by_account.lock();
        let has = by_account.get(&flow.account).copied().unwrap_or(0);
        let left = self.free.available_permits().checked_sub(1);
        left.is_some_and(|left| self.may_have(has + 1, flow.share(self.all), left))
    }

    /// Takes `count` places; `None` if the pool or the account's share has not so many.
    pub(crate) fn take(self: &Arc<Pool>, flow: &Flow, count: usize) -> Option<Place> {
        let permit = self.free.clone().try_acquire_many_owned(u32::try_from(count).ok()?).ok()?;
        let share = flow.share(self.all);
        let has_place = self.count(&flow.account, count, share);
        has_place.then(|| Place { pool: self.clone(), account: flow.account.clone(), share, count, permit })
    }
}

impl Place {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Takes `more` places beside those it has; false if there are not so many.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let Ok(number) = u32::try_from(more) else { return false };
        let Ok(permit) = self.pool.free.clone().try_acquire_many_owned(number) else { return false };
        if !self.pool.count(&self.account, more, self.share) {
            return false;
        }
        self.permit.merge(permit);
        self.count += more;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.give_back(&self.account, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::User;

    #[test]
    fn no_user_takes_more_than_half() {
        let pool = Pool::new(8);
        let flow = |name: &str| Flow::of(&User::new(name, &[]));
        let (bob, eve) = (flow("bob"), flow("eve"));
        let as_bob = Flow::of(&User { impersonator: "eve".into(), ..User::new("bob", &[]) });
        let mut held: Vec<Place> = (0..4).map(|_| pool.take(&eve, 1).unwrap()).collect();
        assert!(pool.take(&eve, 1).is_none() && !pool.has_room(&eve));
        assert!(pool.take(&as_bob, 1).is_none(), "impersonation is no new share");
        let mut place = pool.take(&bob, 1).unwrap();
        assert!(place.grow(1) && !place.grow(1) && place.count() == 2);
        assert!(pool.take(&flow("late"), 1).is_some(), "there is one for whoever comes late");
        held.truncate(1);
        assert!(pool.has_room(&eve) && pool.take(&eve, 3).is_none() && pool.take(&eve, 1).is_some());
        drop((held, place));
        assert_eq!((pool.taken(), pool.by_account.lock().len()), (0, 0));
    }

    /// The editor of a namespace uses its own account and that of the ServiceAccounts there, and of
    /// more namespaces: others get places.
    #[test]
    fn accounts_of_one_person_do_not_add_up_to_the_pool() {
        let flows: Vec<Flow> = [User::new("eve", &[])]
            .into_iter()
            .chain(["shop", "dev", "test"].map(|namespace| User::service_account(namespace, "default")))
            .map(|user| Flow::of(&user))
            .collect();
        for accounts in 1..=flows.len() {
            let pool = Pool::new(60);
            let mut held = vec![];
            for flow in flows.iter().take(accounts).cycle().take(60 * accounts) {
                held.extend(pool.take(flow, 1));
            }
            assert_eq!(held.len(), 60 / (accounts + 1) * accounts, "{accounts} accounts");
            let bob = Flow::of(&User::new("bob", &[]));
            let bobs = (0..60).map_while(|_| pool.take(&bob, 1)).collect::<Vec<_>>().len();
            assert_eq!(bobs, 60 / (accounts + 1) / 2, "{accounts} accounts");
        }
    }

    /// An editor of a namespace makes as many ServiceAccounts as it likes; together they have the
    /// share of one user.
    #[test]
    fn the_service_accounts_of_a_namespace_share_one_share() {
        let pool = Pool::new(8);
        let of = |namespace: &str, name: &str| Flow::of(&User::service_account(namespace, name));
        let held: Vec<Place> =
            (0..8).map_while(|n| pool.take(&of("shop", &format!("robot-{n}")), 1)).collect();
        assert_eq!(held.len(), 4);
        assert!(pool.take(&of("other", "default"), 1).is_some());
        assert!(pool.take(&Flow::of(&User::anonymous()), 1).is_some());
        assert!(pool.take(&Flow::of(&User::anonymous()), 2).is_none(), "nobody has an eighth");
    }
}
