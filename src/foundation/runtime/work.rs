//! Work that blocks, beside the tasks that wait for it.

/// Runs blocking work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)
}

/// Runs blocking work whose failure is logged only: the caller can do nothing about it.
pub(crate) async fn clean_up(work: impl FnOnce() + Send + 'static) {
    if let Err(e) = blocking(work).await {
        tracing::warn!("clean-up failed: {e}");
    }
}
