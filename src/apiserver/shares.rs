//! Shares: pools of places of which no user may take all.
//!
//! One client with as many slow requests as there are places would lock out everybody else. So a user takes at most half of a
//! pool; the other half is free for the others. Upstream's priority and fairness queues by flow for the same reason.

use super::user::User;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, and how many each user has.
pub struct Pool {
    all: usize,
    free: Arc<Semaphore>,
    by_user: Mutex<HashMap<String, usize>>,
}

/// Some places of a pool. They are free again when this is dropped.
pub struct Place {
    pool: Arc<Pool>,
    user: String,
    count: usize,
    permit: OwnedSemaphorePermit,
}

/// Whose places they are: whoever authenticated, so that `--as` makes nobody a new user.
fn account(user: &User) -> &str {
    if user.impersonator.is_empty() { &user.name } else { &user.impersonator }
}

impl Pool {
    pub fn new(all: usize) -> Arc<Pool> {
        Arc::new(Pool { all, free: Arc::new(Semaphore::new(all)), by_user: Mutex::default() })
    }

    /// Places that one user may have.
    fn share(&self) -> usize {
        self.all.div_ceil(2)
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    fn count(&self, user: &str, count: usize) -> bool {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        let has = by_user.get(user).copied().unwrap_or(0);
        if has + count > self.share() {
            return false;
        }
        by_user.insert(user.to_string(), has + count);
        true
    }

    fn give_back(&self, user: &str, count: usize) {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has) = by_user.get_mut(user) {
            *has -= count.min(*has);
            if *has == 0 {
                by_user.remove(user);
            }
        }
    }

    /// True if a place for `user` is free now.
    pub fn has_room(&self, user: &User) -> bool {
        let by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        self.free.available_permits() > 0 && by_user.get(account(user)).copied().unwrap_or(0) < self.share()
    }

    /// Takes `count` places; `None` if the pool or the user's share has not so many.
    pub fn take(self: &Arc<Pool>, user: &User, count: usize) -> Option<Place> {
        let permit = self.free.clone().try_acquire_many_owned(u32::try_from(count).ok()?).ok()?;
        let user = account(user);
        self.count(user, count).then(|| Place { pool: self.clone(), user: user.to_string(), count, permit })
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
        if !self.pool.count(&self.user, more) {
            return false;
        }
        self.permit.merge(permit);
        self.count += more;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.give_back(&self.user, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_takes_more_than_half() {
        let pool = Pool::new(8);
        let (bob, eve) = (User::new("bob", &[]), User::new("eve", &[]));
        let as_bob = User { impersonator: "eve".into(), ..bob.clone() };
        let mut held: Vec<Place> = (0..4).map(|_| pool.take(&eve, 1).unwrap()).collect();
        assert!(pool.take(&eve, 1).is_none() && !pool.has_room(&eve));
        assert!(pool.take(&as_bob, 1).is_none(), "impersonation is no new share");
        let mut place = pool.take(&bob, 1).unwrap();
        assert!(place.grow(3) && !place.grow(1) && place.count() == 4);
        assert!(pool.taken() == 8 && !pool.has_room(&User::new("late", &[])));
        held.pop();
        assert!(pool.has_room(&eve) && pool.take(&eve, 2).is_none());
        drop((held, place));
        assert_eq!((pool.taken(), pool.by_user.lock().unwrap().len()), (0, 0));
    }
}
