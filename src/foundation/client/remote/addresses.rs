//! Which of a server's addresses is connected to, as Go's `net.Dialer` chooses it.

use futures::future::{Either, select};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

/// The addresses of the other family are tried beside those of the first after this time (RFC 6555,
/// Go's `fallbackDelay`).
const FALLBACK_AFTER: Duration = Duration::from_millis(300);

/// An address gets at least this much of the time that is left (Go's `saneMinimum`).
const SHARE_MIN: Duration = Duration::from_secs(2);

/// Connects to the first address that accepts, within `limit` of real time. The addresses of the
/// first one's family (IPv4 or IPv6) are tried one after the other, each in an equal share of the
/// time. Those of the other family are tried beside them after [`FALLBACK_AFTER`], or when the
/// first have failed.
///
/// Example: of a server with an IPv6 address at which nothing answers and an IPv4 address, the
/// second is connected to after 300 ms.
///
/// # Errors
/// The first address's: what `connect` says, or that it did not accept in time.
pub(super) async fn connect<T, C>(
    addresses: &[SocketAddr],
    limit: Duration,
    connect: impl Fn(SocketAddr) -> C,
) -> io::Result<T>
where
    C: Future<Output = io::Result<T>>,
{
    let is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == is_ipv4);
    let over = clock::deadline(limit);
    let mut primary = pin!(one_after_another(&first, over, &connect));
    if other.is_empty() {
        return primary.await;
    }
    let fallback = pin!(one_after_another(&other, over, &connect));
    let early = clock::limit(FALLBACK_AFTER, &mut primary).await;
    match early {
        Some(Ok(connection)) => Ok(connection),
        Some(Err(error)) => fallback.await.map_err(|_| error),
        None => match select(primary, fallback).await {
            Either::Left((Ok(connection), _)) | Either::Right((Ok(connection), _)) => Ok(connection),
            Either::Left((Err(error), fallback)) => fallback.await.map_err(|_| error),
            Either::Right((Err(_), primary)) => primary.await,
        },
    }
}

/// Tries the addresses in their order, until one takes the connection.
///
/// # Errors
/// The first address's.
async fn one_after_another<T, C>(
    addresses: &[SocketAddr],
    over: clock::Instant,
    connect: &impl Fn(SocketAddr) -> C,
) -> io::Result<T>
where
    C: Future<Output = io::Result<T>>,
{
    let mut first_error = None;
    let mut untried = addresses.len() as u32;
    for address in addresses {
        let left = over.saturating_duration_since(clock::Instant::now());
        let share = (left / untried).max(SHARE_MIN).min(left);
        untried -= 1;
        let error = match clock::limit(share, connect(*address)).await {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(error)) => error,
            None => io::Error::new(io::ErrorKind::TimedOut, format!("dial tcp {address}: i/o timeout")),
        };
        first_error.get_or_insert(error);
    }
    Err(first_error.unwrap_or_else(|| io::Error::other("dial tcp: missing address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Connects to these addresses. Those that begin with `10.` or `fd00:` answer nothing, those
    /// that end with `9` refuse. Returns which one was connected to, or the error, and after how
    /// many milliseconds.
    async fn connected(addresses: &[&str]) -> (String, u128) {
        let all: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let began = clock::Instant::now();
        let answer = |address: SocketAddr| async move {
            let ip = address.ip().to_string();
            if ip.starts_with("10.") || ip.starts_with("fd00:") {
                std::future::pending::<()>().await;
            }
            match ip.ends_with('9') {
                true => Err(io::Error::other(format!("{ip} refuses"))),
                false => Ok(ip),
            }
        };
        let found = connect(&all, LIMIT, answer).await;
        (found.unwrap_or_else(|error| error.to_string()), began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_answers_nothing_does_not_hide_the_others() {
        let silent = "dial tcp 10.0.0.1:6443: i/o timeout";
        for (addresses, found, after) in [
            (&["[fd00::1]:6443", "192.0.2.1:6443"][..], "192.0.2.1", 300),
            (&["10.0.0.1:6443", "192.0.2.1:6443"], "192.0.2.1", 15_000),
            (&["10.0.0.1:6443"], silent, 30_000),
            (&["10.0.0.1:6443", "10.0.0.2:6443"], silent, 30_000),
            (&["[2001:db8::9]:6443", "192.0.2.1:6443"], "192.0.2.1", 0),
            (&["192.0.2.9:6443", "192.0.2.1:6443"], "192.0.2.1", 0),
            (&["192.0.2.9:6443", "[2001:db8::19]:6443"], "192.0.2.9 refuses", 0),
            (&["10.0.0.1:6443", "[2001:db8::9]:6443"], silent, 30_000),
            (&[], "dial tcp: missing address", 0),
        ] {
            let (outcome, took) = connected(addresses).await;
            assert_eq!(outcome, found, "{addresses:?}");
            assert!(took.abs_diff(after) < 50, "{addresses:?} after {took} ms");
        }
    }
}
