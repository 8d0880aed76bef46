//! Refusals of a foreign cluster, in the language of the person who uses it.

use lang::charset::is_harmful;
use lang::{Lang, texts};
use serde::{Deserialize, Serialize};

/// A refusal of a foreign cluster, with the values that its sentence needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ForeignRefusal {
    /// The cluster does not answer, or not as an API server does.
    Unusable {
        /// Its address.
        url: String,
        /// What went wrong, in English.
        why: String,
    },
    /// The cluster does not accept the user.
    #[serde(rename = "stranger")] // as earlier programs name it on the control socket
    UserRejected {
        /// Its address.
        url: String,
        /// The kubeconfig's context.
        context: String,
        /// What the server says.
        said: String,
    },
    /// The user lacks a right that every lesson needs.
    LacksRight {
        /// Its address.
        url: String,
        /// The kubeconfig's context.
        context: String,
        /// The right, e.g. `create namespaces`.
        right: String,
        /// What the server says.
        said: String,
    },
    /// All names that a lesson's namespace may have belong to other users.
    NamesTaken {
        /// Its address.
        url: String,
    },
    /// A namespace of ours is still being deleted.
    #[serde(rename = "stillGoing")] // as earlier programs name it on the control socket
    StillTerminating {
        /// The namespace.
        namespace: String,
    },
    /// The namespace of a lesson cannot be made.
    NotMade {
        /// The namespace.
        namespace: String,
        /// What the server says.
        said: String,
    },
    /// The namespace of a lesson cannot be deleted.
    NotDeleted {
        /// The namespace.
        namespace: String,
        /// What the server says.
        said: String,
    },
}

texts! {
    enum Word {
        Unusable: "the cluster at {} cannot be used: {}; check that it runs, and its server and certificates in your kubeconfig", "{} 클러스터를 사용할 수 없습니다: {}. 클러스터가 실행 중인지, kubeconfig의 서버 주소와 인증서가 맞는지 확인하세요";
        UserRejected: "the cluster at {} cannot be used: it does not accept the user of context {}: {}; sign in again, or choose another context with `kubectl config use-context`", "{} 클러스터를 사용할 수 없습니다. 이 클러스터가 {} 컨텍스트의 사용자를 받아들이지 않습니다: {}. 다시 로그인하거나 `kubectl config use-context` 명령으로 다른 컨텍스트를 고르세요";
        LacksRight: "the user of context {} lacks a right on {}: {}. A lesson is played in a namespace of its own, so this user needs: get, create and delete namespaces; get, list, watch, create, patch and delete pods, deployments, replicasets and services in it. The server says: {}", "{} 컨텍스트의 사용자에게 {} 클러스터에서 필요한 권한이 없습니다: {}. 강의는 전용 네임스페이스에서 진행하므로 다음 권한이 필요합니다: 네임스페이스의 get, create, delete, 그리고 그 네임스페이스에 있는 파드, 디플로이먼트, 레플리카셋, 서비스의 get, list, watch, create, patch, delete. 서버의 응답: {}";
        NamesTaken: "on {} another user has the namespaces that this lesson would be played in; they are left alone", "{} 클러스터에는 이 강의에 쓸 이름의 네임스페이스가 이미 있고 다른 사용자의 것입니다. 그 네임스페이스는 그대로 두었습니다";
        StillTerminating: "the namespace {} is still being deleted; try again when it is gone", "{} 네임스페이스가 아직 삭제되는 중입니다. 삭제가 끝난 뒤 다시 시도하세요";
        NotMade: "the namespace {} cannot be made: {}", "{} 네임스페이스를 만들 수 없습니다: {}";
        NotDeleted: "the namespace {} cannot be deleted: {}", "{} 네임스페이스를 삭제할 수 없습니다: {}";
    }
}

impl ForeignRefusal {
    /// Returns the refusal as a sentence for people. What the server says stays as it is, but for
    /// characters that steer a terminal or show a line in another order than it is written in.
    pub fn say(&self, lang: Lang) -> String {
        let quoted = |context: &String| format!("{context:?}");
        let harmless = |said: &String| said.replace(is_harmful, " ");
        match self {
            ForeignRefusal::Unusable { url, why } => lang.say(Word::Unusable, &[url, &harmless(why)]),
            ForeignRefusal::UserRejected { url, context, said } => {
                lang.say(Word::UserRejected, &[url, &quoted(context), &harmless(said)])
            }
            ForeignRefusal::LacksRight { url, context, right, said } => {
                lang.say(Word::LacksRight, &[&quoted(context), url, right, &harmless(said)])
            }
            ForeignRefusal::NamesTaken { url } => lang.say(Word::NamesTaken, &[url]),
            ForeignRefusal::StillTerminating { namespace } => lang.say(Word::StillTerminating, &[namespace]),
            ForeignRefusal::NotMade { namespace, said } => {
                lang.say(Word::NotMade, &[namespace, &harmless(said)])
            }
            ForeignRefusal::NotDeleted { namespace, said } => {
                lang.say(Word::NotDeleted, &[namespace, &harmless(said)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It would clear the screen, name the window and turn the sentence around.
    #[test]
    fn a_foreign_cluster_does_not_steer_the_terminal() {
        let said = || "\u{1b}[2J\u{1b}]0;name\u{7}no\u{9b}\u{202e}\u{2066}\u{61c}".to_string();
        let [url, context, right, namespace] = ["https://far", "c", "delete pods", "n"].map(String::from);
        let (why, own) = (said(), (url.clone(), context.clone()));
        for refusal in [
            ForeignRefusal::Unusable { url: own.0.clone(), why },
            ForeignRefusal::UserRejected { url: own.0, context: own.1, said: said() },
            ForeignRefusal::LacksRight { url, context, right, said: said() },
            ForeignRefusal::NotMade { namespace: namespace.clone(), said: said() },
            ForeignRefusal::NotDeleted { namespace, said: said() },
        ] {
            for sentence in [refusal.say(Lang::En), refusal.say(Lang::Ko)] {
                assert!(!sentence.contains(is_harmful) && sentence.contains("name no"), "{sentence:?}");
            }
        }
    }
}
