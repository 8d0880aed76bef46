//! `time`, the keyword, and `times`: what commands took.

use super::{Run, Shell};
use brush_parser::ast::PipelineTimed;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::time::Instant;

/// Processor time in seconds: in the program, and in the kernel for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    user: f64,
    system: f64,
}

impl Used {
    fn of(who: UsageWho) -> Used {
        let seconds = |t: TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        getrusage(who).map_or(Used::default(), |usage| Used {
            user: seconds(usage.user_time()),
            system: seconds(usage.system_time()),
        })
    }

    /// Returns the time of the shell itself and of the children that it has waited for.
    fn in_all() -> Used {
        let (own, children) = (Used::of(UsageWho::RUSAGE_SELF), Used::of(UsageWho::RUSAGE_CHILDREN));
        Used { user: own.user + children.user, system: own.system + children.system }
    }
}

/// Returns what `time` prints: busybox' three lines, or with `-p` those of POSIX.
fn format_times(real: f64, used: Used, posix: bool) -> String {
    let line = |(name, seconds): (&str, f64)| match posix {
        true => format!("{name} {seconds:.2}\n"),
        // Hundredths are cut off first: 59.999 seconds are not "0m 60.00s".
        false => {
            let hundredths = (seconds * 100.0) as u64;
            format!("{name}\t{}m {}.{:02}s\n", hundredths / 6000, hundredths / 100 % 60, hundredths % 100)
        }
    };
    [("real", real), ("user", used.user), ("sys", used.system)].map(line).concat()
}

impl Shell {
    /// Runs a pipeline and tells on standard error what it took, even if it ends the script.
    pub(super) fn run_timed(&mut self, how: &PipelineTimed, run: impl FnOnce(&mut Shell) -> Run) -> Run {
        let (begun, before) = (Instant::now(), Used::in_all());
        let result = run(self);
        let now = Used::in_all();
        let used = Used { user: now.user - before.user, system: now.system - before.system };
        super::write_stderr(&format_times(begun.elapsed().as_secs_f64(), used, how.is_posix_output()));
        result
    }

    /// Runs the builtin `times`: the shell's own, then its children's.
    pub(super) fn times(&self) -> Run {
        let clock = |seconds: f64| format!("{}m{:.2}s", (seconds / 60.0) as u64, seconds % 60.0);
        let line = |who| {
            let used = Used::of(who);
            format!("{} {}\n", clock(used.user), clock(used.system))
        };
        self.print(&(line(UsageWho::RUSAGE_SELF) + &line(UsageWho::RUSAGE_CHILDREN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_by_busybox_and_posix() {
        let used = Used { user: 59.999, system: 0.5 };
        assert_eq!(format_times(61.256, used, false), "real\t1m 1.25s\nuser\t0m 59.99s\nsys\t0m 0.50s\n");
        assert_eq!(format_times(61.256, used, true), "real 61.26\nuser 60.00\nsys 0.50\n");
    }
}
