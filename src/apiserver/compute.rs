//! Work on large objects, off the threads that serve everything else.
//!
//! To decode, patch and validate an object of some megabytes takes a processor for parts of a second. On one of the runtime's
//! threads, of which there are as many as processors, that would hold up health checks, leases and watches. So a request with
//! much to work on runs on a thread of its own, and few of these run at a time.

use super::shares::Pool;
use super::user::User;
use crate::api::Status;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's body, and of the object that it changes, up to which it is worked on where it is.
pub const LARGE: usize = 64 << 10;
/// Large requests of users that are worked on at a time.
const AT_ONCE: usize = 4;
/// Those of the cluster's own components: no user's requests hold them up.
const OF_COMPONENTS: usize = 4;
/// Large requests of users that wait or are worked on.
const WAITING: usize = 64;

pub struct Compute {
    users: Arc<Semaphore>,
    components: Arc<Semaphore>,
    waiting: Arc<Pool>,
}

impl Default for Compute {
    fn default() -> Compute {
        Compute {
            users: Arc::new(Semaphore::new(AT_ONCE)),
            components: Arc::new(Semaphore::new(OF_COMPONENTS)),
            waiting: Pool::new(WAITING),
        }
    }
}

impl Compute {
    /// Runs `work` on `bytes` bytes: here if they are few, on a thread of its own otherwise. There it ends at the latest when
    /// `stop` is cancelled, even if its client has gone.
    ///
    /// # Errors
    /// Those of `work`; 429 if too many large requests wait, or too many of this user's; 503 when the server stops.
    pub async fn run<T: Send + 'static>(
        &self,
        user: &User,
        bytes: usize,
        stop: CancellationToken,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        if bytes <= LARGE {
            return work.await;
        }
        let (places, waiting) = match user.is_component() {
            true => (&self.components, None),
            false => (&self.users, Some(self.waiting.take(user, 1).ok_or_else(super::bounds::too_many)?)),
        };
        let stopped = || Status::unavailable("the server is stopping");
        let place = places.clone().acquire_owned().await.map_err(|_| stopped())?;
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || {
            let done = runtime.block_on(stop.run_until_cancelled(work));
            drop((place, waiting));
            done
        });
        match done.await {
            Ok(done) => done.unwrap_or_else(|| Err(stopped())),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(stopped()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

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
        let bobs: Vec<_> = (0..WAITING / 2).map(|_| run(bob())).collect();
        while compute.waiting.taken() < WAITING / 2 || compute.users.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(run(bob()).await.unwrap().unwrap_err().code, 429);
        let scheduler = User::new("system:kube-scheduler", &[]);
        let own = compute.run(&scheduler, LARGE + 1, CancellationToken::new(), async { Ok(1) });
        assert_eq!(own.await.unwrap(), 1);
        stop.cancel();
        for one in bobs {
            assert_eq!(one.await.unwrap().unwrap_err().code, 503);
        }
        assert_eq!(compute.waiting.taken(), 0);
    }
}
