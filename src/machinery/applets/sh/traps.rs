//! Signals and `trap`.

use super::interactive::SURVIVED;
use super::{Flow, Run, Shell};
use linux::trap::{self, Action};

/// Names without SIG; 0 is the end of the shell.
pub(super) const SIGNALS: [(&str, i32); 32] = [
    ("EXIT", 0),
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// Returns the number of a signal: of `TERM`, `SIGTERM`, `term` or `15`.
pub(super) fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return (0..=trap::LAST).contains(&number).then_some(number);
    }
    let name = name.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

pub(super) fn signal_name(number: i32) -> String {
    SIGNALS.iter().find(|(_, n)| *n == number).map_or(number.to_string(), |(name, _)| (*name).to_string())
}

impl Shell {
    /// Runs the traps of signals that came; called between commands.
    pub(super) fn run_traps(&mut self) -> Result<(), Flow> {
        if trap::take(libc::SIGCHLD) {
            self.reap();
            self.run_trap(libc::SIGCHLD)?;
        }
        if trap::pending().is_none() {
            return Ok(());
        }
        for signal in (1..=trap::LAST).filter(|n| *n != libc::SIGCHLD) {
            if trap::take(signal) {
                if signal == libc::SIGINT && self.interactive && !self.traps.contains_key(&signal) {
                    super::write_stderr("\n");
                    return Err(Flow::Abort(128 + signal));
                }
                self.run_trap(signal)?;
            }
        }
        Ok(())
    }

    fn run_trap(&mut self, signal: i32) -> Result<(), Flow> {
        if let Some(action) = self.traps.get(&signal).cloned() {
            let status = self.status;
            self.run_action(&action)?;
            self.status = status;
        }
        Ok(())
    }

    /// Runs the text of a trap. An `exit` without a number in it ends with the status of before.
    fn run_action(&mut self, action: &str) -> Run {
        let outer = self.before_trap.replace(self.status);
        // A trap is no part of the condition that its signal came in.
        let conditions = std::mem::take(&mut self.conditions);
        let result = self.run_text(action, false);
        (self.before_trap, self.conditions) = (outer, conditions);
        result
    }

    /// Runs the shell's end: its EXIT trap, then its status.
    pub(super) fn finish(&mut self, result: Run) -> i32 {
        let code = |result: Run| match result {
            Ok(n) | Err(Flow::Exit(n) | Flow::Return(n) | Flow::Abort(n)) => n,
            Err(Flow::Break(_) | Flow::Continue(_)) => 0,
        };
        let status = code(result);
        let Some(action) = self.traps.remove(&0) else { return status };
        self.status = status;
        match self.run_action(&action) {
            Err(jump @ (Flow::Exit(_) | Flow::Abort(_))) => code(Err(jump)),
            _ => status,
        }
    }

    /// Sets what a signal shall do from now on; `None` is the default.
    pub(super) fn set_trap(&mut self, signal: i32, action: Option<&str>) {
        if self.ignored.contains(&signal) && !self.interactive {
            return; // POSIX: what was ignored at the start stays so
        }
        self.parent_traps = None;
        match action {
            Some(action) => self.traps.insert(signal, action.to_string()),
            None => self.traps.remove(&signal),
        };
        if signal == 0 {
            return;
        }
        let wanted = match action {
            _ if signal == libc::SIGCHLD => Action::Note, // always: jobs end
            Some("") => Action::Ignore,
            Some(_) => Action::Note,
            None if self.interactive && signal == libc::SIGINT => Action::Note,
            None if self.interactive && SURVIVED.contains(&signal) => Action::Ignore,
            None => Action::Default,
        };
        // KILL and STOP cannot be caught, and `trap` does not report that.
        let _ = trap::set(signal, wanted);
    }

    /// Returns whether no trap is lost if this process becomes another program.
    pub(super) fn has_only_ignoring_traps(&self) -> bool {
        self.traps.values().all(String::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for name in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(signal_number(name), Some(15));
        }
        assert_eq!(
            (signal_number("EXIT"), signal_number("99"), signal_number("NOPE")),
            (Some(0), None, None)
        );
        // All that are no real-time signals have a name, each in its place.
        for (number, (name, known)) in (0..).zip(SIGNALS) {
            assert_eq!(
                (known, signal_number(name), signal_name(number)),
                (number, Some(number), name.into())
            );
        }
        assert_eq!(SIGNALS.len(), 32);
    }
}
