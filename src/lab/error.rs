//! Why the engine cannot do its work.

use lang::{Lang, texts};
use std::path::PathBuf;

/// What keeps the engine from its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} was written by a newer ropewalk (format {found}, this one knows {known}); use that one", path.display())]
    Newer { path: PathBuf, found: u64, known: u32 },
    #[error("{} is damaged: {why}; move it away to begin anew", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the line {line:?} needs a shell")]
    Shell { line: String },
    #[error("the line {line:?} cannot be run: {why}")]
    Line { line: String, why: String },
    #[error("stopped at command {at} of {of}")]
    Stopped { at: usize, of: usize },
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
