//! Why labs cannot be played.

use lang::{Lang, texts};
use std::path::{Path, PathBuf};

/// What keeps labs from being played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key that signs records cannot be read, made or written.
    #[error("the key in {} cannot be used: {why}", path.display())]
    Key {
        /// The file, or the folder that it is to be in.
        path: PathBuf,
        /// What the system or the library says, in English.
        why: String,
    },
    /// The file holds no key any more. The book of attempts is sealed with the one that it held.
    #[error(
        "the key in {} is damaged: {why}; put it back from a copy, or move the file away: the next start makes another key, and the grades so far no longer count",
        path.display()
    )]
    DamagedKey {
        /// The file.
        path: PathBuf,
        /// What the library says, in English.
        why: String,
    },
    /// What the cluster's process says.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The book of attempts cannot be read or written.
    #[error(transparent)]
    Lab(#[from] crate::error::Error),
}

texts! {
    enum Word {
        Key: "the key in {} cannot be used: {}", "{}에 있는 키를 사용할 수 없습니다: {}";
        DamagedKey: "the key in {} is damaged: {}; put it back from a copy, or move the file away: the next start makes another key, and the grades so far no longer count", "{}에 있는 키가 손상되었습니다: {}. 사본으로 되돌리거나 파일을 다른 곳으로 옮기세요. 옮기면 다음에 시작할 때 새 키를 만들고, 지금까지의 점수는 인정되지 않습니다";
    }
}

impl Error {
    /// For people, with its causes, in a language. What the system or a library says stays English.
    pub fn say(&self, lang: Lang) -> String {
        let key = |word: Word, path: &Path, why: &str| lang.say(word, &[&path.display().to_string(), why]);
        match self {
            Error::Key { path, why } => key(Word::Key, path, why),
            Error::DamagedKey { path, why } => key(Word::DamagedKey, path, why),
            Error::Cluster(error) => error.say(lang),
            Error::Lab(error) => error.say(lang),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_english_it_says_what_its_chain_says() {
        let (path, why) = (|| PathBuf::from("records.key"), || "not base64".to_string());
        for error in [
            Error::Key { path: path(), why: why() },
            Error::DamagedKey { path: path(), why: why() },
            Error::Lab(crate::Error::Damaged { path: path(), why: why() }),
        ] {
            assert_eq!(error.say(Lang::En), cluster::chain(&error));
            let korean = error.say(Lang::Ko);
            assert!(korean.contains(|c: char| ('가'..='힣').contains(&c)), "{korean}");
        }
    }
}
