//! Children: forked, waited for, and given the terminal.

use super::super::interactive::SURVIVED;
use super::super::{Flow, Run, Shell, reason, write_stderr};
use linux::fork::Side;
use linux::process::{self, Exit};
use linux::script_fds;
use linux::trap::{self, Action};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp, setpgid, tcsetpgrp};
use std::io::{self, Write};

impl Shell {
    /// Makes a subshell. In the child the traps are gone, as POSIX wants, but ignored signals stay
    /// ignored.
    pub(in super::super) fn fork(&mut self) -> Result<Side, Flow> {
        let _ = io::stdout().flush();
        // A signal for the child that comes before it has left our traps must wait, not vanish in
        // them.
        let forked = trap::block().and_then(|blocked| {
            let side = self.alone.fork()?;
            if side == Side::Child {
                self.become_subshell();
            }
            drop(blocked);
            Ok(side)
        });
        forked.map_err(|e| {
            self.print_error(format_args!("cannot fork: {}", reason(&e)));
            Flow::Abort(2)
        })
    }

    fn become_subshell(&mut self) {
        for (signal, _) in self.traps.iter().filter(|(signal, action)| **signal > 0 && !action.is_empty()) {
            let _ = trap::set(*signal, Action::Default);
        }
        // `saved=$(trap)` must show them (POSIX, `trap`). A subshell in this one shows the same.
        self.parent_traps.get_or_insert_with(|| self.traps.clone());
        self.traps.retain(|signal, action| *signal > 0 && action.is_empty());
        if self.interactive {
            // ^Z stays ignored: there is no `fg` that could wake a stopped job.
            for signal in [libc::SIGINT].into_iter().chain(SURVIVED) {
                if !self.traps.contains_key(&signal) {
                    let _ = trap::set(signal, Action::Default);
                }
            }
        }
        self.jobs.clear();
        self.close_saved();
        (self.subshell, self.before_trap) = (true, None);
        trap::forget();
    }

    /// Like `fork`, for a child that we wait for: on a terminal it gets the terminal. `leader` is
    /// the first of its pipeline.
    pub(in super::super) fn fork_foreground(&mut self, leader: Option<i32>) -> Result<Side, Flow> {
        let on_terminal = self.owns_terminal();
        let side = self.fork()?;
        if on_terminal {
            let child = match side {
                Side::Child => Pid::this(),
                Side::Parent(pid) => Pid::from_raw(pid),
            };
            // Parent and child both set the group, so that neither comes too late. The call that
            // comes second may fail.
            let _ = setpgid(child, Pid::from_raw(leader.unwrap_or(child.as_raw())));
            if leader.is_none() {
                let _ = tcsetpgrp(io::stdin(), child);
            }
            match side {
                Side::Child => drop(trap::set(libc::SIGTTOU, Action::Default)),
                // From now on ^C goes to the child; one that came to us a moment ago is passed on.
                Side::Parent(pid) if trap::came(libc::SIGINT) => {
                    let _ = killpg(Pid::from_raw(leader.unwrap_or(pid)), Signal::SIGINT);
                }
                Side::Parent(_) => {}
            }
        }
        if side == Side::Child {
            self.interactive = false;
        }
        Ok(side)
    }

    /// Makes a child that we do not wait for: on a terminal ^C does not reach it. Elsewhere it
    /// ignores SIGINT and SIGQUIT and reads /dev/null; if it cannot open that, it ends with 2, as
    /// in dash. `leader` is the first of its pipeline: each later child reads the output of the one
    /// before.
    pub(in super::super) fn fork_background(&mut self, leader: Option<i32>) -> Result<Side, Flow> {
        let on_terminal = self.owns_terminal();
        let side = self.fork()?;
        if on_terminal {
            let child = if let Side::Parent(pid) = side { pid } else { 0 };
            let _ = setpgid(Pid::from_raw(child), Pid::from_raw(leader.unwrap_or(child)));
        }
        if side == Side::Child {
            if !on_terminal {
                for signal in [libc::SIGINT, libc::SIGQUIT] {
                    let _ = trap::set(signal, Action::Ignore);
                }
                if leader.is_none()
                    && let Err(e) = script_fds::assign_null()
                {
                    self.print_error(format_args!("can't open /dev/null: {}", reason(&e)));
                    self.exit_child(Ok(2));
                }
            }
            self.interactive = false;
        }
        Ok(side)
    }

    fn owns_terminal(&self) -> bool {
        self.interactive && script_fds::is_terminal(0)
    }

    /// Takes the terminal back from a job that ended.
    pub(in super::super) fn take_terminal(&self) {
        if self.owns_terminal() {
            let _ = tcsetpgrp(io::stdin(), getpgrp());
        }
    }

    /// Ends a forked child.
    pub(in super::super) fn exit_child(&mut self, result: Run) -> ! {
        let code = self.finish(result);
        let _ = io::stdout().flush();
        process::exit_now(code)
    }

    /// Collects children that have ended.
    pub(in super::super) fn reap(&mut self) {
        while let Ok(Some((pid, exit))) = process::wait_any(false) {
            self.jobs.record_exit(pid, exit);
        }
    }

    /// Waits for a child whatever signals come; traps run after it, as POSIX wants. It must have
    /// been added to the jobs.
    pub(in super::super) fn wait_for(&mut self, pid: i32) -> Exit {
        loop {
            match self.jobs.take_exit(pid) {
                Ok(Some(exit)) => return exit,
                Err(()) => return Exit::Code(127),
                Ok(None) => match process::wait_any(true) {
                    Ok(Some((ended, exit))) => self.jobs.record_exit(ended, exit),
                    Ok(None) => {}
                    // The child was collected elsewhere.
                    Err(_) => self.jobs.record_exit(pid, Exit::Code(127)),
                },
            }
        }
    }

    /// Waits for a child in the foreground. At a prompt, ^C that ended the child ends the whole
    /// line.
    pub(in super::super) fn wait_in_foreground(&mut self, pid: i32) -> Run {
        self.jobs.add(pid);
        let exit = self.wait_for(pid);
        self.take_terminal();
        self.after_foreground(exit)
    }

    pub(in super::super) fn after_foreground(&mut self, exit: Exit) -> Run {
        let status = exit.code();
        self.status = status;
        if let Exit::Signal(signal) = exit
            && self.interactive
        {
            write_stderr(match signal {
                libc::SIGINT => "\n",
                libc::SIGKILL => "Killed\n",
                libc::SIGSEGV => "Segmentation fault\n",
                libc::SIGPIPE => "",
                _ => "Terminated\n",
            });
            if signal == libc::SIGINT {
                trap::take(signal); // it has had its effect
                return Err(Flow::Abort(status));
            }
        }
        Ok(status)
    }

    /// Runs the builtin `wait`: for one child or for all. A trapped signal ends it with 128 +
    /// signal.
    pub(in super::super) fn wait_builtin(&mut self, wanted: Option<i32>) -> i32 {
        let waited = trap::wait_until(|| {
            self.reap();
            if let Some(signal) = trap::pending() {
                return Some(128 + signal);
            }
            match wanted {
                Some(pid) => match self.jobs.take_exit(pid) {
                    Ok(Some(exit)) => Some(exit.code()),
                    Ok(None) => None,
                    Err(()) => Some(127),
                },
                None => self.jobs.all_ended().then_some(0),
            }
        });
        if wanted.is_none() && matches!(waited, Ok(0)) {
            self.jobs.take_all();
        }
        waited.unwrap_or(127)
    }
}
