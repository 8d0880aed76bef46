//! `wait`, `jobs` and `kill`.

use super::super::traps::{SIGNALS, signal_name, signal_number};
use super::super::{Run, Shell};
use linux::process::Exit;
use linux::trap;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

impl Shell {
    /// `wait [-n] [JOB]…`. A job is a pid or `%1`; `-n` waits for the next one that ends, as in
    /// busybox and bash.
    pub(crate) fn wait_command(&mut self, args: &[String]) -> Run {
        let is_next = args.first().is_some_and(|arg| arg == "-n");
        let names = if is_next { &args[1..] } else { args };
        let names = match names {
            [end, names @ ..] if end == "--" => names,
            [option, ..] if option.len() > 1 && option.starts_with('-') => {
                return self.report_misuse("wait", format_args!("illegal option {option}"));
            }
            names => names,
        };
        if is_next {
            let mut pids = Vec::new();
            for name in names {
                match self.jobs.pid_of(name) {
                    Some(pid) => pids.push(pid),
                    None => return self.refuse_job(name),
                }
            }
            return Ok(self.wait_next(&pids));
        }
        if names.is_empty() {
            return Ok(self.wait_builtin(None));
        }
        // One by one, as in dash: a wrong name is an error after the jobs before it have ended.
        let mut status = 0;
        for name in names {
            match self.jobs.pid_of(name) {
                Some(pid) => status = self.wait_builtin(Some(pid)),
                None => return self.refuse_job(name),
            }
        }
        Ok(status)
    }

    /// Complains that `wait` got a name that means no job.
    fn refuse_job(&self, name: &str) -> Run {
        let what = if name.starts_with('%') { "No such job" } else { "Illegal number" };
        self.report_misuse("wait", format_args!("{what}: {name}"))
    }

    /// Waits until one of the jobs `wanted` (empty: of all jobs) ends, and returns its status; 127
    /// if there is no such job. A trapped signal ends the wait with 128 + signal.
    fn wait_next(&mut self, wanted: &[i32]) -> i32 {
        let waited = trap::wait_until(|| {
            self.reap();
            if let Some(signal) = trap::pending() {
                return Some(128 + signal);
            }
            match self.jobs.take_next(wanted) {
                Ok(exit) => exit.map(Exit::code),
                Err(()) => Some(127),
            }
        });
        waited.unwrap_or(127)
    }

    /// `jobs [-lp] [JOB]…`: the pid is shown anyway, and with `-p` nothing else.
    pub(crate) fn jobs_builtin(&mut self, args: &[String]) -> Run {
        let is_option = |arg: &&String| arg.len() > 1 && arg.starts_with('-') && *arg != "--";
        let (options, names) = args.split_at(args.iter().take_while(is_option).count());
        let names = if names.first().is_some_and(|name| name == "--") { &names[1..] } else { names };
        let letters: String = options.iter().map(|option| &option[1..]).collect();
        if letters.contains(|c| !"lp".contains(c)) {
            return self.report_misuse("jobs", "usage: jobs [-lp] [JOB]...");
        }
        self.reap();
        let numbers = match self.jobs.select(names) {
            Ok(numbers) => numbers,
            Err(name) => return self.report_misuse("jobs", format_args!("No such job: {name}")),
        };
        let text = if letters.contains('p') {
            self.jobs.format_pids(&numbers)
        } else {
            self.jobs.format_jobs(&numbers)
        };
        self.jobs.forget_ended(&numbers);
        self.print(&text)
    }

    /// `kill [-s SIGNAL | -SIGNAL] PID…`, `kill -l [STATUS]`.
    pub(crate) fn kill(&mut self, args: &[String]) -> Run {
        let (signal, targets) = match args {
            [option, rest @ ..] if option == "-l" => return self.list_signals(rest),
            [option, name, rest @ ..] if option == "-s" || option == "-n" => (Some(name.as_str()), rest),
            [option, rest @ ..] if option == "--" => (None, rest),
            [option, rest @ ..] if option.len() > 1 && option.starts_with('-') => (Some(&option[1..]), rest),
            targets => (None, targets),
        };
        let Some(number) = signal.map_or(Some(libc::SIGTERM), signal_number) else {
            return self
                .report_misuse("kill", format_args!("invalid signal '{}'", signal.unwrap_or_default()));
        };
        let targets = if targets.first().is_some_and(|t| t == "--") { &targets[1..] } else { targets };
        if targets.is_empty() {
            return self.report_misuse("kill", "usage: kill [-SIGNAL] PID...");
        }
        let mut status = 0;
        for target in targets {
            let sent = match self.jobs.kill_targets(target) {
                Some(pids) if pids.is_empty() => Err(Errno::ESRCH), // a job that has ended
                Some(pids) => pids.into_iter().try_for_each(|pid| send_signal(pid, number)),
                None if target.starts_with('%') => {
                    return self.report_misuse("kill", format_args!("No such job: {target}"));
                }
                None => Err(Errno::EINVAL),
            };
            if let Err(e) = sent {
                self.print_error(format_args!("kill: can't kill pid {target}: {}", e.desc()));
                status = 1;
            }
        }
        Ok(status)
    }

    fn list_signals(&self, args: &[String]) -> Run {
        if let Some(status) = args.first() {
            return match status.parse::<i32>() {
                // A signal, or the status of a program that it ended.
                Ok(number @ (0..=64 | 129..=192)) => self.print(&format!("{}\n", signal_name(number & 127))),
                Ok(_) => self.report_misuse("kill", format_args!("{status}: bad signal")),
                Err(_) => match signal_number(status) {
                    Some(number) => self.print(&format!("{number}\n")),
                    None => self.report_misuse("kill", format_args!("{status}: bad signal")),
                },
            };
        }
        let lines = SIGNALS[1..].iter().map(|(name, number)| format!("{number:2}) {name}\n"));
        self.print(&lines.collect::<String>())
    }
}

/// Sends a signal. Signal 0 only asks whether the process is there.
fn send_signal(pid: i32, number: i32) -> Result<(), Errno> {
    let signal = match number {
        0 => None,
        number => Some(Signal::try_from(number)?),
    };
    nix::sys::signal::kill(Pid::from_raw(pid), signal)
}
