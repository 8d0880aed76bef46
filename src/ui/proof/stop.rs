//! How a proof is asked to end before it is through.

use lang::charset::eprintln;
use linux::trap;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The error of a proof that was asked to end.
pub(super) const STOPPED: &str = "interrupted";

/// Tells the cases of a proof to end before it is through: on Ctrl-C, SIGTERM, or with its
/// terminal. Every cluster is then ended and cleared away as after its last case.
#[derive(Clone, Default)]
pub(super) struct Stop(CancellationToken);

impl Stop {
    /// Returns whether the proof was asked to end.
    pub(super) fn wanted(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Does the work and hears meanwhile whether to stop, which the work has to heed.
    pub(super) async fn heard_during<T>(&self, work: impl Future<Output = T>) -> T {
        // What the program that started this one ignores stays ignored: `nohup`, and SIGINT in a
        // script's background job.
        let mut signals: Vec<_> = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .into_iter()
            .filter(|kind| !trap::is_ignored(kind.as_raw_value()))
            .filter_map(|kind| signal(kind).ok())
            .collect();
        if signals.is_empty() {
            return work.await;
        }
        let heard = async {
            let _ = futures::future::select_all(signals.iter_mut().map(|s| Box::pin(s.recv()))).await; // which one does not matter
            eprintln!("ropewalk: {STOPPED}; ending the clusters");
            self.0.cancel();
            std::future::pending::<T>().await
        };
        tokio::select! { done = work => done, never = heard => never }
    }

    /// Does the work until its end, or until the proof is asked to end.
    ///
    /// # Errors
    /// Those of the work, or [`STOPPED`].
    pub(super) async fn or<T>(&self, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => Err(STOPPED.into()),
            done = work => done,
        }
    }
}
