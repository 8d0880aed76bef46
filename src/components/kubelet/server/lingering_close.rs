//! The end of a session whose client has not read everything yet.
//!
//! What the kubelet has written may wait for long: `kubectl exec web -- cat log | less` reads when
//! its user turns a page. A connection that is closed meanwhile answers the client's next bytes, a
//! ping say, with a reset, and what waits is lost. So the kubelet ends its own direction only,
//! behind all that was written, and reads on until the client leaves.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// How long the kubelet waits for a client that has read everything to leave. It hears of the end
/// of the connection then: there are clients that read until that. Also how long it waits for ports
/// to take what a client sent before it left.
pub(super) const CLOSING: Duration = Duration::from_secs(5);

/// Ends the kubelet's direction of the connection, and reads and forgets what the client sends
/// until it has left. That takes as long as the client stays, as a command without output would:
/// the API server counts the session as the client's, and ends one on which nothing is said.
pub(super) async fn linger<I: AsyncRead + AsyncWrite>(io: I) {
    let (mut read, mut write) = tokio::io::split(io);
    let mut nowhere = tokio::io::sink();
    // Either may fail: the client is gone.
    let _ = tokio::join!(write.shutdown(), tokio::io::copy(&mut read, &mut nowhere));
}
