//! Turns at the zygote. It works on one request at a time, for all pods of all nodes, so waiting
//! requests are served round robin by pod: a pod with many exec probes, or with many users of
//! `kubectl exec`, delays another pod's request by one request and not by all of its own.

use cri::{Error, Result};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Processes of `exec` in one pod that wait for their turn or do not run their program yet, at
/// most.
const EXECS_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Turns(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// The zygote works on a request.
    busy: bool,
    /// By pod, in the order of their turns. None is empty.
    waiting: VecDeque<(String, VecDeque<oneshot::Sender<Turn>>)>,
    /// By pod: what [`EXECS_MAX`] bounds.
    execs: BTreeMap<String, usize>,
}

impl Queue {
    /// Takes the request whose turn it is. Its pod's next one has to wait until every other pod had
    /// a turn.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some((pod, mut requests)) = self.waiting.pop_front() {
            let next = std::iter::from_fn(|| requests.pop_front()).find(|request| !request.is_closed());
            if !requests.is_empty() {
                self.waiting.push_back((pod, requests));
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    fn wait(&mut self, pod: &str) -> oneshot::Receiver<Turn> {
        let (request, turn) = oneshot::channel();
        match self.waiting.iter_mut().find(|(known, _)| known == pod) {
            Some((_, requests)) => requests.push_back(request),
            None => self.waiting.push_back((pod.to_string(), VecDeque::from([request]))),
        }
        turn
    }
}

/// The zygote works on this request until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turns")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut queue = self.0.lock();
            let next = queue.next();
            queue.busy = next.is_some();
            next
        };
        if let Some(request) = next {
            // If its caller is gone since, the turn is dropped there, and so handed on.
            let _ = request.send(Turn(self.0.clone()));
        }
    }
}

/// A process of `exec` that does not run its program yet.
#[derive(Debug)]
pub(crate) struct Exec {
    turns: Arc<Turns>,
    pod: String,
}

impl Drop for Exec {
    fn drop(&mut self) {
        let mut queue = self.turns.lock();
        if let Some(count) = queue.execs.get_mut(&self.pod) {
            *count -= 1;
            if *count == 0 {
                queue.execs.remove(&self.pod);
            }
        }
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock()
    }

    /// Counts a process of `exec` in this pod.
    ///
    /// # Errors
    /// `State`: the pod has [`EXECS_MAX`] of them.
    pub(crate) fn exec(self: &Arc<Self>, pod: &str) -> Result<Exec> {
        let mut queue = self.lock();
        let count = queue.execs.entry(pod.to_string()).or_default();
        if *count >= EXECS_MAX {
            let what = format!(
                "{EXECS_MAX} commands are being started in this pod; wait until some of them run, and use fewer exec probes"
            );
            return Err(Error::State(what));
        }
        *count += 1;
        Ok(Exec { turns: self.clone(), pod: pod.to_string() })
    }

    /// Waits until it is the turn of a request for this pod.
    pub(crate) async fn turn(self: &Arc<Self>, pod: &str) -> Turn {
        loop {
            let turn = {
                let mut queue = self.lock();
                if !queue.busy {
                    queue.busy = true;
                    return Turn(self.clone());
                }
                queue.wait(pod)
            };
            // The queue drops a request only when its caller is gone.
            if let Ok(turn) = turn.await {
                return turn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::BoxFuture;

    /// Requests that wait, with the names of their pods.
    fn waiting(turns: &Arc<Turns>, pods: &[&'static str]) -> Vec<(&'static str, BoxFuture<'static, Turn>)> {
        let one = |pod: &&'static str| {
            let (turns, pod) = (turns.clone(), *pod);
            let mut turn = async move { turns.turn(pod).await }.boxed();
            assert!((&mut turn).now_or_never().is_none(), "the zygote is busy");
            (pod, turn)
        };
        pods.iter().map(one).collect()
    }

    /// Returns the pods in the order in which the zygote worked for them.
    fn served(mut waiting: Vec<(&'static str, BoxFuture<'static, Turn>)>, first: Turn) -> Vec<&'static str> {
        let mut order = Vec::new();
        let mut going = Some(first);
        while going.take().is_some() {
            let ready = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, turn))| turn.now_or_never().map(|turn| (at, turn)));
            if let Some((at, turn)) = ready {
                order.push(waiting.remove(at).0);
                going = Some(turn);
            }
        }
        assert!(waiting.is_empty(), "some wait for ever");
        order
    }

    #[tokio::test]
    async fn a_pod_with_many_execs_delays_another_pods_by_one() {
        let turns = Arc::new(Turns::default());
        let first = turns.turn("many").await;
        let requests = waiting(&turns, &["many", "many", "many", "many", "one", "two", "two"]);
        assert_eq!(served(requests, first), ["many", "one", "two", "many", "two", "many", "many"]);
        assert!(turns.turn("one").now_or_never().is_some(), "the zygote is free again");
    }

    #[tokio::test]
    async fn a_turn_of_a_caller_that_is_gone_is_handed_on() {
        let turns = Arc::new(Turns::default());
        let first = turns.turn("a").await;
        let mut requests = waiting(&turns, &["a", "b", "c"]);
        drop(requests.remove(0)); // before its turn
        drop(first); // b has the turn now, and has not seen it
        drop(requests.remove(0));
        let (_, turn) = requests.remove(0);
        assert!(turn.now_or_never().is_some(), "the turn is lost with its caller");
    }

    #[tokio::test]
    async fn execs_that_do_not_run_yet_have_a_bound_for_each_pod() {
        let turns = Arc::new(Turns::default());
        let mut held: Vec<Exec> = (0..EXECS_MAX).map(|_| turns.exec("many").unwrap()).collect();
        let refused = turns.exec("many").unwrap_err().to_string();
        assert!(refused.contains("64 commands are being started"), "{refused}");
        assert!(turns.exec("other").is_ok());
        held.pop();
        assert!(turns.exec("many").is_ok());
        held.clear();
        assert!(turns.lock().execs.is_empty(), "what is remembered of a pod goes with its last process");
    }
}
