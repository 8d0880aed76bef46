//! The errors of a cluster, and their sentences for people.

use super::refusal::Refusal;
use client::kubeconfig::LockError;
pub use lang::chain;
use lang::charset::harmless_lines;
use lang::{Lang, texts, typed};

/// An error for people: what went wrong, why, and what to try.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens on the control socket of the cluster with this name.
    #[error("cluster {0:?} is not running; start it with `ropewalk up --name {0}`")]
    NotRunning(String),
    /// Something holds its control socket and says nothing.
    #[error("cluster {name:?} does not answer; `ropewalk down --name {name}` ends it")]
    Hangs {
        /// The cluster's name.
        name: String,
        /// The process id behind the socket, if the kernel knows it.
        main: Option<i32>,
    },
    /// A file or directory cannot be read, written or made.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The kernel's reason.
        #[source]
        cause: std::io::Error,
    },
    /// A file has a format that only later versions of this program know.
    #[error("{path} was written by a newer ropewalk (format {found}, this one knows {known}); use that one, or `ropewalk reset --name {name}`", path = path.display())]
    Newer {
        /// The cluster's name.
        name: String,
        /// The file.
        path: std::path::PathBuf,
        /// The format's number in the file.
        found: u32,
        /// The newest number that this program knows.
        known: u32,
    },
    /// A file of the cluster's is not what this program writes.
    #[error("{path} is damaged: {why}; mend it, or `ropewalk reset --name {name}` wipes the cluster and starts anew", path = path.display())]
    Damaged {
        /// The cluster's name.
        name: String,
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with its content.
        why: String,
    },
    /// The supervisor ended, or could not be started; the text says why.
    #[error("the cluster did not start: {0}")]
    Start(String),
    /// A whole message of another process or of the API server, shown as it is.
    #[error("{0}")]
    Message(String),
    /// The cluster cannot do what was asked; it has its sentence in every language.
    #[error("{0}")]
    Refusal(#[from] Refusal),
    /// Namespaces on a foreign cluster were deleted, until one could not be.
    #[error("{why} (deleted before that: {})", deleted.join(", "))]
    DeletedBefore {
        /// Why the deletion ended.
        why: Box<Error>,
        /// The namespaces that are gone.
        deleted: Vec<String>,
    },
    /// A certificate or key cannot be made, read or written.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// A client of the API cannot be made.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The learner's kubeconfig cannot be locked for a change.
    #[error(transparent)]
    ConfigLock(#[from] client::kubeconfig::LockError),
    /// A node's network namespace, link or rules cannot be made.
    #[error("the network could not be made")]
    Network(#[from] cni::Error),
    /// A node's runtime cannot be started.
    #[error("the container runtime could not be made")]
    Runtime(#[from] cri::Error),
    /// A system call failed that is about no file, e.g. a namespace or a process.
    #[error("the kernel refused")]
    Kernel(#[source] std::io::Error),
    /// The cluster was connected, and ended before it had answered.
    #[error("the cluster ended while it was asked")]
    Ended,
    /// An answer on the control socket cannot be read, e.g. that of a program of another version.
    #[error("the cluster's control socket: {0}")]
    Control(String),
}

texts! {
    enum Word {
        NotRunning: "cluster {} is not running; start it with `ropewalk up --name {}`", "{} 클러스터가 실행 중이 아닙니다. `ropewalk up --name {}` 명령으로 시작하세요";
        Hangs: "cluster {} does not answer; `ropewalk down --name {}` ends it", "{} 클러스터가 응답하지 않습니다. `ropewalk down --name {}` 명령으로 종료하세요";
        ConfigTaken: "another program is changing {} just now; try again, and if none is, remove {}", "다른 프로그램이 {} 파일을 바꾸는 중입니다. 다시 실행하고, 그런 프로그램이 없다면 {} 파일을 삭제하세요";
        Damaged: "{} is damaged: {}; mend it, or `ropewalk reset --name {}` wipes the cluster and starts anew", "{} 파일이 손상되었습니다: {}. 파일을 고치거나, `ropewalk reset --name {}` 명령으로 클러스터를 삭제하고 새로 시작할 수 있습니다";
        Newer: "{} was written by a newer ropewalk (format {}, this one knows {}); use that one, or `ropewalk reset --name {}`", "{} 파일은 더 새로운 ropewalk가 쓴 것입니다(형식 {}, 이 프로그램은 {}까지). 그 프로그램을 쓰거나 `ropewalk reset --name {}` 명령으로 삭제하세요";
        DeletedBefore: "{} (deleted before that: {})", "{} (그 전에 삭제한 네임스페이스: {})";
        Ended: "the cluster ended while it was asked", "요청에 응답하기 전에 클러스터가 종료되었습니다";
    }
}

impl Error {
    /// Returns the error for people, with its causes. What learners meet is in both languages; what
    /// only a broken machine causes is not. What other programs and clusters say steers no
    /// terminal.
    pub fn say(&self, lang: Lang) -> String {
        harmless_lines(self.sentence(lang))
    }

    fn sentence(&self, lang: Lang) -> String {
        let say = |word: Word, with: &[&str]| lang.say(word, with);
        match self {
            Error::NotRunning(name) => say(Word::NotRunning, &[name, name]),
            Error::Hangs { name, .. } => say(Word::Hangs, &[name, name]),
            Error::Ended => say(Word::Ended, &[]),
            Error::ConfigLock(LockError::Taken { config, lock }) => {
                say(Word::ConfigTaken, &[&config.display().to_string(), &lock.display().to_string()])
            }
            Error::Damaged { name, path, why } => {
                say(Word::Damaged, &[&path.display().to_string(), why, name])
            }
            Error::Newer { name, path, found, known } => {
                say(Word::Newer, &[&path.display().to_string(), &found.to_string(), &known.to_string(), name])
            }
            Error::Refusal(refusal) => refusal.say(lang),
            Error::DeletedBefore { why, deleted } => {
                say(Word::DeletedBefore, &[&why.say(lang), &deleted.join(", ")])
            }
            Error::Control(text) => text.clone(),
            // Of the lesson engine, which does not know where the reader is.
            Error::Message(_) => typed::here(&chain(self)),
            other => chain(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::ForeignRefusal;

    fn lacks_right() -> Error {
        let [url, context, right, said] = ["https://far:6443", "c", "get namespaces", "no"].map(String::from);
        Refusal::ForeignCluster(ForeignRefusal::LacksRight { url, context, right, said }).into()
    }

    #[test]
    fn what_another_program_says_steers_no_terminal() {
        let said = "no\u{1b}[2J\u{202e}\n  why";
        for error in [Error::Message(said.into()), Error::Start(said.into()), Error::Control(said.into())] {
            let sentence = error.say(Lang::En);
            assert!(sentence.ends_with("no[2J\n  why"), "{sentence:?}");
        }
    }

    #[test]
    fn what_a_foreign_cluster_refuses_has_a_text_in_both_languages() {
        let [url, why, said, namespace] = ["https://far:6443", "why", "no", "a"].map(String::from);
        let context = "c".to_string();
        for refusal in [
            ForeignRefusal::Unusable { url: url.clone(), why },
            ForeignRefusal::UserRejected { url: url.clone(), context, said: said.clone() },
            ForeignRefusal::NamesTaken { url },
            ForeignRefusal::StillTerminating { namespace: namespace.clone() },
            ForeignRefusal::NotMade { namespace: namespace.clone(), said: said.clone() },
            ForeignRefusal::NotDeleted { namespace, said },
        ] {
            let (english, korean) = (refusal.say(Lang::En), refusal.say(Lang::Ko));
            assert!(english.is_ascii() && !korean.is_ascii(), "{english}: {korean}");
        }
        let (english, korean) = (lacks_right().say(Lang::En), lacks_right().say(Lang::Ko));
        assert!(
            english
                .starts_with("the user of context \"c\" lacks a right on https://far:6443: get namespaces.")
        );
        assert!(korean.starts_with("\"c\" 컨텍스트의 사용자에게 https://far:6443 클러스터에서"), "{korean}");
        assert!(english.ends_with(": no") && korean.ends_with(": no"), "{english}: {korean}");
    }

    #[test]
    fn what_a_learner_meets_has_a_text_in_both_languages() {
        let name = || "t".to_string();
        let met = [
            Error::NotRunning(name()),
            Error::Ended,
            Error::Refusal(Refusal::Running { name: name() }),
            Error::Hangs { name: name(), main: Some(7) },
            Error::ConfigLock(LockError::Taken { config: "c".into(), lock: "c.lock".into() }),
            Error::Damaged { name: name(), path: "c".into(), why: "x".into() },
            Error::Newer { name: name(), path: "c".into(), found: 2, known: 1 },
            Error::Refusal(Refusal::PortTaken { port: 6443 }),
            Error::Refusal(Refusal::PortForbidden { port: 80 }),
            Error::Refusal(Refusal::NothingToUndo),
            Error::Refusal(Refusal::BadLedger { path: "l".into(), why: "x".into() }),
            Error::Refusal(Refusal::BadName { name: "Main".into() }),
            Error::Refusal(Refusal::ControlPlanes { asked: 2 }),
            Error::Refusal(Refusal::ControlPlanesStay { name: name(), asked: 3, made: 1 }),
            Error::Refusal(Refusal::Clock { asked: 61 }),
            Error::Refusal(Refusal::OwnStore { name: name() }),
            Error::Refusal(Refusal::NoLessonNamespaces { name: name() }),
            Error::Refusal(Refusal::EtcdTaken { endpoints: "https://e:2379".into() }),
            Error::Refusal(Refusal::NoAnswer { why: "Connection refused".into() }),
            Error::Refusal(Refusal::OnlyAtHome { what: "fault".into(), url: "https://far:6443".into() }),
            Error::DeletedBefore { why: lacks_right().into(), deleted: vec!["a".into()] },
        ];
        for error in met {
            let (english, korean) = (error.say(Lang::En), error.say(Lang::Ko));
            assert!(english.is_ascii() && !korean.is_ascii(), "{english}: {korean}");
        }
    }

    /// The supervisor refuses, and the program that started it says so in its language.
    #[test]
    fn what_a_supervisor_refuses_reaches_the_front_as_what_it_is() {
        use crate::control::Reply;
        use crate::launch::order::StartReport;
        let refused = Refusal::PortTaken { port: 6443 };
        let line = serde_json::to_string(&StartReport::Failed(Error::from(refused.clone()).into())).unwrap();
        let Ok(StartReport::Failed(reply)) = serde_json::from_str(&line) else { panic!("{line}") };
        let error = Reply::into_result(reply).unwrap_err();
        assert!(matches!(&error, Error::Refusal(refusal) if *refusal == refused), "{error:?}");
        assert!(!error.say(Lang::Ko).is_ascii());
    }
}
