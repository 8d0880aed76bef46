//! Values that the parsers of arguments refuse.

use lang::Lang;

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Percent,
    EtcdUrl,
    EtcdUser,
    PortRange,
    NoPort(String),
    PortZero,
    /// The first port of a range is greater than its last.
    Descends(u16, u16),
}

impl Refused {
    /// The reason and what to write instead.
    pub(crate) fn say(&self, lang: Lang) -> String {
        let (english, korean): (String, String) = match self {
            Refused::Percent => ("write a number from 0 to 100".into(), "0에서 100까지의 수를 쓰세요".into()),
            Refused::EtcdUrl => (
                "write a URL, e.g. https://127.0.0.1:2379".into(),
                "URL을 쓰세요. 예: https://127.0.0.1:2379".into(),
            ),
            Refused::EtcdUser => (
                "a user and a password have no place there; show a certificate with --etcd-certfile".into(),
                "URL에는 사용자와 비밀번호를 쓸 수 없습니다. --etcd-certfile로 인증서를 지정하세요".into(),
            ),
            Refused::PortRange => (
                "write it as FROM-TO, e.g. 30000-32767".into(),
                "처음-끝 형식으로 쓰세요. 예: 30000-32767".into(),
            ),
            Refused::NoPort(text) => {
                (format!("{text:?} is not a port"), format!("{text:?}에서 포트 번호를 읽을 수 없습니다"))
            }
            Refused::PortZero => ("ports begin at 1".into(), "포트는 1부터 쓸 수 있습니다".into()),
            Refused::Descends(from, to) => {
                (format!("{from} is greater than {to}"), format!("처음({from})이 끝({to})보다 큽니다"))
            }
        };
        if lang == Lang::Ko { korean } else { english }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.say(Lang::En))
    }
}

impl std::error::Error for Refused {}
