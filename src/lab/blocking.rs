//! Work that keeps a thread busy, beside the requests that wait for the same thread.

/// Does work that takes its time. Requests that wait for this worker thread of the runtime go on
/// elsewhere meanwhile.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    /// The only worker thread is in the work, and the work waits for another task.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_work_takes_its_time() {
        let (told, reports) = mpsc::channel();
        let limit = Duration::from_secs(60);
        let work = tokio::spawn(async move {
            tokio::spawn(async move { told.send(()) });
            in_place(|| reports.recv_timeout(limit).is_ok())
        });
        assert!(work.await.unwrap());
    }
}
