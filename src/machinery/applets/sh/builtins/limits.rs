//! `umask` and `ulimit`.

use super::super::{Run, Shell, reason};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

/// Letter, what it limits, bytes in one unit, and how it is called.
const LIMITS: [(char, Resource, u64, &str); 10] = [
    ('c', Resource::RLIMIT_CORE, 512, "core file size (blocks)"),
    ('d', Resource::RLIMIT_DATA, 1024, "data seg size (kb)"),
    ('f', Resource::RLIMIT_FSIZE, 512, "file size (blocks)"),
    ('l', Resource::RLIMIT_MEMLOCK, 1024, "locked memory (kb)"),
    ('m', Resource::RLIMIT_RSS, 1024, "max memory size (kb)"),
    ('n', Resource::RLIMIT_NOFILE, 1, "open files"),
    ('s', Resource::RLIMIT_STACK, 1024, "stack size (kb)"),
    ('t', Resource::RLIMIT_CPU, 1, "cpu time (seconds)"),
    ('u', Resource::RLIMIT_NPROC, 1, "max user processes"),
    ('v', Resource::RLIMIT_AS, 1024, "virtual memory (kb)"),
];

/// Changes the rights `now` as `u=rwx,g-w` says; `None` if the text says nothing. As POSIX has it
/// for `chmod`, a class may be changed several times (`u=rw+x`) and take the rights of another one
/// (`g=u`).
fn apply_symbolic_mode(text: &str, now: u32) -> Option<u32> {
    text.split(',').try_fold(now, |rights, clause| {
        let at = clause.find(['=', '+', '-'])?;
        let who = clause[..at].chars().try_fold(0, |who, c| {
            Some(
                who | match c {
                    'u' => 0o700,
                    'g' => 0o070,
                    'o' => 0o007,
                    'a' => 0o777,
                    _ => return None,
                },
            )
        })?;
        let who = if who == 0 { 0o777 } else { who };
        apply_mode_actions(rights, who, &clause[at..])
    })
}

/// Changes the rights of the classes `who` as `actions` say. Each action begins with its operator.
fn apply_mode_actions(mut rights: u32, who: u32, mut actions: &str) -> Option<u32> {
    while let Some(operator) = actions.chars().next() {
        let end = actions[1..].find(['=', '+', '-']).map_or(actions.len(), |at| at + 1);
        let what = parse_permissions(&actions[1..end], rights)? & who;
        rights = match operator {
            '=' => rights & !who | what,
            '+' => rights | what,
            _ => rights & !what,
        };
        actions = &actions[end..];
    }
    Some(rights)
}

/// Returns the rights that `rwx` means for all classes, or the name of the class that has them now.
fn parse_permissions(text: &str, now: u32) -> Option<u32> {
    let of_class = |shift: u32| Some((now >> shift & 7) * 0o111);
    match text {
        "u" => return of_class(6),
        "g" => return of_class(3),
        "o" => return of_class(0),
        _ => {}
    }
    text.chars().try_fold(0, |what, c| {
        Some(
            what | match c {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if now & 0o111 != 0 => 0o111,
                'X' => 0,
                _ => return None,
            },
        )
    })
}

/// Formats rights as `umask -S` prints them: `u=rwx,g=rx,o=rx`.
fn format_mode(rights: u32) -> String {
    let class = |(name, shift): (char, u32)| {
        let held = [(4, 'r'), (2, 'w'), (1, 'x')].into_iter().filter(|(bit, _)| rights >> shift & bit != 0);
        format!("{name}={}", held.map(|(_, letter)| letter).collect::<String>())
    };
    [('u', 6), ('g', 3), ('o', 0)].map(class).join(",") + "\n"
}

impl Shell {
    /// `umask [-S] [MODE]`
    pub(crate) fn umask(&mut self, mut args: &[String]) -> Run {
        let mut in_letters = false;
        while let [option, rest @ ..] = args
            && option.len() > 1
            && option.starts_with('-')
        {
            args = rest;
            match option.as_str() {
                "--" => break,
                "-S" => in_letters = true,
                _ => return self.report_misuse("umask", format_args!("illegal option {option}")),
            }
        }
        let Some(text) = args.first() else {
            let now = umask(Mode::empty());
            umask(now);
            let text = match in_letters {
                true => format_mode(!now.bits()),
                false => format!("{:04o}\n", now.bits()),
            };
            return self.print(&text);
        };
        let now = umask(Mode::empty());
        umask(now);
        let numeric = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777);
        match numeric.or_else(|| Some(!apply_symbolic_mode(text, !now.bits() & 0o777)? & 0o777)) {
            Some(bits) => {
                umask(Mode::from_bits_truncate(bits));
                Ok(0)
            }
            None => self.report_misuse("umask", format_args!("illegal mode: {text}")),
        }
    }

    /// `ulimit [-HSa] [-LETTER [VALUE]]`: the soft limit is shown, both are set.
    pub(crate) fn ulimit(&mut self, args: &[String]) -> Run {
        let (mut letter, mut hard, mut soft, mut all, mut value) = ('f', false, false, false, None);
        for arg in args {
            match arg.strip_prefix('-') {
                Some(letters) => {
                    for c in letters.chars() {
                        match c {
                            'H' => hard = true,
                            'S' => soft = true,
                            'a' => all = true,
                            c => letter = c,
                        }
                    }
                }
                None => value = Some(arg.as_str()),
            }
        }
        let show = |(_, resource, unit, _): &(char, Resource, u64, &str)| match getrlimit(*resource) {
            Ok((soft, most)) => match if hard { most } else { soft } {
                RLIM_INFINITY => "unlimited".to_string(),
                limit => (limit / unit).to_string(),
            },
            Err(e) => e.desc().to_string(),
        };
        if all {
            let lines = LIMITS.iter().map(|limit| format!("{:<32}{}\n", limit.3, show(limit)));
            return self.print(&lines.collect::<String>());
        }
        let Some(limit) = LIMITS.iter().find(|limit| limit.0 == letter) else {
            return self.report_misuse("ulimit", format_args!("illegal option -{letter}"));
        };
        let Some(value) = value else { return self.print(&(show(limit) + "\n")) };
        let wanted = match value {
            "unlimited" => RLIM_INFINITY,
            digits => match digits.parse::<u64>() {
                Ok(number) => number.saturating_mul(limit.2),
                Err(_) => return self.report_misuse("ulimit", format_args!("bad number {value}")),
            },
        };
        let both = hard == soft;
        let changed = getrlimit(limit.1).and_then(|(now, most)| {
            setrlimit(
                limit.1,
                if both || soft { wanted } else { now },
                if both || hard { wanted } else { most },
            )
        });
        match changed {
            Ok(()) => Ok(0),
            Err(e) => {
                self.report_misuse("ulimit", format_args!("error setting limit: {}", reason(&e.into())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{apply_symbolic_mode, format_mode};

    #[test]
    fn rights_can_be_said_in_letters() {
        for (text, rights) in [
            ("u=rwx", Some(0o744)),
            ("u=rwx,g=rx,o=", Some(0o750)),
            ("a-r", Some(0o200)),
            ("+x", Some(0o755)),
            ("u+x-w,o=u", Some(0o545)),
            ("go=u-w+X", Some(0o644)),
            ("u+x,g=X", Some(0o714)),
            ("u=x+", Some(0o144)),
            ("u=gr", None),
            ("rwx", None),
            ("u=s", None),
            ("z=r", None),
        ] {
            assert_eq!(apply_symbolic_mode(text, 0o644), rights, "{text}");
        }
        assert_eq!(
            (format_mode(0o750), format_mode(!0o777)),
            ("u=rwx,g=rx,o=\n".into(), "u=,g=,o=\n".into())
        );
    }
}
