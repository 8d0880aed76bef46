//! `kill` at the prompt, where a lesson means it for a container: Ropewalk's own processes and the
//! machine's first one are not signalled by a slip.

use super::{Manner, Session};
use crate::line::{self, Line};
use crate::texts::{Lang, Say, problem};
use cluster::Place;
use cluster::control::{Ask, Control};
use lang::charset::eprintln;
use serde_json::Value;
use std::time::Duration;

/// The machine's first process.
const INIT: i32 = 1;
/// kill(2): every process that the caller may signal.
const ALL: i32 = -1;
/// How long a cluster that hangs may hold the line up. After that, its processes are not known.
const STATUS_MAX: Duration = Duration::from_secs(10);

impl Session {
    /// Refuses a line that a person typed and that signals such a process. A line that begins with
    /// `!` runs in any case. Returns whether it was refused.
    pub(super) fn refuses_kill(&self, line: &Line, text: &str) -> bool {
        let Line::Shell(shell) = line else { return false };
        if self.manner != Manner::Terminal || line::is_forced(text) {
            return false;
        }
        let killed = line::killed(shell);
        let needs_own = !killed.is_empty() && !killed.iter().any(|pid| [INIT, ALL].contains(pid));
        let own = if needs_own { self.own_processes() } else { vec![] };
        let refusal = refusal(self.lang(), shell.trim(), &killed, &own, &self.place.name);
        if let Some(text) = &refusal {
            eprintln!("{text}");
        }
        refusal.is_some()
    }

    /// Returns the numbers of this session, the interface around it, and the processes of its
    /// cluster. They are those of this user: a plain user can signal no others.
    fn own_processes(&self) -> Vec<i32> {
        let around = self.frame.as_ref().map(|_| nix::unistd::getppid().as_raw());
        let own = i32::try_from(std::process::id()).ok().into_iter().chain(around);
        let asked = clock::limit(STATUS_MAX, of_cluster(&self.place));
        own.chain(self.handle.block_on(asked).unwrap_or_default()).collect()
    }
}

/// Returns the numbers of the processes that the cluster names in its status; none if it does not
/// answer.
async fn of_cluster(place: &Place) -> Vec<i32> {
    let Ok(mut control) = Control::connect(place).await else { return vec![] };
    let status = control.ask(&Ask::Status).await.unwrap_or_default();
    let named = status["pids"].as_object().into_iter().flat_map(|pids| pids.values());
    let named = named.filter_map(Value::as_i64).filter_map(|pid| i32::try_from(pid).ok());
    named.chain(control.main).collect()
}

/// Returns why a line is not run that signals these processes, and what to type instead. `None`: it
/// may run. Pure.
fn refusal(lang: Lang, text: &str, killed: &[i32], own: &[i32], cluster: &str) -> Option<String> {
    let signals = |pid: &i32| killed.contains(pid);
    let (what, tip) = if signals(&INIT) {
        (lang.say(Say::KillInit, &[text]), lang.say(Say::KillInitTry, &[text]))
    } else if signals(&ALL) {
        (lang.say(Say::KillAll, &[text]), lang.say(Say::KillAllTry, &[text]))
    } else {
        // A negative number is a group of processes (kill(2)); the cluster's lead their own groups.
        let pid = own.iter().find(|pid| signals(pid) || killed.contains(&-**pid))?.to_string();
        (lang.say(Say::KillOwn, &[&pid]), lang.say(Say::KillOwnTry, &[cluster, text]))
    };
    Some(problem(lang, &what, None, Some(&tip)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Flow;
    use cluster::Home;

    fn refused(text: &str, own: &[i32]) -> Option<String> {
        refusal(Lang::En, text, &line::killed(text), own, "main")
    }

    #[test]
    fn only_the_first_process_and_ropewalks_own_are_kept_from_a_slip() {
        let init = refused("kill 1", &[]).expect("the lesson means the pod");
        assert!(init.contains("kubectl exec POD -- kill 1") && init.contains("`!kill 1`"), "{init}");
        let own = refused("kill -9 4711", &[4711]).expect("the cluster would be gone");
        assert!(own.contains("4711") && own.contains("ropewalk down --name main"), "{own}");
        for group in ["kill -9 -4711", "kill -- -4711"] {
            assert!(refused(group, &[4711]).is_some_and(|text| text.contains("4711")), "{group}");
        }
        assert!(refused("kill -9 -1", &[]).is_some_and(|text| text.contains("every process")));
        for text in ["kill 4712", "kill %1", "kill $!", "kill -0 1", "kill -l 1", "kubectl get pods"] {
            assert_eq!(refused(text, &[4711]), None, "{text}");
        }
        let korean = refusal(Lang::Ko, "kill 1", &[1], &[], "main").unwrap_or_default();
        assert!(korean.contains("kubectl exec 파드 -- kill 1"), "{korean}");
    }

    /// The process is this test: it would not come back from the signal.
    #[test]
    fn a_person_at_the_prompt_does_not_end_the_session_by_its_number() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let _inside = runtime.enter();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone());
        let kill = Line::Shell(format!("kill {}", std::process::id()));
        assert!(session.refuses_kill(&kill, "kill"));
        assert!(!session.refuses_kill(&kill, "!kill"), "it is meant");
        assert!(!session.refuses_kill(&Line::Shell("ls 1".into()), "ls 1"));
        let line = format!("kill {}", std::process::id());
        session.tape = Some(std::sync::Arc::default());
        assert_eq!(session.run(&line, &mut crate::script::Script::of([])), Flow::Next);
        assert_eq!(session.last(), 1);
        let noted = session.tape.as_ref().map(|tape| tape.acts().len());
        assert_eq!(noted, Some(0), "a draft with this line would signal the process where it is proved");
        session.manner = Manner::Pipe;
        assert!(!session.refuses_kill(&kill, "kill"), "a script says what it means");
    }
}
