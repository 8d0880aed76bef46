//! Memory that large writes have left free goes back to the kernel.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use task::Crew;

/// How long the memory of a large write stays with the allocator. Where the free memory is in many
/// pieces, giving it back takes some 60 ms, so many writes share one time.
const WAIT: Duration = Duration::from_secs(1);

/// Whether memory is about to be given back. The allocator belongs to the whole process, and so
/// does this.
static DUE: AtomicBool = AtomicBool::new(false);

/// Nothing is due any more, also if the task was dropped before its time.
struct Due(&'static AtomicBool);

impl Drop for Due {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

/// Has the memory that is free given back to the kernel in a second (see
/// [`linux::usage::release_memory`]). Several hundred megabytes may be left free after a body of
/// less than one, for each thread that had such a body.
pub(crate) fn give_back_soon(crew: &Crew) {
    give_back(crew, &DUE, linux::usage::release_memory);
}

fn give_back(crew: &Crew, due: &'static AtomicBool, release: impl FnOnce() + Send + 'static) {
    if due.swap(true, Relaxed) {
        return;
    }
    let (mark, stop) = (Due(due), crew.token());
    crew.spawn(async move {
        if stop.run_until_cancelled(clock::pause(WAIT)).await.is_none() {
            return;
        }
        // A write that ends from now on has its memory given back the next time.
        drop(mark);
        tokio::task::spawn_blocking(release).await.ok();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn many_large_writes_have_their_memory_given_back_together() {
        static DUE: AtomicBool = AtomicBool::new(false);
        let (sender, mut given_back) = mpsc::channel(8);
        let write = |crew: &Crew| {
            let sender = sender.clone();
            give_back(crew, &DUE, move || sender.try_send(()).expect("room"));
        };
        // What is due ends with its crew, and the next crew is not held back by it.
        let killed = Crew::new("killed");
        write(&killed);
        killed.kill();
        killed.token().cancelled().await;
        let crew = Crew::new("crew");
        for _ in 0..2 {
            (0..5).for_each(|_| write(&crew));
            given_back.recv().await.expect("once");
            clock::pause(2 * WAIT).await;
            assert!(given_back.try_recv().is_err(), "once for all of them");
        }
        // A stop waits for no memory.
        write(&crew);
        crew.stop().await;
        assert!(given_back.try_recv().is_err());
    }
}
