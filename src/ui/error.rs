//! Errors of a session, in every language.

use lang::{Lang, texts};
use std::error::Error as _;

/// Why a session cannot begin, or ended unexpectedly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be started, reached or asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The file of lines that was to be run (`repl FILE`).
    #[error("cannot read {}", path.display())]
    File {
        /// As given on the command line.
        path: std::path::PathBuf,
        /// Of the read.
        #[source]
        cause: std::io::Error,
    },
    /// The editor of lines cannot use the terminal.
    #[error("the terminal cannot be used")]
    Terminal(#[from] rustyline::error::ReadlineError),
    /// The cluster ended during its start. With the path of its log.
    #[error("the cluster ended before it was ready; the end of its log is in {}", .0.display())]
    Ended(std::path::PathBuf),
    /// The terminal refused what the interface needs, for example raw mode.
    #[error("the terminal interface cannot be shown; `ropewalk --plain` works without it")]
    Interface(#[source] std::io::Error),
    /// No handler could be installed, so the session could not end in order.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
    /// A thread of the session panicked.
    #[error("the session ended unexpectedly; the terminal and the cluster were put in order")]
    Panicked,
}

texts! {
    enum Word {
        File: "cannot read {}", "{} 파일을 읽을 수 없습니다";
        Terminal: "the terminal cannot be used", "터미널을 사용할 수 없습니다";
        Ended: "the cluster ended before it was ready; the end of its log is in {}", "클러스터가 준비되기 전에 종료되었습니다. 로그의 마지막 부분은 {} 파일에 있습니다";
        Interface: "the terminal interface cannot be shown; `ropewalk --plain` works without it", "터미널 인터페이스를 표시할 수 없습니다. `ropewalk --plain`은 이 인터페이스 없이 실행됩니다";
        Signals: "signals cannot be received", "신호를 받을 수 없습니다";
        Panicked: "the session ended unexpectedly; the terminal and the cluster were put in order", "세션이 예기치 않게 끝났습니다. 터미널과 클러스터는 정리했습니다";
    }
}

impl Error {
    /// For people, with its causes, which are in English.
    pub fn say(&self, lang: Lang) -> String {
        let path = |path: &std::path::Path| path.display().to_string();
        let text = match self {
            Error::Cluster(inner) => return inner.say(lang),
            Error::File { path: file, .. } => lang.say(Word::File, &[&path(file)]),
            Error::Terminal(_) => lang.say(Word::Terminal, &[]),
            Error::Ended(log) => lang.say(Word::Ended, &[&path(log)]),
            Error::Interface(_) => lang.say(Word::Interface, &[]),
            Error::Signals(_) => lang.say(Word::Signals, &[]),
            Error::Panicked => lang.say(Word::Panicked, &[]),
        };
        match self.source() {
            Some(cause) => format!("{text}: {}", cluster::chain(cause)),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_session_is_told_in_either_language_with_its_cause() {
        let cause = || std::io::Error::other("no such thing");
        for (error, has_cause) in [
            (Error::File { path: "lines".into(), cause: cause() }, true),
            (Error::Terminal(rustyline::error::ReadlineError::Io(cause())), true),
            (Error::Ended("log".into()), false),
            (Error::Interface(cause()), true),
            (Error::Signals(cause()), true),
            (Error::Panicked, false),
        ] {
            let (english, korean) = (error.say(Lang::En), error.say(Lang::Ko));
            assert_eq!(english, cluster::chain(&error), "as in a log");
            assert!(korean.contains(['다', '요']) && !korean.starts_with(&error.to_string()), "{korean}");
            assert_eq!(korean.contains("no such thing"), has_cause, "{korean}");
        }
    }
}
