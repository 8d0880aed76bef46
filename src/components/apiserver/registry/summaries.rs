//! What the kubelets said last of the use of their nodes.

use clock::Instant;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A kubelet's figures are asked for again after this time. metrics-server scrapes every 15 s; a
/// learner who starts a load wants to see it sooner.
pub(super) const SCRAPE_EVERY: Duration = Duration::from_secs(5);
/// In real time they are not asked for sooner than this, however fast the cluster's clock runs.
const SCRAPE_LEAST: Duration = Duration::from_secs(1);

/// What the kubelets said last, by node.
#[derive(Default)]
pub(crate) struct Summaries(Mutex<HashMap<String, Arc<Slot>>>);

/// Locked while its kubelet is asked.
type Slot = tokio::sync::Mutex<Option<Scrape>>;

struct Scrape {
    at: Instant,
    /// `None`: the kubelet did not answer.
    summary: Option<Arc<Value>>,
}

impl Summaries {
    /// Returns what the node's kubelet said at most [`SCRAPE_EVERY`] ago; `ask` asks it.
    pub(super) async fn summary_of(
        &self,
        node: &str,
        ask: impl Future<Output = Option<Value>>,
    ) -> Option<Arc<Value>> {
        let slot = self.lock().entry(node.to_string()).or_default().clone();
        let mut last = slot.lock().await;
        if let Some(scrape) = &*last
            && scrape.at.elapsed() < clock::scaled(SCRAPE_EVERY).max(SCRAPE_LEAST)
        {
            return scrape.summary.clone();
        }
        let summary = ask.await.map(Arc::new);
        *last = Some(Scrape { at: Instant::now(), summary: summary.clone() });
        summary
    }

    /// Forgets the nodes that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().retain(|node, _| is_there(node));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A hundred clients ask at once, and again: the kubelet is asked once in a while.
    #[tokio::test(start_paused = true)]
    async fn a_kubelet_is_asked_once_for_all_who_ask() {
        let (summaries, requests) = (Summaries::default(), AtomicUsize::new(0));
        let requests = &requests;
        let ask = |node: &'static str| {
            let answer = async move {
                clock::sleep(Duration::from_millis(100)).await;
                (node != "silent").then(|| json!({"count": requests.fetch_add(1, Ordering::Relaxed)}))
            };
            summaries.summary_of(node, answer)
        };
        for round in 0..3 {
            let all = futures::future::join_all((0..100).map(|_| ask("n1"))).await;
            assert!(all.iter().all(|one| one.as_ref().is_some_and(|s| s["count"] == round)), "{all:?}");
            clock::sleep(SCRAPE_EVERY).await;
        }
        let start = Instant::now();
        assert!(ask("silent").await.is_none() && ask("silent").await.is_none());
        assert_eq!(start.elapsed(), Duration::from_millis(100), "silence is remembered as well");
        summaries.retain(|node| node == "n1");
        assert_eq!(summaries.lock().len(), 1);
    }
}
