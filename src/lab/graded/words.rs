//! What labs say to people, in every language.

use crate::lang::{Lang, texts};

texts! {
    pub enum Word {
    Busy: "another lab command is at work; wait for it", "다른 실습 명령이 실행 중입니다. 끝날 때까지 기다리세요";
    NoSuchLab: "there is no lab {}; `ropewalk lab list` shows them", "{} 실습은 없습니다. `ropewalk lab list`로 목록을 볼 수 있습니다";
    NoneOpen: "no lab is open; `ropewalk lab start ID` starts one", "열려 있는 실습이 없습니다. `ropewalk lab start ID`로 시작하세요";
    OtherOpen: "the open lab is {} with seed {}", "열려 있는 실습은 {} (시드 {}) 입니다";
    NotSetUp: "the lab {} was not set up to the end; start it again", "{} 실습이 끝까지 준비되지 않았습니다. 다시 시작하세요";
    Lacks: "this cluster cannot do this lab: it needs {}", "이 클러스터에서는 이 실습을 할 수 없습니다. 필요한 것: {}";
    SetupFailed: "the lab could not be set up: {}", "실습을 준비하지 못했습니다: {}";
    NotReady: "the lab was set up, but what it is about does not show; start it again", "실습을 준비했지만 고장이 나타나지 않습니다. 다시 시작하세요";
    NoReset: "the cluster cannot be put back to what it was before the lab {}: {}; `ropewalk reset` begins anew", "클러스터를 {} 실습 이전으로 되돌릴 수 없습니다: {}. `ropewalk reset`으로 처음부터 시작할 수 있습니다";
    NoHint: "there are no further hints", "더 볼 힌트가 없습니다";
    ProbeFailed: "the judge's own step failed: {}", "채점 동작이 실패했습니다: {}";
}
}

/// The text in a language given by its code, with each `{}` replaced in order.
pub fn say(lang: &str, word: Word, with: &[&str]) -> String {
    Lang::parse(lang).unwrap_or_default().say(word, with)
}
