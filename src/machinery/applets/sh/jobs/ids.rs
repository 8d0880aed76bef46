//! Names of jobs: what may stand behind `%`.

use super::{Job, Jobs};

impl Jobs {
    /// Returns the job that `%name` means: `%%` and `%+` the last one, `%-` the one before it, `%2`
    /// by its number, `%sleep` by the beginning of its command, `%?60` by a part of it. A text that
    /// several commands have means none of them.
    ///
    /// Source: POSIX, 3.182, "Job ID".
    pub(super) fn job(&self, name: &str) -> Option<&Job> {
        if let Ok(number) = name.parse::<usize>() {
            return self.list.iter().find(|job| job.number == number);
        }
        let fits = |job: &&Job| match name.strip_prefix('?') {
            Some(part) => job.command.contains(part),
            None => job.command.starts_with(name),
        };
        match name {
            "" | "%" | "+" => self.list.last(),
            "-" => self.list.iter().rev().nth(1).or(self.list.last()),
            _ => {
                let mut fitting = self.list.iter().filter(fits);
                fitting.next().filter(|_| fitting.next().is_none())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_several_names() {
        let mut jobs = Jobs::default();
        assert_eq!((jobs.named("%%"), jobs.named("%-")), (None, None));
        jobs.add_command(&[10], false, "sleep 60".into());
        assert_eq!((jobs.named("%+"), jobs.named("%-")), (Some(10), Some(10)));
        jobs.add_command(&[20], false, "sleep 61".into());
        jobs.add_command(&[30, 31], false, "cat | wc".into());
        for (name, pid) in [
            ("%", Some(31)),
            ("%%", Some(31)),
            ("%-", Some(20)),
            ("%1", Some(10)),
            ("%9", None),
            ("%cat", Some(31)),
            ("%?61", Some(20)),
            ("%sleep", None),
            ("%?nothing", None),
            ("20", Some(20)),
        ] {
            assert_eq!(jobs.named(name), pid, "{name}");
        }
    }
}
