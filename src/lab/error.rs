//! Why the engine cannot do its work.

use lang::{Lang, texts};
use std::path::PathBuf;

/// What keeps the engine from its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the learner's cannot be read, written or moved.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The file has a newer format than this program knows.
    #[error("{} was written by a newer ropewalk (format {found}, this one knows {known}); use that one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `format`.
        found: u64,
        /// The newest format that this program reads.
        known: u32,
    },
    /// The file is no JSON, or not of the shape that is expected.
    #[error("{} is damaged: {why}; move it away to begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the JSON parser says, in English.
        why: String,
    },
    /// The teacher, who has no shell, was given a line with pipes, redirections or the like.
    #[error("the line {line:?} needs a shell")]
    Shell {
        /// The line as the lesson has it.
        line: String,
    },
    /// A line of the teacher's has failed.
    #[error("the line {line:?} cannot be run: {why}")]
    Line {
        /// The line as the lesson has it.
        line: String,
        /// What the command said, or why it could not begin.
        why: String,
    },
    /// The learner has stopped the lines that the teacher plays.
    #[error("stopped at command {at} of {of}")]
    Stopped {
        /// The command that was to be next, from 1.
        at: usize,
        /// How many commands there are.
        of: usize,
    },
    /// What the cluster's process says.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
}

texts! {
    enum Word {
        File: "cannot use {}: {}", "{} 파일을 사용할 수 없습니다: {}";
        Newer: "{} was written by a newer ropewalk (format {}, this one knows {}); use that one", "{} 파일은 더 새로운 ropewalk가 쓴 것입니다(형식 {}, 이 프로그램은 {}까지). 그 프로그램을 쓰세요";
        Damaged: "{} is damaged: {}; move it away to begin anew", "{} 파일이 손상되었습니다: {}. 새로 시작하려면 파일을 다른 곳으로 옮기세요";
        Shell: "the line {} needs a shell", "{} 명령에는 셸이 필요합니다";
        Line: "the line {} cannot be run: {}", "{} 명령을 실행할 수 없습니다: {}";
        Stopped: "stopped at command {} of {}", "명령 {}에서 멈췄습니다(전체 {}개)";
    }
}

impl Error {
    /// For people, with its causes, in a language. What the machine says of a file stays English.
    pub fn say(&self, lang: Lang) -> String {
        let say = |word: Word, with: &[&str]| lang.say(word, with);
        match self {
            Error::File { path, cause } => {
                say(Word::File, &[&path.display().to_string(), &cause.to_string()])
            }
            Error::Newer { path, found, known } => {
                let (path, found, known) = (path.display().to_string(), found.to_string(), known.to_string());
                say(Word::Newer, &[&path, &found, &known])
            }
            Error::Damaged { path, why } => say(Word::Damaged, &[&path.display().to_string(), why]),
            Error::Shell { line } => say(Word::Shell, &[&format!("{line:?}")]),
            Error::Line { line, why } => say(Word::Line, &[&format!("{line:?}"), why]),
            Error::Stopped { at, of } => say(Word::Stopped, &[&at.to_string(), &of.to_string()]),
            Error::Cluster(error) => error.say(lang),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_english_it_says_what_its_chain_says() {
        let path = || PathBuf::from("practice.json");
        for error in [
            Error::File { path: path(), cause: std::io::Error::other("no space left") },
            Error::Newer { path: path(), found: 9, known: 1 },
            Error::Damaged { path: path(), why: "EOF".into() },
            Error::Shell { line: "a | b".into() },
            Error::Line { line: "kubectl get x".into(), why: "refused".into() },
            Error::Stopped { at: 2, of: 3 },
        ] {
            assert_eq!(error.say(Lang::En), cluster::chain(&error));
            let korean = error.say(Lang::Ko);
            assert!(korean.contains(|c: char| ('가'..='힣').contains(&c)), "{korean}");
        }
    }
}
