//! What the setup of the open lab broke with `fault` ends with the cluster's process. After the
//! next start it is broken once more, and the lab goes on when its symptom shows.

use super::standing::NETWORK_EVERY;
use super::start::SYMPTOM_MAX;
use super::way_back::mending;
use super::{Current, LabRun};
use crate::blocking::in_place;
use crate::cel::Expr;
use clock::Instant;
use cluster::faults::{Broken, Fault};
use cluster::guest::{Inside, LessonScope};
use std::time::Duration;

/// A start waits for all nodes, so they come first. A node that does not come is waited for so long
/// only: the learner may have broken it in another way.
const NODES_MAX: Duration = Duration::from_secs(120);
/// The line that fails as long as a node is not Ready.
const NODES: &str = "kubectl wait node --all --for=condition=Ready --timeout=1s";

/// How far the faults of the open lab are broken once more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum FaultsAgain {
    /// The faults were not looked at yet.
    #[default]
    Unknown,
    /// The nodes are not all Ready yet, since then.
    Starts(Instant),
    /// It is broken, and the symptom has to show until then.
    Broken(Instant),
    Done,
}

/// The faults that are not in force any more.
fn ended<'a>(lasting: &'a [Fault], broken: &[Broken]) -> Vec<&'a Fault> {
    lasting.iter().filter(|fault| mending(std::slice::from_ref(*fault), broken).is_empty()).collect()
}

impl LabRun {
    /// After a start of the cluster, makes the faults of the lab's setup once more that were not
    /// mended. False: not yet; ask again.
    ///
    /// # Errors
    /// The cluster does not say what is broken.
    pub(super) async fn is_broken_again(&self, current: &Current) -> Result<bool, String> {
        let stage = *self.again.lock();
        let next = match stage {
            FaultsAgain::Done => return Ok(true),
            // There was nothing, or the learner has just mended it.
            _ if current.open.broken.is_empty() => FaultsAgain::Done,
            FaultsAgain::Unknown => self.break_again(current, Instant::now()).await?,
            FaultsAgain::Starts(since) => self.break_again(current, since).await?,
            FaultsAgain::Broken(until) => match Instant::now() >= until || self.shows(current) {
                true => FaultsAgain::Done,
                false => stage,
            },
        };
        *self.again.lock() = next;
        Ok(matches!(next, FaultsAgain::Done))
    }

    /// Breaks what is not broken any more, once all nodes are Ready. `since`: when that was first
    /// tried.
    async fn break_again(&self, current: &Current, since: Instant) -> Result<FaultsAgain, String> {
        let scope = LessonScope::default();
        let are_ready = self.teacher.play(&[NODES.to_string()], &scope).await.is_ok();
        if !are_ready && since.elapsed() < NODES_MAX {
            return Ok(FaultsAgain::Starts(since));
        }
        let broken = serde_json::from_value::<Vec<Broken>>(self.host.inside(&Inside::Faults).await?);
        let broken = broken.map_err(|error| error.to_string())?;
        let lines: Vec<String> =
            ended(&current.open.broken, &broken).iter().map(|fault| format!("fault {fault}")).collect();
        self.world.know().breaking = true;
        let played = self.teacher.play(&lines, &scope).await;
        self.world.read(self.host.tap());
        self.world.know().breaking = false;
        if let Err(error) = played {
            // For example a cluster that was started with fewer nodes.
            tracing::warn!(error = super::chain_text(&error), "a lab's fault cannot be put back");
            return Ok(FaultsAgain::Done);
        }
        Ok(FaultsAgain::Broken(Instant::now() + SYMPTOM_MAX))
    }

    /// Returns whether the symptom of the lab shows.
    fn shows(&self, current: &Current) -> bool {
        let frame = current.frame();
        let is_so = |expr: &Expr| in_place(|| self.world.truth(expr, &frame, NETWORK_EVERY)) == Some(true);
        current.lab.ready_when.as_ref().is_none_or(is_so)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_broken_is_not_broken_twice() {
        let fault =
            |line: &str| Fault::parse(&line.split(' ').map(String::from).collect::<Vec<_>>()).unwrap();
        let lasting = [fault("node crash n2"), fault("cut n3 n1"), fault("stop kube-scheduler")];
        let lines = |broken: &[Broken]| {
            let ended = ended(&lasting, broken).into_iter().map(ToString::to_string);
            ended.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(lines(&[]), "node crash n2, cut n3 n1, stop kube-scheduler");
        let off = Broken {
            fault: "crashed".into(),
            component: None,
            nodes: vec!["n2".into()],
            amount: None,
            since: clock::Timestamp::UNIX_EPOCH,
        };
        assert_eq!(lines(&[off]), "cut n3 n1, stop kube-scheduler");
    }
}
