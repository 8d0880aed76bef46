//! The jobs of a shell: its children, with their numbers and exits.

mod children;
mod ids;

use linux::process::Exit;
use std::collections::VecDeque;

/// Ended background jobs are forgotten beyond this, and as many that were waited for.
const ENDED_MAX: usize = 1024;

#[derive(Clone, Debug)]
struct Job {
    /// `%1`: given when it starts, and its own until it is forgotten.
    number: usize,
    /// Its processes in the order of the pipeline, each with its exit once that is known. The last
    /// one is `$!`.
    members: Vec<(i32, Option<Exit>)>,
    /// `pipefail` was on: the last exit that is a failure counts.
    pipefail: bool,
    /// The command as it was written; empty for one in the foreground.
    command: String,
}

impl Job {
    fn pid(&self) -> i32 {
        self.members.last().map_or(0, |(pid, _)| *pid)
    }

    /// Returns the exit, once all processes have ended.
    fn exit(&self) -> Option<Exit> {
        let exits = self.members.iter().map(|(_, exit)| *exit).collect::<Option<Vec<_>>>()?;
        let failed = exits.iter().rev().find(|exit| exit.code() != 0).filter(|_| self.pipefail);
        failed.or(exits.last()).copied()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    /// Children in the order of their start.
    list: Vec<Job>,
    /// Background jobs that were waited for: a script may ask for the status of its `$!` again. The
    /// oldest come first.
    waited: VecDeque<(i32, Exit)>,
}

impl Jobs {
    pub(super) fn add(&mut self, pid: i32) {
        self.add_command(&[pid], false, String::new());
    }

    /// Adds a command of one process or, for a pipeline, of several.
    pub(super) fn add_command(&mut self, pids: &[i32], pipefail: bool, command: String) {
        // An earlier child of this number has ended: the kernel gives numbers again.
        self.list.retain(|job| !pids.contains(&job.pid()));
        self.waited.retain(|(pid, _)| !pids.contains(pid));
        let number = self.list.iter().map(|job| job.number).max().unwrap_or(0) + 1;
        let members = pids.iter().map(|pid| (*pid, None)).collect();
        self.list.push(Job { number, members, pipefail, command });
        let ended = self.list.iter().filter(|job| job.exit().is_some()).count();
        if ended > ENDED_MAX
            && let Some(oldest) = self.list.iter().position(|job| job.exit().is_some())
        {
            self.list.remove(oldest);
        }
    }

    /// Notes an exit; a stranger's (an orphan given to pid 1) belongs to no job.
    fn ended(&mut self, pid: i32, exit: Exit) {
        let mut members = self.list.iter_mut().flat_map(|job| &mut job.members);
        if let Some((_, known)) = members.find(|(member, known)| *member == pid && known.is_none()) {
            *known = Some(exit);
        }
    }

    /// Returns the exit of an ended child, which is no job any more then; `Err` if there is no such
    /// child.
    fn take(&mut self, pid: i32) -> Result<Option<Exit>, ()> {
        let Some(at) = self.list.iter().position(|job| job.pid() == pid) else {
            let known = self.waited.iter().find(|(waited, _)| *waited == pid);
            return known.map(|(_, exit)| Some(*exit)).ok_or(());
        };
        let exit = self.list[at].exit();
        if exit.is_some() {
            let job = self.list.remove(at);
            self.keep_exit(&job);
        }
        Ok(exit)
    }

    /// Takes the first job of `wanted` (empty: of all jobs) that has ended, as [`Jobs::take`] does;
    /// `Err` if there is no such job.
    pub(super) fn take_next(&mut self, wanted: &[i32]) -> Result<Option<Exit>, ()> {
        let is_wanted = |job: &&Job| wanted.is_empty() || wanted.contains(&job.pid());
        let mut known = self.list.iter().filter(is_wanted).peekable();
        known.peek().ok_or(())?;
        let ended = known.find(|job| job.exit().is_some()).map(Job::pid);
        ended.map_or(Ok(None), |pid| self.take(pid))
    }

    /// Keeps the exit of a background job for another `wait`.
    fn keep_exit(&mut self, job: &Job) {
        if let Some(exit) = job.exit()
            && !job.command.is_empty()
        {
            self.waited.push_back((job.pid(), exit));
            if self.waited.len() > ENDED_MAX {
                self.waited.pop_front();
            }
        }
    }

    /// Ends all jobs: each has been waited for.
    fn take_all(&mut self) {
        for job in std::mem::take(&mut self.list) {
            self.keep_exit(&job);
        }
    }

    fn all_ended(&self) -> bool {
        self.list.iter().all(|job| job.exit().is_some())
    }

    /// Forgets all: the children of the shell are not those of its subshell.
    pub(super) fn clear(&mut self) {
        *self = Jobs::default();
    }

    /// Returns the child that a script names: by its pid, or `%1` for the first job.
    pub(super) fn named(&self, name: &str) -> Option<i32> {
        match name.strip_prefix('%') {
            Some(job) => self.job(job).map(Job::pid),
            None => name.parse().ok(),
        }
    }

    /// Returns what `kill` ends: the process of that number, or all processes of a job that still
    /// run.
    pub(super) fn targets(&self, name: &str) -> Option<Vec<i32>> {
        match name.strip_prefix('%') {
            Some(job) => {
                let running = self.job(job)?.members.iter().filter(|(_, exit)| exit.is_none());
                Some(running.map(|(pid, _)| *pid).collect())
            }
            None => Some(vec![name.parse().ok()?]),
        }
    }

    /// Returns the numbers of the jobs that `names` mean, as `%1` or by `$!`; of all jobs if there
    /// are none.
    ///
    /// # Errors
    /// The first name that means no job.
    pub(super) fn select<'a>(&self, names: &'a [String]) -> Result<Vec<usize>, &'a str> {
        if names.is_empty() {
            return Ok(self.list.iter().map(|job| job.number).collect());
        }
        let number = |name: &'a String| {
            let pid = self.named(name).ok_or(name.as_str())?;
            self.list.iter().find(|job| job.pid() == pid).map(|job| job.number).ok_or(name.as_str())
        };
        names.iter().map(number).collect()
    }

    /// Returns the jobs of these numbers.
    fn numbered<'a>(&'a self, numbers: &'a [usize]) -> impl Iterator<Item = &'a Job> {
        numbers.iter().filter_map(|number| self.list.iter().find(|job| job.number == *number))
    }

    /// Forgets those of these jobs that have ended: `jobs` has listed them.
    pub(super) fn forget_ended(&mut self, numbers: &[usize]) {
        self.list.retain(|job| job.exit().is_none() || !numbers.contains(&job.number));
    }

    /// Returns what `jobs -p` prints: the first process of each of these jobs.
    pub(super) fn pids(&self, numbers: &[usize]) -> String {
        let first = self.numbered(numbers).filter_map(|job| job.members.first());
        first.map(|(pid, _)| format!("{pid}\n")).collect()
    }

    /// Returns what `jobs` prints of these jobs.
    pub(super) fn describe(&self, numbers: &[usize]) -> String {
        let line = |job: &Job| {
            let state = match job.exit() {
                None => "Running".to_string(),
                Some(Exit::Code(0)) => "Done".to_string(),
                Some(exit) => format!("Done({})", exit.code()),
            };
            format!("[{}] {} {state:<10} {}", job.number, job.pid(), job.command).trim_end().to_string()
                + "\n"
        };
        self.numbered(numbers).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_kept_until_a_wait_takes_it() {
        let mut jobs = Jobs::default();
        jobs.add(10);
        jobs.add(20);
        jobs.ended(20, Exit::Signal(15));
        jobs.ended(99, Exit::Code(0));
        assert_eq!((jobs.take(10), jobs.named("%2")), (Ok(None), Some(20)));
        assert_eq!(jobs.take(20).map(|e| e.map(Exit::code)), Ok(Some(143)));
        assert_eq!((jobs.take(20), jobs.take(99)), (Err(()), Err(())));
    }

    #[test]
    fn a_background_job_may_be_waited_for_twice() {
        let mut jobs = Jobs::default();
        for pid in [10, 20, 30] {
            jobs.add_command(&[pid], false, "c".into());
            jobs.ended(pid, Exit::Code(pid));
        }
        assert_eq!((jobs.take(10), jobs.take(10)), (Ok(Some(Exit::Code(10))), Ok(Some(Exit::Code(10)))));
        jobs.take_all();
        assert_eq!((jobs.take(20), jobs.describe(&[1, 2, 3])), (Ok(Some(Exit::Code(20))), String::new()));
        jobs.add_command(&[20], false, "d".into());
        assert_eq!((jobs.take(20), jobs.take(30)), (Ok(None), Ok(Some(Exit::Code(30)))), "another process");
        for pid in 100..5000 {
            jobs.add_command(&[pid], false, "c".into());
            jobs.ended(pid, Exit::Code(0));
            assert!(jobs.take(pid).is_ok());
        }
        assert_eq!((jobs.waited.len(), jobs.take(30)), (ENDED_MAX, Err(())));
        jobs.clear();
        assert_eq!((jobs.take(20), jobs.take(4999)), (Err(()), Err(())));
    }

    #[test]
    fn a_job_keeps_its_number_when_another_is_forgotten() {
        let mut jobs = Jobs::default();
        jobs.add_command(&[10], false, "sleep 5".into());
        jobs.add_command(&[20], false, "sleep 6".into());
        jobs.ended(10, Exit::Signal(15));
        assert!(jobs.take(10).is_ok());
        assert_eq!((jobs.named("%1"), jobs.named("%2")), (None, Some(20)));
        assert_eq!(jobs.describe(&[2]), "[2] 20 Running    sleep 6\n");
        jobs.add(30);
        assert_eq!(jobs.named("%3"), Some(30));
    }

    #[test]
    fn jobs_are_selected_by_name() {
        let mut jobs = Jobs::default();
        jobs.add_command(&[10, 11], false, "a |b".into());
        jobs.add_command(&[20], false, "c".into());
        let names = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        for (line, numbers) in [
            ("", Ok(vec![1, 2])),
            ("%2 %1", Ok(vec![2, 1])),
            ("11 %%", Ok(vec![1, 2])),
            ("%1 %3", Err("%3")),
            ("10", Err("10")),
            ("x", Err("x")),
        ] {
            assert_eq!(jobs.select(&names(line)), numbers, "{line}");
        }
        jobs.ended(20, Exit::Code(0));
        assert_eq!((jobs.describe(&[2]), jobs.pids(&[1])), ("[2] 20 Done       c\n".into(), "10\n".into()));
        jobs.forget_ended(&[1]);
        assert_eq!(jobs.select(&[]), Ok(vec![1, 2]), "no `jobs` has shown the second one");
        jobs.forget_ended(&[2]);
        assert_eq!(jobs.select(&[]), Ok(vec![1]));
    }

    #[test]
    fn a_pipeline_has_ended_when_its_last_process_has() {
        for (pipefail, code) in [(false, 0), (true, 3)] {
            let mut jobs = Jobs::default();
            jobs.add_command(&[10, 11, 12], pipefail, "a |b |c".into());
            assert_eq!(jobs.pids(&[1]), "10\n");
            assert_eq!((jobs.named("%1"), jobs.targets("%1")), (Some(12), Some(vec![10, 11, 12])));
            jobs.ended(12, Exit::Code(0));
            jobs.ended(11, Exit::Code(3));
            assert_eq!((jobs.take(12), jobs.targets("%%")), (Ok(None), Some(vec![10])));
            jobs.ended(10, Exit::Code(0));
            assert_eq!(jobs.take(12), Ok(Some(Exit::Code(code))));
        }
        assert_eq!((Jobs::default().targets("%1"), Jobs::default().targets("7")), (None, Some(vec![7])));
    }

    #[test]
    fn jobs_that_no_wait_takes_do_not_pile_up() {
        let mut jobs = Jobs::default();
        for pid in 1..5000 {
            jobs.add(pid);
            jobs.ended(pid, Exit::Code(0));
        }
        assert!(jobs.list.len() <= ENDED_MAX + 1);
    }
}
