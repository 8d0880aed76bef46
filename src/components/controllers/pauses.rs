//! Growing pauses for what fails again and again in one place, as a daemon pod that its node cannot
//! run: without them it would be made and deleted as fast as the API server can. Upstream:
//! `flowcontrol.Backoff`.
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// The first pause, and the longest: the DaemonSet controller's.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));
/// A place where nothing failed for so long begins anew, and is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30 * 60);

/// The last pause of each place, and when it began. Those that are forgotten are removed, so there
/// are as many as places that failed within half an hour.
#[derive(Default)]
pub(crate) struct Pauses(Mutex<BTreeMap<String, (Duration, clock::Instant)>>);

impl Pauses {
    /// Returns what is left of the pause of a place, in the cluster's time. `None`: it is over (or
    /// there was none), and the next one, twice as long, begins now. The first time is free.
    pub(crate) fn begin(&self, place: &str) -> Option<Duration> {
        let now = clock::Instant::now();
        let mut all = self.0.lock();
        all.retain(|_, (_, at)| clock::passed(*at, now) < FORGOTTEN);
        let next = match all.get(place) {
            None => PAUSE.0,
            Some((pause, at)) => {
                if let Some(left) = clock::left(*at, *pause, now) {
                    return Some(left);
                }
                pause.saturating_mul(2).min(PAUSE.1)
            }
        };
        all.insert(place.to_string(), (next, now));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_are_forgotten() {
        let pauses = Pauses::default();
        assert_eq!(pauses.begin("a"), None, "the first time is free");
        assert_eq!(pauses.begin("a"), Some(Duration::from_secs(1)));
        assert_eq!(pauses.begin("b"), None);
        clock::sleep(Duration::from_secs(1)).await;
        assert_eq!(pauses.begin("a"), None);
        assert_eq!(pauses.begin("a"), Some(Duration::from_secs(2)));
        clock::sleep(FORGOTTEN).await;
        assert_eq!(pauses.begin("b"), None);
        assert_eq!(pauses.0.lock().len(), 1);
        assert_eq!(pauses.begin("a"), None);
        assert_eq!(pauses.begin("a"), Some(Duration::from_secs(1)));
    }
}
