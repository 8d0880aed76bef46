//! Removals of files that pods left, one at a time in a node, on a thread that may block.

use crate::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long one removal goes on while others wait.
pub(super) const PART: Duration = Duration::from_secs(1);

/// Removals of one node, of which one goes on at a time.
pub(super) struct Removals(Arc<Semaphore>);

impl Default for Removals {
    fn default() -> Removals {
        Removals(Arc::new(Semaphore::new(1)))
    }
}

impl Removals {
    /// Removes files in portions. Calls `part` with the time at which it has to stop, again and
    /// again, until it returns true. One removal of the node works at a time and they take turns,
    /// so that a large tree does not hold up the small ones. It goes on to its end if the caller is
    /// dropped.
    pub(super) async fn one_by_one(
        &self,
        mut part: impl FnMut(Instant) -> Result<bool, Error> + Send + 'static,
    ) -> Result<(), Error> {
        #[cfg(test)]
        if crate::simulated::is_simulated() {
            // In a simulation files are removed at once, on this thread: when another thread would
            // be done does not follow from the seed.
            while !part(Instant::now() + PART)? {}
            return Ok(());
        }
        let turns = self.0.clone();
        let whole = tokio::spawn(async move {
            loop {
                let turn = turns.clone().acquire_owned().await;
                let one = tokio::task::spawn_blocking(move || {
                    let _turn = turn;
                    let done = part(Instant::now() + PART);
                    (part, done)
                });
                match one.await {
                    Ok((next, Ok(false))) => part = next,
                    Ok((_, done)) => return done.map(drop),
                    Err(_) => return Ok(()), // it panicked, which is logged: the files go at the next start
                }
            }
        });
        whole.await.unwrap_or(Ok(())) // the program is ending
    }
}
