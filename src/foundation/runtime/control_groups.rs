//! Control groups: made, emptied and removed, each with file system work that blocks.

use super::work::{blocking, clean_up};
use linux::cgroup;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;

/// Makes a control group, for which many files are written.
///
/// # Errors
/// `Start`: it cannot be made with these limits.
pub(crate) async fn make_group(
    cgroups: &Arc<dyn cgroup::Backend>,
    id: String,
    limits: cgroup::Limits,
) -> cri::Result<Arc<dyn cgroup::Group>> {
    let cgroups = cgroups.clone();
    let made = blocking(move || cgroups.create(&id, &limits)).await;
    let made = made.map_err(|cause| cri::Error::Io { what: "cannot make a control group".into(), cause })?;
    made.map_err(|e| cri::Error::Start(e.line()))
}

/// Kills every process of a control group, if there is one.
pub(crate) async fn kill_group(group: &Arc<dyn cgroup::Group>) {
    let group = group.clone();
    clean_up(move || drop(group.kill())).await;
}

/// How long a control group that still holds a process is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// Kills what a control group still holds, and removes it. One that is not free in time, because a
/// process in it waits for the kernel or frees gigabytes, is tried again by `crew` until it is
/// gone; the log says so once.
pub(crate) async fn remove_group(group: Arc<dyn cgroup::Group>, crew: &Crew) {
    let attempt = move || {
        let group = group.clone();
        blocking(move || {
            let _ = group.kill(); // there may be no control groups
            group.remove()
        })
    };
    match attempt().await {
        Ok(Ok(())) => return,
        Ok(Err(e)) => tracing::warn!("{}; it is removed once it is free", e.line()),
        Err(e) => tracing::warn!("clean-up failed: {e}"),
    }
    crew.spawn(async move {
        loop {
            clock::pause(AGAIN).await; // cgroup v1 has no event that tells
            if matches!(attempt().await, Ok(Ok(()))) {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A control group whose last process needs some time to end.
    struct Busy {
        kills: AtomicU32,
        removals: AtomicU32,
    }

    /// The removal that succeeds.
    const FREE: u32 = 3;

    impl cgroup::Group for Busy {
        fn entry(&self) -> linux::Result<cgroup::Entry> {
            Ok(cgroup::Entry::default())
        }
        fn usage(&self) -> Option<linux::usage::Usage> {
            None
        }
        fn oom_kills(&self) -> u64 {
            0
        }
        fn kill(&self) -> linux::Result<()> {
            self.kills.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        fn remove(&self) -> linux::Result<()> {
            match self.removals.fetch_add(1, Ordering::SeqCst) + 1 < FREE {
                true => Err(linux::Error::new("the cgroup is busy", std::io::ErrorKind::ResourceBusy)),
                false => Ok(()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_not_free_is_tried_until_it_is_and_its_caller_does_not_wait() {
        let group = Arc::new(Busy { kills: AtomicU32::new(0), removals: AtomicU32::new(0) });
        let count = |number: &AtomicU32| number.load(Ordering::SeqCst);
        let crew = Crew::new("test");
        remove_group(group.clone(), &crew).await;
        assert_eq!((count(&group.kills), count(&group.removals)), (1, 1));
        tokio::time::sleep(AGAIN * 10).await;
        assert_eq!((count(&group.kills), count(&group.removals)), (FREE, FREE), "and not again afterwards");
        remove_group(group.clone(), &crew).await;
        tokio::time::sleep(AGAIN * 10).await;
        assert_eq!(count(&group.removals), FREE + 1, "one that is free is removed at once");
    }
}
