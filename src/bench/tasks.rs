//! Work that waits: on which threads it runs, and how long a round waits for its clients.

use anyhow::Context;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the clients of a round wait for their last answers when the round is over.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// Runs a part that waits, on a thread for each processor: on a machine that has many, the figures
/// of 64 clients on two threads would be the clients' own.
///
/// # Errors
/// Those of the work, or no thread can be started.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let threads = std::thread::available_parallelism().map_or(2, |processors| processors.get().max(2));
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    tokio.context("cannot start")?.block_on(work)
}

/// Waits for the clients of a round that takes `time`, and returns what each of them has done. A
/// connection has no limit of its own: a server that stops answering would be waited for without
/// end.
///
/// # Errors
/// The first error of a client, or a client has no answer [`LAST_ANSWERS`] after the round.
pub(super) async fn join_clients<T: 'static>(
    mut clients: JoinSet<anyhow::Result<T>>,
    time: Duration,
) -> anyhow::Result<Vec<T>> {
    let all = async {
        let mut results = Vec::new();
        while let Some(client) = clients.join_next().await {
            results.push(client??);
        }
        anyhow::Ok(results)
    };
    let joined = clock::limit(time.saturating_add(LAST_ANSWERS), all).await;
    joined.with_context(|| format!("a server gave no answer for {} s", LAST_ANSWERS.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_answering_is_given_up() {
        let mut clients = JoinSet::new();
        clients.spawn(async { anyhow::Ok(1) });
        clients.spawn(std::future::pending());
        let round = join_clients(clients, Duration::from_secs(2));
        let ended = clock::limit(10 * LAST_ANSWERS, round).await.expect("an end");
        assert_eq!(ended.unwrap_err().to_string(), "a server gave no answer for 30 s");
        let mut clients = JoinSet::new();
        clients.spawn(async { anyhow::Ok(1) });
        assert_eq!(join_clients(clients, Duration::ZERO).await.unwrap(), [1]);
    }

    #[test]
    fn clients_may_use_every_processor() {
        let threads = block_on(async { Ok(tokio::runtime::Handle::current().metrics().num_workers()) });
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(threads.unwrap(), processors.max(2));
    }
}
