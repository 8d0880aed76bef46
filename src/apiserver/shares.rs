//! Shares: pools of places of which no account may take all.
//!
//! One client with as many slow requests as there are places would lock out everybody else. So an account ([`super::flows`])
//! takes at most its share of a pool; the rest is free for the others. Upstream's priority and fairness queues by flow for the
//! same reason.

use super::flows::Flow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, and how many each account has.
pub struct Pool {
    all: usize,
    free: Arc<Semaphore>,
    by_account: Mutex<HashMap<String, usize>>,
}

/// Some places of a pool. They are free again when this is dropped.
pub struct Place {
    pool: Arc<Pool>,
    account: String,
    share: usize,
    count: usize,
    permit: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(all: usize) -> Arc<Pool> {
        Arc::new(Pool { all, free: Arc::new(Semaphore::new(all)), by_account: Mutex::default() })
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Counts `count` more places for an account; false if it would have more than `share`.
    fn count(&self, account: &str, count: usize, share: usize) -> bool {
        let mut by_account = self.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        let has = by_account.get(account).copied().unwrap_or(0);
        if has + count > share {
            return false;
        }
        by_account.insert(account.to_string(), has + count);
        true
    }

    fn give_back(&self, account: &str, count: usize) {
        let mut by_account = self.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has) = by_account.get_mut(account) {
            *has -= count.min(*has);
            if *has == 0 {
                by_account.remove(account);
            }
        }
    }

    /// True if a place for this account is free now.
    pub fn has_room(&self, flow: &Flow) -> bool {
        let by_account = self.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        let has = by_account.get(&flow.account).copied().unwrap_or(0);
        self.free.available_permits() > 0 && has < flow.share(self.all)
    }

    /// Takes `count` places; `None` if the pool or the account's share has not so many.
    pub fn take(self: &Arc<Pool>, flow: &Flow, count: usize) -> Option<Place> {
        let permit = self.free.clone().try_acquire_many_owned(u32::try_from(count).ok()?).ok()?;
        let share = flow.share(self.all);
        let has_place = self.count(&flow.account, count, share);
        has_place.then(|| Place { pool: self.clone(), account: flow.account.clone(), share, count, permit })
    }
}

impl Place {
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes `more` places beside those it has; false if there are not so many.
    pub fn grow(&mut self, more: usize) -> bool {
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
    use super::super::user::User;
    use super::*;

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
        assert!(place.grow(3) && !place.grow(1) && place.count() == 4);
        assert!(pool.taken() == 8 && !pool.has_room(&flow("late")));
        held.pop();
        assert!(pool.has_room(&eve) && pool.take(&eve, 2).is_none());
        drop((held, place));
        assert_eq!((pool.taken(), pool.by_account.lock().unwrap().len()), (0, 0));
    }

    /// An editor of a namespace makes as many ServiceAccounts as it likes; together they have the share of one user.
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
