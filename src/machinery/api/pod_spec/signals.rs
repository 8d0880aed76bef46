//! The signal that stops a container (`lifecycle.stopSignal`, KEP-4960).

use crate::errors::Errors;
use crate::value::{at, text};
use serde_json::Value;

/// The signals of Linux in the order in which upstream lists them
/// (`supportedStopSignalsLinux`).
const LINUX: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// The signals that end a container of Windows.
const WINDOWS: [&str; 2] = ["SIGKILL", "SIGTERM"];

/// Checks a signal, which has to be one of the operating system that the pod names.
pub(super) fn stop_signal(spec: &Value, signal: &Value, field: &str, errors: &mut Errors) {
    if at(spec, "os").is_null() {
        return errors.forbidden(field, "may not be set for containers with empty `spec.os.name`");
    }
    let known: &[&str] = match text(spec, "os.name") {
        "linux" => &LINUX,
        "windows" => &WINDOWS,
        _ => return, // the name itself is refused
    };
    if !known.contains(&signal.as_str().unwrap_or("")) {
        errors.not_supported(field, signal, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signal_is_one_of_the_operating_system() {
        let errors_of = |os: &str, signal: &str| {
            let mut errors = Errors::default();
            stop_signal(&json!({"os": {"name": os}}), &json!(signal), "s", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for good in LINUX {
            assert_eq!(errors_of("linux", good), [""; 0], "{good}");
        }
        for bad in ["SIGRTMIN55", "SIGRTMIN+16", "SIGRTMIN-1", "SIGRTMAX+1", "SIGRTMIN++5", "SIGRTMIN+05", ""]
        {
            assert_eq!(errors_of("linux", bad).len(), 1, "{bad}");
        }
        let why = "s: Unsupported value: \"SIGINT\": supported values: \"SIGKILL\", \"SIGTERM\"";
        assert_eq!(errors_of("windows", "SIGINT"), [why]);
        assert_eq!(errors_of("plan9", "SIGINT"), [""; 0]);
        assert!(LINUX.is_sorted());
    }
}
